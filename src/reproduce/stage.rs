//! Stages of a reproduction, and when one need not be done again.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use crate::digest::ContentDigest;
use crate::manifest::{FileRef, StageRecord, environment};

/// The steps of `reproduce`, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Fit the model.
    Train,
    /// Quantize and compress it.
    Pack,
    /// Score checkpoint and artifact, non-overlapping and sliding, and the artifact with test-time training if there is any.
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
    let digest = |path: &'a Path| Ok(FileRef::new(path.file_name().unwrap_or_default(), digest_of(path)?));
    files.into_iter().map(digest).collect()
}

/// The digest of one.
pub(super) fn digest_of(path: &Path) -> Result<ContentDigest, UnreadableFile> {
    ContentDigest::of_file(path).map_err(|source| UnreadableFile { path: path.to_path_buf(), source })
}

/// Settings a stage depends on, as an input of their own.
pub fn digest_settings(what: &str, settings: &impl Serialize) -> FileRef {
    // Plain structs of numbers, strings and enums always have a YAML form.
    let text = serde_yaml::to_string(settings).unwrap_or_default();
    FileRef::new(what, ContentDigest::of(text.as_bytes()))
}

/// Inputs of every stage that computes: this very build, and the vector instructions it takes.
pub fn makers() -> [FileRef; 2] {
    [digest_settings(BUILD, &environment::build()), digest_settings(INSTRUCTIONS, &crate::engine::instructions())]
}

const BUILD: &str = "build";
const INSTRUCTIONS: &str = "instructions";

/// Why a finished stage has to be done again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outdated {
    /// This input is another one now, or is new.
    Input(String),
    /// This output is gone or has other content.
    Output(String),
}

impl Outdated {
    /// Whether another build or other instructions made it, from the same inputs.
    pub fn is_of_another_maker(&self) -> bool {
        matches!(self, Outdated::Input(name) if name == BUILD || name == INSTRUCTIONS)
    }

    /// Whether a file it wrote is no longer there as it was.
    pub fn is_of_output(&self) -> bool {
        matches!(self, Outdated::Output(_))
    }
}

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outdated::Input(name) if name == BUILD => f.write_str("another build of this program made it"),
            Outdated::Input(name) if name == INSTRUCTIONS => f.write_str("it was made with other vector instructions"),
            Outdated::Input(name) => write!(f, "its input `{name}` is another one now"),
            Outdated::Output(name) => write!(f, "{name} is gone or has changed"),
        }
    }
}

/// Why a finished stage no longer stands; `None` while its inputs are the same and every output in `folder` has the
/// content it had.
pub fn why_not(record: &StageRecord, inputs: &[FileRef], folder: &Path) -> Option<Outdated> {
    let name = |file: &FileRef| file.path.display().to_string();
    let changed = |file: &&FileRef| {
        !ContentDigest::of_file(&folder.join(&file.path)).is_ok_and(|now| FileRef::new(&file.path, now) == **file)
    };
    if let Some(file) = record.outputs.iter().find(changed) {
        return Some(Outdated::Output(name(file)));
    }
    let new = inputs.iter().find(|input| !record.inputs.contains(input));
    let old = record.inputs.iter().find(|input| !inputs.contains(input));
    new.or(old).map(|file| Outdated::Input(name(file)))
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
        assert_eq!(why_not(&record, &inputs, here), None);

        std::fs::write(&input, "A").unwrap();
        assert_eq!(
            why_not(&record, &digest_files([input.as_path()]).unwrap(), here),
            Some(Outdated::Input("in".into()))
        );
        std::fs::write(&output, "B").unwrap();
        assert_eq!(why_not(&record, &inputs, here), Some(Outdated::Output("out".into())));
        std::fs::remove_file(&output).unwrap();
        assert_eq!(why_not(&record, &inputs, here), Some(Outdated::Output("out".into())));
        assert!(digest_files([output.as_path()]).is_err());
    }

    #[test]
    fn another_build_or_other_instructions_make_it_again_and_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let [build, instructions] = makers();
        let record = StageRecord { inputs: vec![build.clone(), instructions.clone()], outputs: vec![] };
        let why = |inputs: &[FileRef]| why_not(&record, inputs, folder.path());
        assert_eq!(why(&[build.clone(), instructions.clone()]), None);
        let other = why(&[digest_settings(BUILD, &"0.0.0"), instructions]).unwrap();
        assert!(other.is_of_another_maker() && other.to_string().contains("another build"), "{other}");
        let other = why(&[build, digest_settings(INSTRUCTIONS, &"mmx")]).unwrap();
        assert!(other.is_of_another_maker() && other.to_string().contains("vector instructions"), "{other}");
    }

    #[test]
    fn settings_count_as_an_input() {
        assert_eq!(digest_settings("eval", &64), digest_settings("eval", &64));
        assert_ne!(digest_settings("eval", &64), digest_settings("eval", &32));
    }
}
