//! NumPy's `.npz`: a zip of `.npy` arrays. Object arrays, which are pickles, are refused.

use super::zip::Zip;
use super::{Dtype, RawTensor};

/// Longest header of an array.
const MAX_HEADER: usize = 1 << 16;

/// Name and tensor of every array; together they may expand to `max` bytes.
pub(in crate::artifact) fn read(bytes: &[u8], max: u64) -> Result<Vec<(String, RawTensor)>, String> {
    let mut zip = Zip::open(bytes, max)?;
    let names = zip.names();
    let array = |name: String| {
        let content = zip.member(&name)?;
        let tensor = parse(&content).map_err(|e| format!("array `{name}`: {e}"))?;
        Ok((name.trim_end_matches(".npy").to_string(), tensor.of_member(&name)))
    };
    names.into_iter().map(array).collect()
}

/// One `.npy` file (NumPy enhancement proposal 1).
fn parse(bytes: &[u8]) -> Result<RawTensor, String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("no NumPy magic")?;
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err("unknown version".into()),
    };
    if length > MAX_HEADER || length > rest.len() {
        return Err(format!("a header of {length} bytes"));
    }
    let (header, data) = rest.split_at(length);
    let header = std::str::from_utf8(header).map_err(|_| "the header is not text")?;
    let descr = field(header, "descr").ok_or("no descr")?.trim_matches(['\'', '"']);
    let dtype = match descr {
        "<f8" => Dtype::F64,
        "<f4" => Dtype::F32,
        "<f2" => Dtype::F16,
        "|i1" | "<i1" => Dtype::I8,
        "|u1" | "<u1" => Dtype::U8,
        "<i2" => Dtype::I16,
        "<i4" => Dtype::I32,
        "<i8" => Dtype::I64,
        "|b1" => Dtype::Bool,
        other => return Err(format!("element type {other} is not read")),
    };
    if field(header, "fortran_order") != Some("False") {
        return Err("column-major arrays are not read".into());
    }
    let inside = header.split_once('(').and_then(|(_, rest)| rest.split_once(')')).ok_or("no shape")?.0;
    let sides = inside.split(',').map(str::trim).filter(|side| !side.is_empty());
    let shape = sides.map(|side| side.parse().map_err(|_| format!("side {side:?}"))).collect::<Result<Vec<_>, _>>()?;
    RawTensor::new(dtype, shape, data.to_vec()).ok_or_else(|| format!("{} bytes do not fit the shape", data.len()))
}

/// The plain value of a key in the header's Python dict.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let rest = header.split_once(&format!("'{key}':"))?.1.trim_start();
    Some(rest.split([',', '}']).next()?.trim())
}
