//! What a worker is asked to do.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::rules::audit::Options;
use crate::units::Bytes;

/// One subject, and how to check it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    /// What to check.
    pub subject: Subject,
    /// How.
    pub options: Options,
    /// Memory it may take.
    pub memory: Bytes,
    /// Processor time it may take, seconds.
    pub cpu_seconds: u64,
}

/// Something to check, by the path the reports name and the path to open.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subject {
    /// How the report names it.
    pub name: String,
    /// Bytes of the path, which may be no text.
    path: Vec<u8>,
    /// A manifest, and not a record folder.
    pub is_manifest: bool,
}

impl Subject {
    /// A subject at a path.
    pub fn new(path: &Path, name: String, is_manifest: bool) -> Self {
        Subject { name, path: path.as_os_str().as_encoded_bytes().to_vec(), is_manifest }
    }

    /// Where it lies.
    #[cfg(unix)]
    pub fn path(&self) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        PathBuf::from(std::ffi::OsStr::from_bytes(&self.path))
    }

    /// Where it lies.
    #[cfg(not(unix))]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(String::from_utf8_lossy(&self.path).into_owned())
    }
}
