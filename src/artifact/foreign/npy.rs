//! One NumPy array in a file (NumPy enhancement proposal 1). Arrays of objects are pickles behind the header.

use super::RawTensor;
use super::raw::{Dtype, OtherDtype};

/// How an array file starts.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header of an array.
const MAX_HEADER: usize = 1 << 16;

/// Header and data of an array file.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("no NumPy magic")?;
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err("unknown version".into()),
    };
    rest.split_at_checked(length).ok_or_else(|| format!("a header of {length} bytes"))
}

/// What an array of objects holds: a pickle.
///
/// NumPy evaluates the header as a Python literal and asks its own list of type names, so the type may be spelled `O`,
/// `object` or with escapes, between comments, in a header of any length and encoding. Taken generously: an `o`
/// anywhere but in the words of every header makes objects, and so does an escape.
pub(super) fn objects(bytes: &[u8]) -> Option<&[u8]> {
    let (header, data) = split(bytes).ok()?;
    let o = header.iter().filter(|byte| byte.eq_ignore_ascii_case(&b'o')).count();
    // `fortran_order` has two.
    (o != 2 || header.contains(&b'\\') || header.contains(&b'#')).then_some(data)
}

/// One array. `what` it holds may be of a type that is only listed; objects are pickles and hold no tensor.
pub(super) fn parse(bytes: &[u8]) -> Result<RawTensor, String> {
    let (header, data) = split(bytes)?;
    if header.len() > MAX_HEADER {
        return Err(format!("a header of {} bytes", header.len()));
    }
    let header = std::str::from_utf8(header).map_err(|_| "the header is not text")?;
    let inside = header.split_once("'shape'").ok_or("no shape")?.1;
    let inside = inside.split_once('(').and_then(|(_, rest)| rest.split_once(')')).ok_or("no shape")?.0;
    let sides = inside.split(',').map(|side| side.trim().trim_end_matches('L')).filter(|side| !side.is_empty());
    let shape = sides.map(|side| side.parse().map_err(|_| format!("side {side:?}"))).collect::<Result<Vec<_>, _>>()?;
    let is_column_major = match field(header, "fortran_order") {
        Some("False") => false,
        Some("True") => true,
        _ => return Err("no order of its axes".into()),
    };
    let Some(descr) = field(header, "descr").and_then(|descr| descr.strip_prefix('\'')?.strip_suffix('\'')) else {
        // A list of fields.
        return record(shape, data);
    };
    array(descr, shape, is_column_major, data)
}

/// An array from its type as NumPy spells it, such as `<f4`.
pub(super) fn array(descr: &str, shape: Vec<usize>, is_column_major: bool, data: &[u8]) -> Result<RawTensor, String> {
    let (order, kind) = match descr.split_at_checked(1) {
        Some((order @ ("<" | ">" | "|" | "="), kind)) => (order, kind),
        _ => ("|", descr),
    };
    let dtype = match kind {
        "f8" => Dtype::F64,
        "f4" => Dtype::F32,
        "f2" => Dtype::F16,
        "i1" => Dtype::I8,
        "u1" => Dtype::U8,
        "i2" => Dtype::I16,
        "u2" => Dtype::U16,
        "i4" => Dtype::I32,
        "u4" => Dtype::U32,
        "i8" => Dtype::I64,
        "u8" => Dtype::U64,
        "c8" => Dtype::C64,
        "c16" => Dtype::C128,
        "b1" => Dtype::Bool,
        "O" | "O8" | "O4" => return Err("it holds Python objects".into()),
        other => {
            let (name, rest) = match other.split_at_checked(1) {
                Some(("U", rest)) => ("text", rest),
                Some(("S" | "a", rest)) => ("bytes", rest),
                Some(("V", rest)) => ("void", rest),
                Some(("M", rest)) => ("datetime", rest),
                Some(("m", rest)) => ("timedelta", rest),
                Some(("f", rest)) => ("float", rest),
                Some(("c", rest)) => ("complex", rest),
                _ => return Err(format!("element type {descr} is not read")),
            };
            let count: u32 = rest.split('[').next().unwrap_or(rest).parse().map_err(|_| format!("type {descr}"))?;
            let bits = count.checked_mul(if name == "text" { 32 } else { 8 }).ok_or("a type too wide")?;
            Dtype::Other(OtherDtype { name, bits })
        }
    };
    let mut bytes = data.to_vec();
    if order == ">" {
        // A complex number is two, each turned by itself.
        let width = if matches!(dtype, Dtype::C64 | Dtype::C128) { dtype.size() / 2 } else { dtype.size() };
        let width = if matches!(dtype, Dtype::Other(other) if other.name == "text") { 4 } else { width };
        bytes.chunks_exact_mut(width.max(1)).for_each(<[u8]>::reverse);
    }
    if is_column_major && shape.len() > 1 {
        bytes = row_major(&bytes, &shape, dtype.size())?;
    }
    RawTensor::new(dtype, shape, bytes).ok_or_else(|| format!("{} bytes do not fit the shape", data.len()))
}

