//! Artifacts in other people's formats, read without running any of their code.
//!
//! A file is peeled like an onion: compression (`wrapper`), then a container (torch zip, torch's older pickles in a row,
//! safetensors, npz, npy, a pickle by itself), then a convention for quantized tensors (`convention`: PR #286's
//! `w`/`m`, the challenge baseline's int8 dict, or plain tensors). What the file is called decides nothing.
//!
//! Before any tensor is read, every pickle in the file is followed on symbols only ([`pickle`]), wherever it stands
//! (`follow`), and the file is refused when one imports anything that tensors do not need, or when programs differ in
//! which bytes they would load.

mod allowance;
mod compress;
pub(super) mod convention;
mod error;
mod follow;
mod gather;
mod legacy;
mod meaning;
mod npy;
mod npz;
mod offset;
mod open;
pub mod pickle;
mod raw;
pub(super) mod rebuild;
pub(super) mod safetensors;
mod several;
mod tar;
pub(super) mod torch;
mod torch_write;
pub(super) mod wrapper;
pub(super) mod zip;

use std::collections::BTreeSet;
use std::path::Path;

pub use compress::compress;
pub use convention::Convention;
use convention::Entry;
pub use error::{ForeignError, ListedModel};
pub(super) use open::{Body, Detail, OpenFile, open_within};
pub use raw::{Dtype, OtherDtype, RawTensor};
pub(super) use torch_write::torch_compressed;
pub use torch_write::{Origin, torch_archive, torch_export, torch_ptz};
pub use wrapper::{Behind, MAX_CONTENT_BYTES, Wrapper, shuffle, unwrap};

use super::low_rank::corrected;
use crate::artifact::{Artifact, PackedTensor};
use crate::digest::ContentDigest;
use crate::model::Params;

/// Larger model files are neither opened in a submission nor packed: four times the budget.
pub const MAX_OPENED_BYTES: u64 = 64_000_000;

/// Model files that expand to more are neither read further nor packed: eight times the budget, room for a model of one
/// bit a weight held in bytes.
pub const MAX_EXPANDED_BYTES: u64 = 128_000_000;

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
    /// One NumPy array.
    Npy,
    /// `torch.save`'s older format: pickles in a row, then storages.
    TorchLegacy,
    /// A pickle by itself.
    Pickle,
    /// A zip or tar file of other files.
    Archive,
}

impl std::fmt::Display for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Container::Golf => "golf-harness artifact",
            Container::TorchZip => "torch zip",
            Container::Safetensors => "safetensors",
            Container::Npz => "npz",
            Container::Npy => "npy",
            Container::TorchLegacy => "torch file before 1.6",
            Container::Pickle => "pickle",
            Container::Archive => "archive",
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
        let artifact = Artifact::from_packed(self.packed, self.file, self.content);
        Artifact { params: with_corrections(self.container, artifact.params), ..artifact }
    }

    /// Decoded weights in the file's order. Corrections of low rank are added to their matrices in a golf file alone: in
    /// any other they are tensors like others, and its own script adds none.
    pub fn params(&self) -> Params {
        let decode = |tensor: &PackedTensor| (tensor.name().to_string(), tensor.dequantize());
        with_corrections(self.container, Params::from_entries(self.packed.iter().map(decode).collect()))
    }

    /// One line such as `zstd > torch zip > PR #286 export`.
    pub fn description(&self) -> String {
        description(&self.wrappers, self.container, self.convention)
    }
}

fn with_corrections(container: Container, params: Params) -> Params {
    match container {
        Container::Golf => Params::from_entries(corrected(params.into_entries())),
        _ => params,
    }
}

