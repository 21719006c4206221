//! Submissions, read tolerantly and reported strictly: submission.json, README, logs, code, artifacts.
//!
//! Everything here is untrusted. Readers are bounded in memory, follow no links, execute nothing, and never fail as a
//! whole: what cannot be read becomes a fact that a rule reports.

pub mod change;
mod claims;
pub mod code;
mod code_text;
mod duplicate_keys;
mod excerpt;
mod folder;
mod gits_own;
mod implied;
pub mod log;
mod manifest_files;
mod nature;
mod opened;
mod readme_table;
mod settings;
mod sniffer;
mod steps;
mod stream;
mod submission_json;
pub mod text;
pub mod walk;
mod weights;

pub use claims::{ClaimedField, SeedClaim};
pub use code_text::CodeText;
pub use duplicate_keys::DuplicateKey;
pub use excerpt::lines_of;
pub use folder::{FileKind, FoundFile, MAX_LOG_BYTES, RecordFolder};
pub use implied::{GAP, Implied, implied_manifest};
pub use log::LogFile;
pub use manifest_files::{DecodedArtifact, Found, ManifestFiles, NamedFile, Part};
pub use nature::{LfsPointer, Nature};
pub use opened::{Opened, OpenedArtifact};
pub use readme_table::SeedColumn;
pub use steps::{Step, Steps};
pub use stream::read_log;
pub use submission_json::{JsonDefect, SubmissionJson, kind as json_kind};
pub use weights::{Whole, counted_code, weights};

/// The README of a folder.
#[derive(Clone, Debug)]
pub struct Readme {
    /// Relative path.
    pub path: String,
    /// Size of the file.
    pub bytes: u64,
    /// The text; empty if the file is larger than any README.
    pub text: String,
}
