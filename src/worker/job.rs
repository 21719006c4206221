//! What a worker is asked to do.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::rules::audit::Options;
use crate::units::Bytes;

/// The first line a worker reads: what it may have, and how to check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setup {
    /// Memory it may take.
    pub memory: Bytes,
    /// Processor time it may take for each subject, seconds.
    pub cpu_seconds: u64,
    /// What it may read, with everything below.
    pub readable: Vec<OsPath>,
}

/// Every other line: something to check.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    /// How the report names it.
    pub name: String,
    /// Where it lies.
    pub path: OsPath,
    /// A manifest, and not a record folder.
    pub is_manifest: bool,
    /// How to check it.
    pub options: Options,
}

/// A path by its bytes: it may be no text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct OsPath(Vec<u8>);

impl From<&Path> for OsPath {
    fn from(path: &Path) -> Self {
        OsPath(path.as_os_str().as_encoded_bytes().to_vec())
    }
}

impl OsPath {
    /// The path.
    #[cfg(unix)]
    pub fn to_path(&self) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        PathBuf::from(std::ffi::OsStr::from_bytes(&self.0))
    }

    /// The path.
    #[cfg(not(unix))]
    pub fn to_path(&self) -> PathBuf {
        PathBuf::from(String::from_utf8_lossy(&self.0).into_owned())
    }
}
