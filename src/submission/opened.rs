//! Model files of submissions, opened without running anything in them.

use std::path::Path;
use std::sync::Mutex;

use crate::artifact::foreign::{self, ForeignError};

/// Larger model files are hashed but not opened: four times the budget.
pub const MAX_OPENED_BYTES: u64 = 64_000_000;

/// Model files that expand to more are not read further: eight times the budget, room for a model of one bit a weight
/// held in bytes.
pub const MAX_EXPANDED_BYTES: u64 = 128_000_000;

/// One at a time: a decoded model takes some hundred megabytes, and folders are read on all cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What opening a model file told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedArtifact {
    /// Relative path.
    pub path: String,
    /// What it is.
    pub content: Opened,
}

/// What a model file turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A model: its format in words, tensors and values.
    Model {
        /// Such as `zstd > torch zip > PR #286 export`.
        description: String,
        /// Tensors in it.
        tensors: usize,
        /// Values in all tensors.
        values: u64,
    },
    /// Its pickle imports what tensors do not need; the words name it.
    Refused(String),
    /// No format this tool knows.
    Unknown,
    /// A known format, damaged.
    Damaged(String),
}

impl OpenedArtifact {
    /// Opens the bytes of the file at a relative path, within the bounds of the artifact readers.
    pub fn open(path: &str, bytes: &[u8]) -> Self {
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let content = match foreign::parse_within(bytes, Path::new(path), MAX_EXPANDED_BYTES) {
            Ok(model) => Opened::Model {
                description: model.description(),
                tensors: model.packed.len(),
                // Counted without decoding: several views may share a storage, and decoded they take far more memory.
                values: model.packed.iter().map(|tensor| tensor.elements() as u64).sum(),
            },
            Err(error @ ForeignError::Import { .. }) => Opened::Refused(error.to_string()),
            Err(ForeignError::Unknown { .. }) => Opened::Unknown,
            Err(error) => Opened::Damaged(error.to_string()),
        };
        OpenedArtifact { path: path.to_string(), content }
    }
}
