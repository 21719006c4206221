//! Keeps the content of files that may be models while they are read.

use super::nature::{Nature, Surveyor};
use super::opened::MAX_OPENED_BYTES;
use crate::artifact::foreign::{may_be_model, starts_as_container};

/// Judges a file by its first bytes, and keeps the rest if they may be a model's.
///
/// Files that are called models are kept even when they do not look it, so that they can be reported.
pub(super) struct Sniffer {
    /// What the first bytes say; `None` before any were seen.
    may_be: Option<bool>,
    is_container: bool,
    content: Vec<u8>,
    is_over: bool,
    surveyor: Surveyor,
}

/// Text is kept so far only: a file called a model that is text is a pointer or a mistake.
const KEPT_TEXT_BYTES: usize = 1 << 16;

impl Sniffer {
    /// For a file of so many bytes.
    pub fn new(bytes: u64) -> Self {
        Sniffer {
            may_be: None,
            is_container: false,
            content: Vec::new(),
            is_over: bytes > MAX_OPENED_BYTES,
            surveyor: Surveyor::default(),
        }
    }

    /// The next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.surveyor.feed(bytes);
        let may_be = match self.may_be {
            Some(known) => known,
            None => {
                self.is_container = starts_as_container(bytes);
                *self.may_be.insert(self.is_container || may_be_model(bytes))
            }
        };
        let limit = if may_be { MAX_OPENED_BYTES as usize } else { KEPT_TEXT_BYTES };
        if self.is_over {
            return;
        }
        if may_be && self.content.len() + bytes.len() > limit {
            (self.is_over, self.content) = (true, Vec::new());
            return;
        }
        let room = limit.saturating_sub(self.content.len());
        self.content.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// Whether the first bytes may be a model's.
    pub fn may_be_model(&self) -> bool {
        self.may_be.unwrap_or(false)
    }

    /// Whether the first bytes are those of a model's container, not only none of a text's.
    pub fn looks_like_model(&self) -> bool {
        self.is_container
    }

    /// What the bytes were. Asked once, at the end of the file.
    pub fn nature(&mut self) -> Nature {
        std::mem::take(&mut self.surveyor).finish()
    }

    /// The content, unless it was too much.
    pub fn content(&self) -> Option<&[u8]> {
        (!self.is_over).then_some(&self.content)
    }
}
