//! Why a foreign file was not read.

use std::path::{Path, PathBuf};

use super::pickle::{Import, ImportVerdict, PickleError, name_start};
use super::{Container, Wrapper};
use crate::escape::visible;

/// Why a foreign file was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// More bytes than are looked at.
    #[error("{}: more than {max} bytes{}", path.display(), within.map_or(String::new(), |w| format!(" inside its {w} compression")))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The compression that expanded too far; `None` for the file itself.
        within: Option<Wrapper>,
        /// The bound.
        max: u64,
    },
    /// Compressed data that does not decompress.
    #[error("{}: damaged {wrapper} data: {what}", path.display())]
    Wrapper {
        /// The file.
        path: PathBuf,
        /// The compression.
        wrapper: Wrapper,
        /// What the decompressor said.
        what: String,
    },
    /// Compression or archives within one another, deeper than is looked at.
    #[error("{}: more than {max} layers of compression and archives", path.display())]
    TooDeep {
        /// The file.
        path: PathBuf,
        /// The bound.
        max: usize,
    },
    /// An archive that two readers take for two things.
    #[error(
        "{}: refused: {}{what}; what one program checks is not what another loads{}",
        path.display(),
        if place.is_empty() { String::new() } else { format!("in {}: ", visible(place)) },
        import.as_ref().map_or(String::new(), |import| format!("; {import}"))
    )]
    Ambiguous {
        /// The file.
        path: PathBuf,
        /// Members and layers around it; empty for the file itself.
        place: String,
        /// What can be taken in two ways.
        what: String,
        /// The refusal of a pickle in it, whichever program comes to it.
        import: Option<Box<ForeignError>>,
    },
    /// An archive of several models, none of which is the file's.
    #[error("{}: an archive of {} models, which are read one at a time: {}", path.display(), models.len(), named(models))]
    Several {
        /// The file.
        path: PathBuf,
        /// What is in it.
        models: Vec<ListedModel>,
    },
    /// An archive of text and pictures.
    #[error("{}: an archive without a model in it", path.display())]
    PlainArchive {
        /// The file.
        path: PathBuf,
    },
    /// A format that is known and not read.
    #[error("{}: {format}, which is not read here", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
    },
    /// No known container.
    #[error(
        "{}: not a golf-harness artifact, torch file, safetensors, npz, npy or pickle, plain or compressed (starts with {start})",
        path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// First bytes after decompression, hexadecimal.
        start: String,
        /// Whether it is plain text.
        is_text: bool,
    },
    /// A container that is broken.
    #[error("{}: {container}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The container.
        container: Container,
        /// What is wrong.
        what: String,
    },
    /// A container that is whole and was looked through, and whose content is no model in a known convention.
    #[error("{}: {container}: {what}", path.display())]
    NoModel {
        /// The file.
        path: PathBuf,
        /// The container.
        container: Container,
        /// What it holds instead.
        what: String,
    },
    /// A pickle that cannot be followed.
    #[error("{}: {source}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: PickleError,
    },
    /// A pickle that would import more than tensors need.
    #[error(
        "{}: refused: its pickle{} imports {module}.{name} at offset {offset}{}; nothing was executed",
        path.display(),
        if place.is_empty() { String::new() } else { format!(" {}", visible(place)) },
        if *verdict == ImportVerdict::Dangerous { ", which can run code" } else { ", which tensors do not need" }
    )]
    Import {
        /// The file.
        path: PathBuf,
        /// Members and layers around it; empty for what `torch.load` reads.
        place: String,
        /// Module.
        module: String,
        /// Name in it.
        name: String,
        /// Offset in the pickle.
        offset: usize,
        /// How bad it is.
        verdict: ImportVerdict,
    },
}

/// A model in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedModel {
    /// Name of the member.
    pub name: String,
    /// Such as `zstd > torch zip > PR #286 export`.
    pub description: String,
    /// Size of the member in bytes.
    pub bytes: u64,
    /// Tensors of the model.
    pub tensors: usize,
    /// Values in all of them.
    pub values: u64,
}

fn named(models: &[ListedModel]) -> String {
    let name =
        |model: &ListedModel| format!("{} ({}, {} tensors)", visible(&model.name), model.description, model.tensors);
    models.iter().map(name).collect::<Vec<_>>().join(", ")
}

impl ForeignError {
    /// The refusal of a pickle that begins at an offset of what stands at `place`.
    pub(super) fn import(path: &Path, place: &str, import: &Import, at: usize) -> Self {
        let shown = |name: &str| match name_start(name) {
            start if start.len() < name.len() => format!("{start}..."),
            whole => whole.to_string(),
        };
        ForeignError::Import {
            path: path.to_path_buf(),
            place: place.to_string(),
            module: shown(&import.module),
            name: shown(&import.name),
            offset: at + import.offset,
            verdict: import.verdict,
        }
    }
}
