//! Keeps the content of files that may be models while they are read.

use super::nature::{Nature, Surveyor};
use super::walk::Listed;
use crate::artifact::foreign::{MAX_OPENED_BYTES, bytes_before_zip, may_be_model, starts_as_container};

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
    /// The last bytes, where a zip file says what is in it.
    tail: Tail,
}

/// Folders of fewer bytes hold no more than the budget, whatever is in them.
const LARGE_FOLDER: u64 = 16_000_000;
/// Text is kept so far only: a file called a model that is text is a pointer or a mistake.
const KEPT_TEXT_BYTES: usize = 1 << 16;

impl Sniffer {
    /// For a file. Dense text is looked for where there is room for more than a submission may have.
    pub fn new(file: &Listed) -> Self {
        Sniffer {
            may_be: None,
            is_container: false,
            content: Vec::new(),
            is_over: file.bytes > MAX_OPENED_BYTES,
            surveyor: Surveyor::measuring(file.together > LARGE_FOLDER),
            tail: Tail::default(),
        }
    }

    /// The next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.surveyor.feed(bytes);
        self.tail.feed(bytes);
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

    /// Bytes of text that hardly compresses. Asked once, before [`nature`](Self::nature).
    pub fn dense(&mut self) -> u64 {
        self.surveyor.dense()
    }

    /// How many bytes stand in front of a zip file that begins within this one, and that was not kept to be opened.
    pub fn zip_behind_text(&self) -> Option<u64> {
        if self.may_be_model() { None } else { self.tail.bytes_before_zip() }
    }

    /// The content, unless it was too much.
    pub fn content(&self) -> Option<&[u8]> {
        (!self.is_over).then_some(&self.content)
    }
}

/// The last bytes of a file: at least as many as hold the end record of a zip file and its comment.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    total: u64,
}

impl Tail {
    const KEPT: usize = (1 << 16) + 22;

    fn feed(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let bytes = bytes.get(bytes.len().saturating_sub(Self::KEPT)..).unwrap_or(bytes);
        let over = (self.bytes.len() + bytes.len()).saturating_sub(Self::KEPT);
        self.bytes.drain(..over.min(self.bytes.len()));
        self.bytes.extend_from_slice(bytes);
    }

    fn bytes_before_zip(&self) -> Option<u64> {
        let before = self.total - self.bytes.len() as u64;
        bytes_before_zip(&self.bytes, before)
    }
}
