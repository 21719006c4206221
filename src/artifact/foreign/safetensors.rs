//! Tensors of a safetensors file, any element type that is read, in the order of their data.

use ::safetensors::SafeTensors;
use ::safetensors::tensor::Dtype as FileDtype;

use super::{Dtype, RawTensor};

/// Name and tensor of every entry.
pub(in crate::artifact) fn read(bytes: &[u8]) -> Result<Vec<(String, RawTensor)>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let mut names = file.names();
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| {
            let view = file.tensor(name).map_err(|e| e.to_string())?;
            let dtype = match view.dtype() {
                FileDtype::F64 => Dtype::F64,
                FileDtype::F32 => Dtype::F32,
                FileDtype::F16 => Dtype::F16,
                FileDtype::BF16 => Dtype::BF16,
                FileDtype::I8 => Dtype::I8,
                FileDtype::U8 => Dtype::U8,
                FileDtype::I16 => Dtype::I16,
                FileDtype::I32 => Dtype::I32,
                FileDtype::I64 => Dtype::I64,
                FileDtype::BOOL => Dtype::Bool,
                other => return Err(format!("tensor `{name}` has type {other:?}, which is not read")),
            };
            let tensor = RawTensor::new(dtype, view.shape().to_vec(), view.data().to_vec());
            Ok((name.to_string(), tensor.ok_or_else(|| format!("tensor `{name}` does not fit its shape"))?))
        })
        .collect()
}
