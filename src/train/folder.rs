//! The run folder as training finds it and leaves it.

use std::io;
use std::path::{Path, PathBuf};

use super::{Start, Trace, TrainError, TrainingState};
use crate::atomic_write::{self, WriteError};
use crate::data::Dataset;
use crate::digest::ContentDigest;
use crate::manifest::{self, Effective, FileRef, LoaderOrder, Manifest, Results, TrainingRecord};
use crate::model::{self, Params, WeightsError};
use crate::quant::ArtifactContainer;
use crate::run_folder::RunFolder;

/// Checks that the folder is fit for the start asked for, and that every file can be written later.
pub(super) fn check(folder: &RunFolder, start: Start) -> Result<(), TrainError> {
    let (unfinished, finished) = (folder.training_state().exists(), folder.checkpoint().exists());
    let root = || folder.root().to_path_buf();
    match start {
        Start::Fresh if unfinished || finished => {
            return Err(TrainError::FolderInUse { folder: root(), finished: !unfinished });
        }
        Start::Resume if !unfinished && finished => return Err(TrainError::AlreadyFinished { folder: root() }),
        Start::Resume if !unfinished => return Err(TrainError::NothingToResume { folder: root() }),
        _ => {}
    }
    for path in [folder.checkpoint(), folder.trace(), folder.training_state(), folder.train_log(), folder.manifest()] {
        atomic_write::check_writable(&path)?;
    }
    Ok(())
}

/// Removes what an earlier run left, so that nothing of it is taken for the new one's.
pub(super) fn clear(folder: &RunFolder) -> Result<(), TrainError> {
    let of_weights = made_of_weights(folder);
    let of_training = [folder.training_state(), folder.checkpoint(), folder.trace(), folder.train_log()];
    of_training.iter().chain(&of_weights).try_for_each(|path| remove(path))
}

/// What was packed and scored from the weights there, as far as the manifest beside them records it as it is.
fn made_of_weights(folder: &RunFolder) -> Vec<PathBuf> {
    let Ok(earlier) = manifest::load(&folder.manifest()) else { return Vec::new() };
    let artifact = earlier.artifact.as_ref().map(|artifact| (artifact.path.as_path(), Some(artifact.sha256)));
    let outputs = earlier.results.stages.values().flat_map(|stage| &stage.outputs);
    let recorded: Vec<_> = outputs.map(|file| (file.path.as_path(), file.sha256)).chain(artifact).collect();
    let is_recorded = |path: &PathBuf| {
        let now = ContentDigest::of_file(path).ok().map(|digest| digest.sha256);
        let known = |(name, sha256): &(&Path, _)| path.file_name() == Some(name.as_os_str()) && *sha256 == now;
        now.is_some() && recorded.iter().any(known)
    };
    let names = ArtifactContainer::FILE_NAMES.map(|name| folder.root().join(name));
    names.into_iter().chain([folder.ttt_trace()]).filter(is_recorded).collect()
}

/// Removes the state of a run that is complete.
pub(super) fn remove_state(folder: &RunFolder) -> Result<(), TrainError> {
    remove(&folder.training_state())
}

fn remove(path: &Path) -> Result<(), TrainError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(WriteError::new(path, source).into()),
        _ => Ok(()),
    }
}

/// Reads the saved state and the steps of its trace into `trace`, which carries the recipe of today.
pub(super) fn read_state(
    folder: &RunFolder,
    manifest: &Manifest,
    trace: &mut Trace,
) -> Result<TrainingState, TrainError> {
    let path = folder.trace();
    let mut recorded = Trace::read(&path)?;
    recorded.check_recipe(&trace.recipe, &path)?;
    let (state, recipe) = TrainingState::read(&folder.training_state(), manifest)?;
    let resume = |message: String| TrainError::Resume { path: folder.training_state(), message };
    if recipe != recorded.recipe.digest() {
        return Err(resume(format!("it belongs to another recipe than {}", path.display())));
    }
    let steps = state.counters.steps;
    if (recorded.steps.len() as u64) < steps {
        let found = recorded.steps.len();
        return Err(resume(format!("it is {steps} steps old, but {} has {found} steps", path.display())));
    }
    // Where windows are drawn one after another, all before the position are drawn again: it must be that of the steps.
    let (taken, of_steps) = (state.counters.batch_position, steps.saturating_mul(manifest.schedule.train_batch_tokens));
    if manifest.data.loader != LoaderOrder::Sequential && taken != of_steps {
        return Err(resume(format!("it has read {taken} tokens, and its {steps} steps read {of_steps}")));
    }
    // Later steps were taken and lost; they will be taken again.
    recorded.steps.truncate(steps as usize);
    trace.steps = recorded.steps;
    Ok(state)
}

/// Writes the final weights and returns their record, relative to the folder.
pub(super) fn write_checkpoint(folder: &RunFolder, weights: &Params) -> Result<FileRef, TrainError> {
    let path = folder.checkpoint();
    match model::write_safetensors(&path, weights) {
        Ok(()) => file_ref(&path),
        Err(WeightsError::Write(error)) => Err(error.into()),
        Err(other) => Err(WriteError::new(&path, io::Error::other(other)).into()),
    }
}

/// Size and digests of a file just written, by its name.
pub(super) fn file_ref(path: &Path) -> Result<FileRef, TrainError> {
    let digest = ContentDigest::of_file(path).map_err(|source| WriteError::new(path, source))?;
    Ok(FileRef::new(path.file_name().unwrap_or_default(), digest))
}

/// Writes the effective manifest with results: its paths moved, the digests of its inputs filled in.
///
/// Scores and artifact of earlier weights are dropped.
pub(super) fn write_manifest(
    folder: &RunFolder,
    effective: &Effective,
    data: &Dataset,
    record: TrainingRecord,
) -> Result<Manifest, TrainError> {
    let path = folder.manifest();
    let mut manifest = effective.manifest.clone();
    let stages = std::mem::take(&mut manifest.results.stages);
    manifest.results = Results { stages, ..Results::default() };
    manifest.artifact = None;
    manifest.program = manifest.program.map(|program| program.as_built_here());
    manifest::rebase_paths(&mut manifest, &effective.folder, folder.root())?;
    manifest.data.shards = data.shard_refs();
    if let (Some(file), Some(digest)) =
        (&mut manifest.data.tokenizer, data.tokenizer.as_ref().and_then(|file| file.digest))
    {
        *file = FileRef::new(std::mem::take(&mut file.path), digest);
    }
    manifest.environment = Some(crate::manifest::environment::current(rayon::current_num_threads(), Vec::new()));
    manifest.results.training = Some(record);
    manifest::save(&manifest, &path)?;
    Ok(manifest)
}
