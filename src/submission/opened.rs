//! Model files people hand in, opened without running anything in them.

use std::path::Path;
use std::sync::Mutex;

use crate::artifact::foreign::{self, Container, ForeignError};

/// Larger model files are hashed but not opened: four times the budget.
pub const MAX_OPENED_BYTES: u64 = 64_000_000;

/// Model files that expand to more are not read further: eight times the budget, room for a model of one bit a weight
/// held in bytes.
pub const MAX_EXPANDED_BYTES: u64 = 128_000_000;

/// One at a time: an opened model takes some hundred megabytes, and folders are read on all cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What opening a model file told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedArtifact {
    /// Relative path.
    pub path: String,
    /// What it is.
    pub content: Opened,
    /// Pickles in it, followed to their end.
    pub pickles: usize,
    /// Bytes that belong to no tensor, in words, such as those behind the end of a compressed stream.
    pub unclaimed: Vec<String>,
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
    /// A pickle in it imports what tensors do not need; the words name it.
    Refused(String),
    /// Programs differ in which bytes of it they load; the words say how.
    Ambiguous(String),
    /// No format this tool knows.
    Unknown,
    /// A known format, damaged, too large, or not read here.
    Damaged(String),
    /// Something else in a known format: text or pictures in a zip file, a compressed log.
    Other,
}

impl OpenedArtifact {
    /// Opens the bytes of the file at a relative path, within the bounds of the artifact readers.
    pub fn open(path: &str, bytes: &[u8]) -> Self {
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (content, pickles, unclaimed) = match foreign::list_within(bytes, Path::new(path), MAX_EXPANDED_BYTES) {
            Ok(listing) => {
                let foreign::Listing { description, tensors, values, pickles, unclaimed } = listing;
                (Opened::Model { description, tensors, values }, pickles, unclaimed)
            }
            Err(error) => (content(error), 0, Vec::new()),
        };
        OpenedArtifact { path: path.to_string(), content, pickles, unclaimed }
    }

    /// A file too large to open.
    pub fn too_large(path: &str, bytes: u64) -> Self {
        let words = format!("{path}: {bytes} bytes are more than the {MAX_OPENED_BYTES} that are opened");
        let content = Opened::Damaged(words);
        OpenedArtifact { path: path.to_string(), content, pickles: 0, unclaimed: Vec::new() }
    }

    /// Whether the content says that this is a model file, whatever it is called.
    pub fn is_model(&self) -> bool {
        matches!(self.content, Opened::Model { .. } | Opened::Refused(_) | Opened::Ambiguous(_))
    }

    /// Whether there is anything to say about a file that is not called a model.
    pub fn is_noteworthy(&self) -> bool {
        !matches!(self.content, Opened::Unknown | Opened::Other)
    }
}

fn content(error: ForeignError) -> Opened {
    match &error {
        ForeignError::Import { .. } => Opened::Refused(error.to_string()),
        ForeignError::Ambiguous { .. } => Opened::Ambiguous(error.to_string()),
        ForeignError::Unknown { is_text: true, .. } => Opened::Other,
        ForeignError::Unknown { .. } => Opened::Unknown,
        ForeignError::Damaged { container: Container::Archive, .. } => Opened::Other,
        _ => Opened::Damaged(error.to_string()),
    }
}
