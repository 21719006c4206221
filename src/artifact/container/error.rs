//! What can be wrong with an artifact, and where.

use std::path::PathBuf;

/// Why an artifact could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file could not be read.
    #[error("cannot read artifact {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any artifact.
    #[error("{} has {bytes} bytes; at most {} are read as an artifact", path.display(), crate::quant::limits::MAX_FILE_BYTES)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The bytes are not a sound artifact.
    #[error("{}: offset {}: {}", path.display(), defect.offset, defect.what)]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and what.
        defect: Defect,
    },
}

/// One fault in the bytes of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset}: {what}")]
pub struct Defect {
    /// Byte offset in the file. Faults inside compressed parts carry the offset where the part starts.
    pub offset: u64,
    /// What was found and what was expected.
    pub what: String,
}

impl Defect {
    /// A fault at an offset.
    pub(super) fn at(offset: u64, what: impl Into<String>) -> Self {
        Defect { offset, what: what.into() }
    }
}
