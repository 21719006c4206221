//! Where a run keeps its files: one folder per run, fixed names inside.

mod lock;

use std::path::{Path, PathBuf};

pub use lock::{LockError, OWN_PREFIX, RunLock, is_lock, open_lock};

use crate::quant::ArtifactContainer;

/// The folder of one run, `runs/NAME` unless said otherwise. `RUN_ID` overrides the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// Any folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        RunFolder(root.into())
    }

    /// `runs/NAME` below the current folder.
    pub fn for_run(name: &str) -> Self {
        RunFolder(Path::new("runs").join(name))
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The manifest with results filled in.
    pub fn manifest(&self) -> PathBuf {
        self.0.join("manifest.yaml")
    }

    /// Final weights, safetensors F32.
    pub fn checkpoint(&self) -> PathBuf {
        self.0.join("checkpoint.safetensors")
    }

    /// Everything needed to resume training, rewritten at every checkpoint.
    pub fn training_state(&self) -> PathBuf {
        self.0.join("training-state.safetensors")
    }

    /// One JSON line a step: what the clock decided, for replay.
    pub fn trace(&self) -> PathBuf {
        self.0.join("trace.jsonl")
    }

    /// Log lines in the challenge's format.
    pub fn train_log(&self) -> PathBuf {
        self.0.join("train.log")
    }

    /// The page that shows it.
    pub fn page(&self) -> PathBuf {
        self.0.join("report.html")
    }

    /// What several seeds come to, beside their folders.
    pub fn seeds(&self) -> PathBuf {
        self.0.join("seeds.json")
    }

    /// What was scored and what was learned from it, in order, where weights learn while they are scored.
    pub fn ttt_trace(&self) -> PathBuf {
        self.0.join("ttt-trace.jsonl")
    }

    /// The packed model.
    pub fn artifact(&self, container: ArtifactContainer) -> PathBuf {
        self.0.join(container.file_name())
    }
}