/// An array of records: its elements' size is what the data gives each.
fn record(shape: Vec<usize>, data: &[u8]) -> Result<RawTensor, String> {
    let elements = shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side)).ok_or("a shape too large")?;
    let bits = data.len().checked_div(elements).unwrap_or(0).saturating_mul(8);
    let bits = u32::try_from(bits).map_err(|_| "a type too wide")?;
    let dtype = Dtype::Other(OtherDtype { name: "record", bits });
    RawTensor::new(dtype, shape, data.to_vec()).ok_or_else(|| format!("{} bytes do not fit the shape", data.len()))
}

/// Elements with the last axis innermost, from ones with the first axis innermost.
fn row_major(bytes: &[u8], shape: &[usize], width: usize) -> Result<Vec<u8>, String> {
    let elements = shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side));
    if elements.and_then(|n| n.checked_mul(width)) != Some(bytes.len()) {
        return Err(format!("{} bytes do not fit the shape", bytes.len()));
    }
    let strides: Vec<usize> = shape
        .iter()
        .scan(1usize, |stride, &side| {
            let own = *stride;
            *stride = stride.saturating_mul(side);
            Some(own)
        })
        .collect();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = vec![0usize; shape.len()];
    while out.len() < bytes.len() {
        let at: usize = index.iter().zip(&strides).map(|(i, stride)| i * stride).sum();
        out.extend_from_slice(bytes.get(at * width..(at + 1) * width).ok_or("an element past the end")?);
        for (i, &side) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < side {
                break;
            }
            *i = 0;
        }
    }
    Ok(out)
}

/// The plain value of a key in the header's Python dict.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let rest = header.split_once(&format!("'{key}':"))?.1.trim_start();
    Some(rest.split([',', '}']).next()?.trim())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An array file.
    pub fn file(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let text = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let length = (text.len() as u16).to_le_bytes();
        [&b"\x93NUMPY\x01\x00"[..], &length, text.as_bytes(), data].concat()
    }

    #[test]
    fn every_order_of_bytes_and_axes_is_read() {
        let rows = [1u16, 2, 3, 4, 5, 6];
        let plain: Vec<u8> = rows.iter().flat_map(|v| v.to_le_bytes()).collect();
        let big: Vec<u8> = rows.iter().flat_map(|v| v.to_be_bytes()).collect();
        // 1 2 3 / 4 5 6 by columns.
        let columns: Vec<u8> = [1u16, 4, 2, 5, 3, 6].iter().flat_map(|v| v.to_le_bytes()).collect();
        for (descr, order, data) in [("'<u2'", "False", &plain), ("'>u2'", "False", &big), ("'<u2'", "True", &columns)]
        {
            let tensor = parse(&file(descr, order, "(2, 3)", data)).unwrap();
            assert_eq!((tensor.dtype, &tensor.shape[..]), (Dtype::U16, &[2, 3][..]));
            assert_eq!(tensor.bytes, plain, "{descr} {order}");
        }
        let complex = parse(&file("'>c8'", "False", "(1,)", &[0x3f, 0x80, 0, 0, 0x40, 0, 0, 0])).unwrap();
        assert_eq!(complex.bytes, [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]);
    }

    #[test]
    fn types_that_hold_no_numbers_are_listed_by_size() {
        let text = parse(&file("'<U3'", "False", "(2,)", &[0; 24])).unwrap();
        assert_eq!((text.elements(), text.bytes.len(), text.dtype.size()), (2, 24, 12));
        let record = parse(&file("[('a', '<f4'), ('b', '<i2')]", "False", "(2,)", &[0; 12])).unwrap();
        assert_eq!((record.elements(), record.dtype.size()), (2, 6));
        assert!(parse(&file("'|O'", "False", "(2,)", b"\x80\x02.")).unwrap_err().contains("objects"));
        assert_eq!(objects(&file("'|O'", "False", "()", b"xyz")), Some(&b"xyz"[..]));
        assert_eq!(objects(&file("[('a', '|O8')]", "False", "()", b"xyz")), Some(&b"xyz"[..]));
        for descr in ["'object'", "'|\\x4f'", "'\\117'", "'|O' # fortran_order\n"] {
            assert_eq!(objects(&file(descr, "False", "()", b"xyz")), Some(&b"xyz"[..]), "{descr}");
        }
        let latin = [&b"\x93NUMPY\x01\x00\x0c\x00"[..], b"#\xff\n{'|O'}   xyz"].concat();
        assert_eq!(objects(&latin), Some(&b"xyz"[..]));
        assert_eq!(objects(&file("'<f4'", "False", "(1,)", b"abcd")), None);
    }
}
