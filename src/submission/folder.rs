//! A record folder, read once: every file listed, hashed and handed to the reader of its kind.

use std::path::PathBuf;

use super::walk::Anomaly;
use super::{CodeText, LogFile, Readme, SubmissionJson};
use crate::digest::ContentDigest;

/// What a file is, judged by its name (and, for logs, by its content).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// `submission.json`.
    Submission,
    /// `README.md` and the like.
    Readme,
    /// A training or evaluation log.
    Log,
    /// Source code.
    Code,
    /// A tokenizer model or vocabulary.
    Tokenizer,
    /// Weights, compressed or not.
    Artifact,
    /// Anything else.
    Other,
}

/// One file of the folder.
#[derive(Clone, Debug)]
pub struct FoundFile {
    /// Relative path with `/` between parts.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Size and digests of the bytes that were read.
    pub digest: ContentDigest,
    /// First bytes, for magic numbers (at most 16).
    pub head: Vec<u8>,
}

/// A folder as somebody handed it in.
#[derive(Clone, Debug)]
pub struct RecordFolder {
    /// Where it lies.
    pub root: PathBuf,
    /// Its last path component.
    pub name: String,
    /// Its path inside the challenge's repository, such as `records/track_10min_16mb/NAME`, where that is known.
    pub repository_path: Option<String>,
    /// All files, sorted by path.
    pub files: Vec<FoundFile>,
    /// Links, special files, odd names, unreadable files.
    pub anomalies: Vec<Anomaly>,
    /// `submission.json` at the top of the folder.
    pub submission: Option<SubmissionJson>,
    /// The README at the top of the folder.
    pub readme: Option<Readme>,
    /// Logs, sorted by path.
    pub logs: Vec<LogFile>,
    /// Code files with their text, sorted by path.
    pub code: Vec<CodeText>,
}
