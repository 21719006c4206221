//! Unpacked weights as safetensors: single precision, state-dict names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};

use super::{HostTensor, Params};
use crate::atomic_write::{self, WriteError};
use crate::regular_file;

/// Largest weights file read: 4 Gi parameters in single precision, with a header.
const MAX_WEIGHTS_BYTES: u64 = (1 << 34) + (1 << 27);

/// Why a weights file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file could not be read.
    #[error("cannot read weights {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any supported model.
    #[error("{} has {bytes} bytes; at most {MAX_WEIGHTS_BYTES} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Not a valid safetensors file.
    #[error("{} is not a valid safetensors file: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the format's reader found.
        source: SafeTensorError,
    },
    /// A tensor of a type that is not a float this crate reads.
    #[error("{}: tensor `{name}` has type {dtype}; F32, F16 and BF16 are read", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// Writing failed; nothing was left behind.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Reads every tensor of a safetensors file, converting F16 and BF16 to single precision exactly.
///
/// Order is by name; put it into a model's order with [`Params::arrange`].
pub fn read_safetensors(path: &Path) -> Result<Params, WeightsError> {
    let read = |source| WeightsError::Read { path: path.to_path_buf(), source };
    let bytes = std::fs::metadata(path).map_err(read)?.len();
    if bytes > MAX_WEIGHTS_BYTES {
        return Err(WeightsError::TooLarge { path: path.to_path_buf(), bytes });
    }
    parse_safetensors(&regular_file::read(path).map_err(read)?, path)
}

/// [`read_safetensors`] on bytes in memory; `path` appears in errors only.
pub fn parse_safetensors(bytes: &[u8], path: &Path) -> Result<Params, WeightsError> {
    let format = |source| WeightsError::Format { path: path.to_path_buf(), source };
    let file = SafeTensors::deserialize(bytes).map_err(format)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let data = decode(&view).ok_or_else(|| WeightsError::Dtype {
            path: path.to_path_buf(),
            name: name.to_string(),
            dtype: format!("{:?}", view.dtype()),
        })?;
        let tensor =
            HostTensor::new(view.shape().to_vec(), data).ok_or_else(|| format(SafeTensorError::TensorInvalidInfo))?;
        tensors.insert(name.to_string(), tensor);
    }
    Ok(Params::from_entries(tensors.into_iter().collect()))
}

fn decode(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::F32 => Some(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        Dtype::F16 => Some(bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()),
        Dtype::BF16 => Some(bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()),
        _ => None,
    }
}

/// Writes tensors as F32 safetensors, atomically. Tensors are laid out by name, so equal tensors give equal files.
pub fn write_safetensors(path: &Path, params: &Params) -> Result<(), WeightsError> {
    let bytes: BTreeMap<&str, Vec<u8>> = params.iter().map(|(name, tensor)| (name, tensor.to_le_bytes())).collect();
    let format = |source| WeightsError::Format { path: path.to_path_buf(), source };
    let mut views = BTreeMap::new();
    for (name, tensor) in params.iter() {
        let view = TensorView::new(Dtype::F32, tensor.shape().to_vec(), &bytes[name]).map_err(format)?;
        views.insert(name, view);
    }
    let file = safetensors::serialize(views, None).map_err(format)?;
    Ok(atomic_write::write(path, &file)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;

    #[test]
    fn round_trip_is_exact_and_byte_stable() {
        let config = ModelConfig { num_layers: 2, model_dim: 8, num_heads: 2, num_kv_heads: 1, ..Default::default() };
        let mut params = Params::zeros(&config);
        for (i, (_, tensor)) in params.iter_mut().enumerate() {
            tensor.data_mut().iter_mut().enumerate().for_each(|(j, value)| *value = (i * 7 + j) as f32 / 3.0);
        }
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
        write_safetensors(&a, &params).unwrap();
        let back = read_safetensors(&a).unwrap().arrange(&config).unwrap();
        assert_eq!(back, params);
        write_safetensors(&b, &back).unwrap();
        assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
    }

    #[test]
    fn damage_is_an_error() {
        let path = Path::new("x.safetensors");
        for bytes in [&b""[..], b"\x00", &[255; 64], b"\x02\0\0\0\0\0\0\0[]"] {
            assert!(matches!(parse_safetensors(bytes, path), Err(WeightsError::Format { .. })));
        }
    }
}
