//! The files a manifest names, as they are on disk, and the files it does not name.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::walk;
use super::{Step, Steps};
use crate::artifact::foreign::{self, Foreign, MAX_EXPANDED_BYTES, MAX_OPENED_BYTES};
use crate::artifact::{self, Artifact};
use crate::digest::ContentDigest;
use crate::manifest::{FileRef, Manifest};
use crate::path_safety::{folder_of, join_inside};
use crate::regular_file;
use crate::run_folder::{RunFolder, is_lock};
use crate::units::Bytes;

/// What says that a folder is a submission.
const SUBMISSION_JSON: &str = "submission.json";

/// What part a named file plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Counts toward the budget as code.
    Code,
    /// The packed model.
    Artifact,
    /// A token shard.
    Shard,
    /// The SentencePiece model.
    Tokenizer,
    /// Checkpoint, trace or another output recorded under `results`.
    Result,
}

/// What the disk says about a named file.
#[derive(Clone, Debug)]
pub enum Found {
    /// Read to its end.
    Digest(ContentDigest),
    /// No such file.
    Missing,
    /// There, but unreadable; the system's words.
    Unreadable(String),
    /// The path leaves the manifest's folder through `..` or a link, or is absolute, and was not opened.
    Outside(String),
}

/// A file named by the manifest.
#[derive(Clone, Debug)]
pub struct NamedFile {
    /// Its part.
    pub part: Part,
    /// Field of the manifest that names it, such as `code[0]`.
    pub field: String,
    /// What the manifest says about it; `path` as written there.
    pub stated: FileRef,
    /// What the disk says.
    pub found: Found,
}

/// All files a manifest names, in the manifest's order, and the other files in its folder.
#[derive(Clone, Debug)]
pub struct ManifestFiles {
    /// The manifest file's own name, for evidence.
    pub manifest_name: String,
    /// Folder from which relative paths start.
    pub root: PathBuf,
    /// Whether it belongs to a submission or to a run, so that code must be here: there is an artifact, a result or a
    /// submission.json, or it has the name that manifests of runs have.
    pub is_handed_in: bool,
    /// Named files.
    pub named: Vec<NamedFile>,
    /// Files beside the manifest, or below its folder, that it does not name. Only listed where the folder belongs
    /// to the manifest: it names code or an artifact.
    pub extra: Vec<String>,
    /// The decoded artifact, or why it does not decode; `None` without one on disk.
    pub decoded: Option<Result<DecodedArtifact, String>>,
}

/// What decoding the artifact gave.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedArtifact {
    /// Digest of the payload before compression.
    pub payload: ContentDigest,
    /// Name, shape, class and digest of every tensor, in file order.
    pub tensors: Vec<crate::manifest::TensorRecord>,
}

impl ManifestFiles {
    /// Reads every file that `manifest`, loaded from `path`, names. Never fails: problems are facts too.
    pub fn inspect(manifest: &Manifest, path: &Path, steps: &Steps) -> Self {
        let root = folder_of(path).to_path_buf();
        let manifest_name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let named: Vec<NamedFile> = stated_files(manifest)
            .into_iter()
            .map(|(part, field, stated)| {
                steps.tell(Step::Reading(&stated.path.to_string_lossy()));
                let found = look(&root, &stated.path, part);
                NamedFile { part, field, stated, found }
            })
            .collect();
        let is_handed_in = manifest.artifact.is_some()
            || !manifest.results.is_empty()
            || path.file_name() == RunFolder::new(&root).manifest().file_name()
            || root.join(SUBMISSION_JSON).symlink_metadata().is_ok();
        if let Some(artifact) = named.iter().find(|file| file.part == Part::Artifact) {
            steps.tell(Step::Reading(&artifact.stated.path.to_string_lossy()));
        }
        let decoded = decode(&root, &named);
        let mut files = ManifestFiles { manifest_name, root, is_handed_in, named, extra: Vec::new(), decoded };
        let own = files.named.iter().filter(|file| matches!(file.part, Part::Code | Part::Artifact)).count();
        if own > files.code_elsewhere(manifest).count() {
            files.extra = extra_files(&files.root, &files.manifest_name, &files.named);
        }
        files
    }

    /// Code that is told of and not handed in, with the place where it can be had.
    pub fn code_elsewhere<'a>(&'a self, manifest: &'a Manifest) -> impl Iterator<Item = (&'a NamedFile, &'a str)> {
        let urls = manifest.code.iter().map(|code| code.url.as_deref());
        let files = self.of_part(Part::Code).zip(urls);
        files
            .filter(|(file, _)| !self.is_handed_in && matches!(file.found, Found::Missing))
            .filter_map(|(file, url)| Some((file, url?)))
    }

    /// Named files of one part.
    pub fn of_part(&self, part: Part) -> impl Iterator<Item = &NamedFile> {
        self.named.iter().filter(move |file| file.part == part)
    }
}

