//! Why a range of commits could not be read.

use std::io;
use std::path::PathBuf;

/// A range that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// git is not there, or broke.
    #[error("cannot run git: {0}")]
    Git(#[from] io::Error),
    /// git said no.
    #[error("git {command} failed: {message}")]
    Failed {
        /// The subcommand.
        command: &'static str,
        /// What git wrote.
        message: String,
    },
    /// Not a revision.
    #[error("`{revision}` is no commit in {}: {message}", repository.display())]
    Revision {
        /// As given.
        revision: String,
        /// Where.
        repository: PathBuf,
        /// What git wrote.
        message: String,
    },
    /// The histories do not meet.
    #[error("{base} and {head} have no common ancestor here; a shallow clone? fetch the history (fetch-depth: 0)")]
    NoMergeBase {
        /// Base commit.
        base: String,
        /// Head commit.
        head: String,
    },
    /// An object that the history names is not in the repository.
    #[error("object {object} is not in {}; a partial clone? fetch everything (no --filter)", repository.display())]
    Missing {
        /// Its id.
        object: String,
        /// Where.
        repository: PathBuf,
    },
    /// More than is read.
    #[error("git {command}: more than {max} bytes to list, which is more than is read")]
    TooMuch {
        /// The subcommand.
        command: &'static str,
        /// The bound.
        max: u64,
    },
    /// git answered something else than it documents.
    #[error("git {command}: unexpected answer {answer:?}")]
    Answer {
        /// The subcommand.
        command: &'static str,
        /// The start of it.
        answer: String,
    },
}
