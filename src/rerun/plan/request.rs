//! What somebody asks of a plan by flags.

use std::path::PathBuf;

use crate::manifest::Launcher;

/// Flags; each wins over every file.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `--seeds`.
    pub seeds: Vec<u64>,
    /// `--env NAME=VALUE`: environment variables.
    pub env: Vec<(String, String)>,
    /// `--set KEY=VALUE`: settings by whatever way the script takes them.
    pub set: Vec<(String, String)>,
    /// `--script`: a path inside of the folder.
    pub script: Option<String>,
    /// `--launcher`.
    pub launcher: Option<Launcher>,
    /// `--nproc`.
    pub processes: Option<u32>,
    /// `--command`: line of the README where the command stands.
    pub command: Option<u64>,
    /// `--allexport`: whether variables that the README sets without exporting them reach the script.
    pub allexport: Option<bool>,
    /// `--data-path`.
    pub data_path: Option<PathBuf>,
    /// `--tokenizer-path`.
    pub tokenizer_path: Option<PathBuf>,
    /// `--smoke`: a few iterations without a cap, no reproduction.
    pub smoke: bool,
}