fn stated_files(manifest: &Manifest) -> Vec<(Part, String, FileRef)> {
    let mut files = Vec::new();
    for (i, code) in manifest.code.iter().enumerate() {
        let stated =
            FileRef { path: code.path.clone(), bytes: Some(code.bytes), sha256: code.sha256, blake3: code.blake3 };
        files.push((Part::Code, format!("code[{i}]"), stated));
    }
    if let Some(artifact) = &manifest.artifact {
        let stated = FileRef {
            path: artifact.path.clone(),
            bytes: Some(artifact.bytes),
            sha256: Some(artifact.sha256),
            blake3: Some(artifact.blake3),
        };
        files.push((Part::Artifact, "artifact".into(), stated));
    }
    if let Some(tokenizer) = &manifest.data.tokenizer {
        files.push((Part::Tokenizer, "data.tokenizer".into(), tokenizer.clone()));
    }
    for (i, shard) in manifest.data.shards.iter().enumerate() {
        let path = manifest.data.path.join(&shard.file);
        let stated = FileRef { path, bytes: shard.bytes, sha256: shard.sha256, blake3: shard.blake3 };
        files.push((Part::Shard, format!("data.shards[{i}]"), stated));
    }
    if let Some(training) = &manifest.results.training {
        files.push((Part::Result, "results.training.checkpoint".into(), training.checkpoint.clone()));
        files.push((Part::Result, "results.training.trace".into(), training.trace.clone()));
        if let Some(log) = &training.log {
            files.push((Part::Result, "results.training.log".into(), log.clone()));
        }
    }
    // A stage's files are named by where it left them, beside the manifest; train's and pack's are above.
    for output in manifest.results.stages.get("score").into_iter().flat_map(|stage| &stage.outputs) {
        files.push((Part::Result, "results.stages.score".into(), output.clone()));
    }
    files
}

/// Data and results may lie anywhere their owner says; what is submitted must lie in the folder.
fn look(root: &Path, path: &Path, part: Part) -> Found {
    let full = match (part, join_inside(root, path)) {
        (Part::Code | Part::Artifact, Err(leaves)) => return Found::Outside(leaves.to_string()),
        (_, Ok(full)) => full,
        (_, Err(_)) => root.join(path),
    };
    match std::fs::metadata(&full) {
        Ok(data) if !data.is_file() => return Found::Unreadable("not a regular file".into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Missing,
        _ => {}
    }
    match ContentDigest::of_file(&full) {
        Ok(digest) => Found::Digest(digest),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Missing,
        Err(error) => Found::Unreadable(error.to_string()),
    }
}

fn extra_files(root: &Path, manifest_name: &str, named: &[NamedFile]) -> Vec<String> {
    let known: BTreeSet<PathBuf> = named.iter().map(|file| normal(&file.stated.path)).collect();
    let (listed, anomalies) = walk::list(root);
    let mut extra: Vec<String> = listed
        .into_iter()
        .filter(|file| file.name != manifest_name && !known.contains(Path::new(&file.name)))
        // Whoever works in the folder at this moment: `reproduce` verifies while it owns it.
        .filter(|file| !is_lock(&file.name, Bytes(file.bytes)))
        .map(|file| file.name)
        .collect();
    extra.extend(anomalies.into_iter().map(|anomaly| format!("{} ({})", anomaly.path, anomaly.detail)));
    extra
}

/// Without `.` parts.
fn normal(path: &Path) -> PathBuf {
    path.components().filter(|c| !matches!(c, Component::CurDir)).collect()
}

/// Decodes the artifact if it was read; an error in its own words.
fn decode(root: &Path, named: &[NamedFile]) -> Option<Result<DecodedArtifact, String>> {
    let artifact = named.iter().find(|file| file.part == Part::Artifact && matches!(file.found, Found::Digest(_)))?;
    let decoded = read_artifact(&root.join(&artifact.stated.path));
    Some(decoded.map(|artifact| DecodedArtifact { payload: artifact.payload, tensors: artifact.tensors }))
}

/// An artifact of either kind that `pack` writes.
fn read_artifact(path: &Path) -> Result<Artifact, String> {
    let head = regular_file::read_head(path, HEAD_BYTES).map_err(|error| format!("{}: {error}", path.display()))?;
    if artifact::is_golf(&head) {
        return artifact::read(path).map_err(|error| error.to_string());
    }
    let size = regular_file::open(path).and_then(|file| file.metadata()).map_or(0, |metadata| metadata.len());
    if size > MAX_OPENED_BYTES {
        return Err(format!("{}: {size} bytes; at most {MAX_OPENED_BYTES} are opened", path.display()));
    }
    let bytes = regular_file::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    foreign::parse_within(&bytes, path, MAX_EXPANDED_BYTES)
        .map(Foreign::into_artifact)
        .map_err(|error| error.to_string())
}

/// Enough to tell what a file is.
const HEAD_BYTES: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_folder::RunFolder;

    #[test]
    fn the_lock_of_who_works_in_a_folder_is_no_stray_file() {
        let folder = tempfile::tempdir().unwrap();
        let lock = RunFolder::new(folder.path()).lock().unwrap();
        assert_eq!(extra_files(folder.path(), "manifest.yaml", &[]), [""; 0]);
        drop(lock);
        // Under its name nothing larger passes.
        std::fs::write(folder.path().join(".golf-harness.lock"), [b'1'; 33]).unwrap();
        assert_eq!(extra_files(folder.path(), "manifest.yaml", &[]), [".golf-harness.lock"]);
    }
}
