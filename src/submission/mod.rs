//! What people hand in, read tolerantly and reported strictly: submission.json, README, logs, code, artifacts.
//!
//! Everything here is untrusted. Readers are bounded in memory, follow no links, execute nothing, and never fail as a
//! whole: what cannot be read becomes a fact that a rule reports.

pub mod change;
pub mod code;
mod code_text;
mod folder;
mod manifest_files;
pub mod text;
pub mod walk;

pub use code_text::CodeText;
pub use folder::{FileKind, FoundFile, RecordFolder};
pub use manifest_files::{DecodedArtifact, Found, ManifestFiles, NamedFile, Part};

/// The README of a folder.
#[derive(Clone, Debug)]
pub struct Readme {
    /// Relative path.
    pub path: String,
    /// The text.
    pub text: String,
}

/// A submission.json (fields to come).
#[derive(Clone, Debug)]
pub struct SubmissionJson {}

/// A log (fields to come).
#[derive(Clone, Debug)]
pub struct LogFile {}
