//! Stages of a reproduction, and when one need not be done again.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::ContentDigest;
use crate::manifest::{FileRef, StageRecord};

/// The steps of `reproduce`, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Fit the model.
    Train,
    /// Quantize and compress it.
    Pack,
    /// Score checkpoint and artifact, non-overlapping and sliding.
    Score,
    /// Check every digest, the budget and the claims against one another; cheap, so never skipped.
    Verify,
}

impl Stage {
    /// Key in the manifest's `results.stages`.
    pub fn key(self) -> &'static str {
        match self {
            Stage::Train => "train",
            Stage::Pack => "pack",
            Stage::Verify => "verify",
            Stage::Score => "score",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

/// A file a stage needs and that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub struct UnreadableFile {
    path: PathBuf,
    source: io::Error,
}

/// Digests of files, for a [`StageRecord`]. Only names are recorded, so that a run folder can be moved.
pub fn digest_files<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Vec<FileRef>, UnreadableFile> {
    let digest = |path: &'a Path| match ContentDigest::of_file(path) {
        Ok(digest) => Ok(FileRef::new(path.file_name().unwrap_or_default(), digest)),
        Err(source) => Err(UnreadableFile { path: path.to_path_buf(), source }),
    };
    files.into_iter().map(digest).collect()
}

/// Settings a stage depends on, as an input of their own.
pub fn digest_settings(what: &str, settings: &impl serde::Serialize) -> FileRef {
    // Plain structs of numbers, strings and enums always have a YAML form.
    let text = serde_yaml::to_string(settings).unwrap_or_default();
    FileRef::new(what, ContentDigest::of(text.as_bytes()))
}

/// Whether a finished stage still stands: same inputs, and every output in `folder` with the content it had.
pub fn is_current(record: &StageRecord, inputs: &[FileRef], folder: &Path) -> bool {
    let unchanged = |file: &FileRef| {
        ContentDigest::of_file(&folder.join(&file.path)).is_ok_and(|now| FileRef::new(&file.path, now) == *file)
    };
    record.inputs == inputs && record.outputs.iter().all(unchanged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_stands_until_an_input_or_output_changes() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let (input, output) = (here.join("in"), here.join("out"));
        std::fs::write(&input, "a").unwrap();
        std::fs::write(&output, "b").unwrap();
        let inputs = digest_files([input.as_path()]).unwrap();
        let record = StageRecord { inputs: inputs.clone(), outputs: digest_files([output.as_path()]).unwrap() };
        assert!(is_current(&record, &inputs, here));

        std::fs::write(&input, "A").unwrap();
        assert!(!is_current(&record, &digest_files([input.as_path()]).unwrap(), here));
        std::fs::write(&output, "B").unwrap();
        assert!(!is_current(&record, &inputs, here));
        std::fs::remove_file(&output).unwrap();
        assert!(!is_current(&record, &inputs, here));
        assert!(digest_files([output.as_path()]).is_err());
    }

    #[test]
    fn settings_count_as_an_input() {
        assert_eq!(digest_settings("eval", &64), digest_settings("eval", &64));
        assert_ne!(digest_settings("eval", &64), digest_settings("eval", &32));
    }
}
