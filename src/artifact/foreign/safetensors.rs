//! Tensors of a safetensors file, every element type of the format, in the order of their names.

use ::safetensors::SafeTensors;
use ::safetensors::tensor::Dtype as FileDtype;

use super::raw::OtherDtype;
use super::{Detail, Dtype, RawTensor};

/// Largest header read: room for eighty thousand tensors.
const MAX_HEADER_BYTES: u64 = 8_000_000;

/// Name and tensor of every entry.
pub(in crate::artifact) fn read(bytes: &[u8], detail: Detail) -> Result<Vec<(String, RawTensor)>, String> {
    let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    // The format's own reader takes twelve times as much memory, and refuses what is longer than the file.
    if header > MAX_HEADER_BYTES && header <= bytes.len() as u64 {
        return Err(format!("a header of {header} bytes, more than {MAX_HEADER_BYTES} are not read"));
    }
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let mut names = file.names();
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| {
            let view = file.tensor(name).map_err(|e| e.to_string())?;
            let dtype = dtype(view.dtype());
            let tensor = match detail {
                Detail::Sizes => RawTensor::listed(dtype, view.shape().to_vec()),
                Detail::Values => RawTensor::new(dtype, view.shape().to_vec(), view.data().to_vec()),
            };
            Ok((name.to_string(), tensor.ok_or_else(|| format!("tensor `{name}` does not fit its shape"))?))
        })
        .collect()
}

/// The type of a file's tensor; those that have no value of their own here are listed.
fn dtype(dtype: FileDtype) -> Dtype {
    let listed = |name| Dtype::Other(OtherDtype { name, bits: dtype.bitsize() as u32 });
    match dtype {
        FileDtype::F64 => Dtype::F64,
        FileDtype::F32 => Dtype::F32,
        FileDtype::F16 => Dtype::F16,
        FileDtype::BF16 => Dtype::BF16,
        FileDtype::I8 => Dtype::I8,
        FileDtype::U8 => Dtype::U8,
        FileDtype::I16 => Dtype::I16,
        FileDtype::I32 => Dtype::I32,
        FileDtype::I64 => Dtype::I64,
        FileDtype::U16 => Dtype::U16,
        FileDtype::U32 => Dtype::U32,
        FileDtype::U64 => Dtype::U64,
        FileDtype::C64 => Dtype::C64,
        FileDtype::F8_E4M3 => Dtype::F8E4M3,
        FileDtype::F8_E5M2 => Dtype::F8E5M2,
        FileDtype::F8_E8M0 => listed("f8_e8m0"),
        FileDtype::F6_E2M3 => listed("f6_e2m3"),
        FileDtype::F6_E3M2 => listed("f6_e3m2"),
        FileDtype::F8_E4M3FNUZ => listed("f8_e4m3fnuz"),
        FileDtype::F8_E5M2FNUZ => listed("f8_e5m2fnuz"),
        FileDtype::F4 => listed("f4"),
        FileDtype::BOOL => Dtype::Bool,
        _ => listed("unknown"),
    }
}
