//! Artifacts in other people's formats, read without running any of their code.
//!
//! A file is peeled like an onion: compression (`wrapper`), then a container (torch zip, safetensors, npz), then
//! a convention for quantized tensors (`convention`: PR #286's `w`/`m`, the challenge baseline's int8 dict, or plain
//! tensors). Pickles inside are followed on symbols only ([`pickle`]) and refused when they import anything that
//! tensors do not need.

pub(super) mod convention;
mod error;
pub(super) mod npz;
pub mod pickle;
mod raw;
pub(super) mod safetensors;
pub(super) mod torch;
mod torch_write;
pub(super) mod wrapper;
pub(super) mod zip;

use std::path::Path;

pub use convention::Convention;
use convention::Entry;
pub use error::ForeignError;
pub use raw::{Dtype, RawTensor};
pub use torch_write::torch_ptz;
use wrapper::unwrap_within;
pub use wrapper::{MAX_CONTENT_BYTES, Wrapper, unwrap};

use crate::artifact::{Artifact, PackedTensor};
use crate::digest::ContentDigest;
use crate::model::Params;

/// What a container holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// This crate's own artifact.
    Golf,
    /// `torch.save`'s zip around a pickle.
    TorchZip,
    /// safetensors.
    Safetensors,
    /// NumPy's zip of arrays.
    Npz,
}

impl std::fmt::Display for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Container::Golf => "golf-harness artifact",
            Container::TorchZip => "torch zip",
            Container::Safetensors => "safetensors",
            Container::Npz => "npz",
        })
    }
}

/// A model read from any supported file.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// Compression around the container, outermost first.
    pub wrappers: Vec<Wrapper>,
    /// The container.
    pub container: Container,
    /// How quantized tensors are spelled in it.
    pub convention: Convention,
    /// Tensors in storage classes, in the file's order. What fits no class is held in single precision, decoded.
    pub packed: Vec<PackedTensor>,
    /// Digest of the file.
    pub file: ContentDigest,
    /// Digest of the container, without compression.
    pub content: ContentDigest,
}

impl Foreign {
    /// The same as an [`Artifact`], every value decoded and digested.
    pub fn into_artifact(self) -> Artifact {
        Artifact::from_packed(self.packed, self.file, self.content)
    }

    /// Decoded weights in the file's order.
    pub fn params(&self) -> Params {
        let decode = |tensor: &PackedTensor| (tensor.name().to_string(), tensor.dequantize());
        Params::from_entries(self.packed.iter().map(decode).collect())
    }

    /// One line such as `zstd > torch zip > PR #286 export`.
    pub fn description(&self) -> String {
        let wrappers = self.wrappers.iter().map(|wrapper| format!("{wrapper} > "));
        format!("{}{} > {}", wrappers.collect::<String>(), self.container, self.convention)
    }
}

/// Reads a model from a file of any supported format, this crate's own included.
pub fn read(path: &Path) -> Result<Foreign, ForeignError> {
    let bytes = wrapper::read_bounded(path)?;
    parse(&bytes, path)
}

/// [`read`] on bytes in memory; `path` is for messages, and its ending hints at brotli, which has no magic.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Foreign, ForeignError> {
    parse_within(bytes, path, MAX_CONTENT_BYTES)
}

/// [`parse`], with another limit for what the file expands to: its content, and again the members of a zip in it.
pub fn parse_within(bytes: &[u8], path: &Path, max: u64) -> Result<Foreign, ForeignError> {
    let file = ContentDigest::of(bytes);
    let (wrappers, inner) = unwrap_within(bytes, path, max)?;
    let container = identified(&inner, path)?;
    let damaged = |what: String| ForeignError::Damaged { path: path.to_path_buf(), container, what };
    let packed = |(convention, entries): (Convention, Vec<Entry<'_>>)| {
        Ok((convention, entries.iter().map(Entry::pack).collect::<Result<Vec<_>, _>>()?))
    };
    let (convention, packed) = match container {
        Container::Golf => {
            let Artifact { packed, .. } = crate::artifact::parse(&inner).map_err(|e| damaged(e.to_string()))?;
            (Convention::Golf, packed)
        }
        Container::TorchZip => {
            let tree = torch::read(&inner, path, max)?;
            convention::of_tree(&tree).and_then(packed).map_err(damaged)?
        }
        Container::Safetensors => {
            let tensors = safetensors::read(&inner).map_err(damaged)?;
            convention::of_tensors(&tensors).and_then(packed).map_err(damaged)?
        }
        Container::Npz => {
            let tensors = npz::read(&inner, max).map_err(damaged)?;
            convention::of_tensors(&tensors).and_then(packed).map_err(damaged)?
        }
    };
    Ok(Foreign { wrappers, container, convention, packed, file, content: ContentDigest::of(&inner) })
}

/// The container that unwrapped bytes are.
pub(super) fn identified(inner: &[u8], path: &Path) -> Result<Container, ForeignError> {
    identify(inner).ok_or_else(|| ForeignError::Unknown {
        path: path.to_path_buf(),
        start: inner.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// The container that bytes start as.
fn identify(bytes: &[u8]) -> Option<Container> {
    if bytes.starts_with(b"\x89GOLF") {
        return Some(Container::Golf);
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return Some(if zip::holds_arrays(bytes) { Container::Npz } else { Container::TorchZip });
    }
    // safetensors: a little-endian header length, then JSON.
    let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length))?;
    (length < bytes.len() as u64 && bytes.get(8) == Some(&b'{')).then_some(Container::Safetensors)
}

#[cfg(test)]
mod tests;