/// Layers and format of a file in one line, such as `zstd > torch zip > PR #286 export`.
fn description(wrappers: &[Wrapper], container: Container, convention: Convention) -> String {
    let wrappers: String = wrappers.iter().map(|wrapper| format!("{wrapper} > ")).collect();
    format!("{wrappers}{container} > {convention}")
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

/// [`parse`], with another limit for what the file expands to: its layers together, and again the members of a zip.
pub fn parse_within(bytes: &[u8], path: &Path, max: u64) -> Result<Foreign, ForeignError> {
    let file = ContentDigest::of(bytes);
    let opened = open_within(bytes, path, max, Detail::Values)?;
    let OpenFile { wrappers, container, inner, body, .. } = opened;
    let content = ContentDigest::of(&inner);
    let damaged = |what: String| ForeignError::Damaged { path: path.to_path_buf(), container, what };
    let (convention, packed) = match body {
        Body::Golf(artifact) => (Convention::Golf, artifact.packed),
        body => {
            let (convention, entries) = body.entries(max).map_err(damaged)?;
            let packed = entries.iter().map(Entry::pack).collect::<Result<Vec<_>, _>>().map_err(damaged)?;
            (convention, packed)
        }
    };
    Ok(Foreign { wrappers, container, convention, packed, file, content })
}

/// What a file holds, by name and size, as [`list_within`] finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// One line such as `zstd > torch zip > PR #286 export`.
    pub description: String,
    /// Tensors of the model.
    pub tensors: usize,
    /// Values in all of them.
    pub values: u64,
    /// Pickles in the file.
    pub pickles: usize,
    /// What they import, as `module.name`: nothing that tensors do not need.
    pub imports: BTreeSet<String>,
    /// Bytes that stand behind the end of something, or between the members of a zip, and belong to no tensor.
    pub unclaimed: Vec<String>,
}

/// Lists a file without decoding its values: what single precision cannot hold, and types that are not decoded, are
/// listed as well. `max` as for [`parse_within`].
pub fn list_within(bytes: &[u8], path: &Path, max: u64) -> Result<Listing, ForeignError> {
    let opened = open_within(bytes, path, max, Detail::Sizes)?;
    let container = opened.container;
    let no_model = |what: String| ForeignError::NoModel { path: path.to_path_buf(), container, what };
    let (convention, tensors, values) = match &opened.body {
        Body::Golf(artifact) => {
            let values = artifact.packed.iter().map(|tensor| tensor.elements() as u64).sum();
            (Convention::Golf, artifact.packed.len(), values)
        }
        body => {
            let (convention, entries) = body.entries(max).map_err(no_model)?;
            let elements = entries.iter().map(|entry| entry.values().elements() as u64);
            (convention, entries.len(), elements.fold(0, u64::saturating_add))
        }
    };
    Ok(Listing {
        description: description(&opened.wrappers, container, convention),
        tensors,
        values,
        pickles: opened.pickles,
        imports: opened.imports,
        unclaimed: opened.unclaimed,
    })
}

/// Whether the start of a file may be that of a model, or of anything else that this module opens: all but plain text,
/// and of text what a pickle of the oldest protocol, which is text, or a magic number could be.
pub fn may_be_model(start: &[u8]) -> bool {
    let is_text = follow::is_text_start(start);
    !is_text || identify(start).is_some() || wrapper::by_magic(start).is_some() || meaning::may_be_program(start)
}

/// Whether the first bytes of a file are plain text: UTF-8 without control characters other than those of terminals.
pub fn is_text_start(start: &[u8]) -> bool {
    follow::is_text_start(start)
}

/// How many bytes stand in front of a zip file that begins within a file and ends with it; `None` if there is none. Of
/// the file only its last bytes are given, at least 65,557 or all; `before` stand in front of them.
pub fn bytes_before_zip(tail: &[u8], before: u64) -> Option<u64> {
    zip::bytes_before(tail, before)
}

/// Whether bytes start as a container does that models come in.
pub fn starts_as_container(start: &[u8]) -> bool {
    identify(start).is_some_and(|container| container != Container::Archive)
}

/// The container that bytes start as.
fn identify(bytes: &[u8]) -> Option<Container> {
    if bytes.starts_with(b"\x89GOLF") {
        return Some(Container::Golf);
    }
    if bytes.starts_with(zip::MAGIC) {
        return Some(Container::TorchZip);
    }
    if bytes.starts_with(npy::MAGIC) {
        return Some(Container::Npy);
    }
    if legacy::is_legacy(bytes) {
        return Some(Container::TorchLegacy);
    }
    // safetensors: a little-endian header length, then JSON.
    let length = bytes.first_chunk().map_or(u64::MAX, |length| u64::from_le_bytes(*length));
    if length < bytes.len() as u64 && bytes.get(8) == Some(&b'{') {
        return Some(Container::Safetensors);
    }
    if tar::members(bytes).is_some() {
        return Some(Container::Archive);
    }
    follow::starts_as_pickle(bytes).then_some(Container::Pickle)
}

#[cfg(test)]
mod tests;
