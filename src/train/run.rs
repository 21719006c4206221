//! From a manifest to a checkpoint: inputs checked, loop run, files written.

use std::io::Write;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use super::folder;
use super::log::{self, RunLog};
use super::pace::{Pace, Replay};
use super::replay_report::ReplayReport;
use super::session::{Ending, Session};
use super::validation::ValidationSplit;
use super::{Clock, Recipe, Schedule, Stopwatch, Trace, TrainError, Trainer, Validation};
use crate::cli::Progress;
use crate::data::{BatchGeometry, Dataset, DigestCheck, Loader, LoaderPosition, Wanted};
use crate::digest::ContentDigest;
use crate::engine::Engine;
use crate::interrupt::Interrupt;
use crate::manifest::{self, Effective, MICRO_BATCHES_PER_STEP, Manifest, TrainingRecord};
use crate::model::{self, Params};
use crate::run_folder::RunFolder;
use crate::units::{Millis, Nats};

/// How to treat what is in the run folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Start at step 0; refuse a folder that holds a run.
    Fresh,
    /// Start at step 0, replacing what is there.
    Overwrite,
    /// Continue the unfinished run that is there.
    Resume,
}

/// What to train, and where.
pub struct TrainRequest<'a> {
    /// The recipe, with overrides applied.
    pub effective: &'a Effective,
    /// The manifest file, held against itself at the end.
    pub manifest_path: &'a Path,
    /// Where the files of the run go.
    pub folder: RunFolder,
    /// What runs the model.
    pub engine: &'a dyn Engine,
    /// Fresh, overwriting or continuing.
    pub start: Start,
    /// A recorded trace to follow instead of the clock.
    pub replay: Option<PathBuf>,
    /// Steps between states that can be resumed; without, one is written only on an interrupt.
    pub checkpoint_every: Option<NonZeroU64>,
    /// Looked at after each step.
    pub interrupt: Interrupt,
    /// Shows steps.
    pub progress: Progress,
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct TrainOutcome {
    /// The manifest as written into the run folder, paths relative to it.
    pub manifest: Manifest,
    /// What went into `results.training`.
    pub record: TrainingRecord,
    /// The last validation, before averaging.
    pub validation: Validation,
    /// Whether the wall-clock cap ended it before all iterations.
    pub stopped_early: bool,
    /// Under a replay, how it compares.
    pub replay: Option<ReplayReport>,
}

impl TrainOutcome {
    /// One line for people.
    pub fn summary(&self, folder: &RunFolder) -> String {
        let early = if self.stopped_early { " (wall-clock cap)" } else { "" };
        let swa = if self.record.swa_snapshots > 1 {
            format!(", {} snapshots averaged", self.record.swa_snapshots)
        } else {
            String::new()
        };
        format!(
            "trained {} steps in {:.1} s{early}: train_loss {:.4}, val_loss {:.4}, val_bpb {:.4}{swa}; files in {}",
            self.record.steps,
            self.record.train_time_ms.0 / 1000.0,
            self.record.train_loss.0,
            self.validation.loss.0,
            self.validation.bpb.0,
            folder.root().display()
        )
    }

    /// Everything for other programs.
    pub fn to_json(&self, folder: &RunFolder) -> serde_json::Value {
        serde_json::json!({
            "folder": folder.root(),
            "training": self.record,
            "validation": { "val_loss": self.validation.loss, "val_bpb": self.validation.bpb },
            "stopped_early": self.stopped_early,
            "replay": self.replay,
        })
    }
}

/// Trains the model of a manifest and writes checkpoint, trace, log and manifest into the run folder.
///
/// `clock` measures training time; `watcher` receives a copy of the log. Nothing else is printed.
pub fn run(
    request: &TrainRequest<'_>,
    clock: &mut dyn Clock,
    watcher: &mut dyn Write,
) -> Result<TrainOutcome, TrainError> {
    let manifest_before = digest_manifest(request.manifest_path)?;
    folder::check(&request.folder, request.start)?;
    let effective = request.effective;
    let data = Dataset::open(&effective.manifest.data, &effective.folder, Wanted::ALL, DigestCheck::All)?;
    let split = ValidationSplit::open(&data, &effective.manifest)?;
    let mut validator = |weights: &Params, interrupt: &Interrupt| split.score(request.engine, weights, interrupt);

    let (mut session, elapsed_ms) = begin(request, &data, &split, clock, watcher, &mut validator)?;
    let ending = session.run(elapsed_ms)?;
    let unchanged = || -> Result<(), TrainError> {
        if digest_manifest(request.manifest_path)? != manifest_before {
            return Err(TrainError::ManifestChanged { path: request.manifest_path.to_path_buf() });
        }
        data.check_unchanged().map_err(TrainError::InputChanged)
    };
    finish(request, &data, session, ending, &unchanged)
}

/// Everything up to the first step: folder, stream, weights or saved state, log, warm-up.
fn begin<'a>(
    request: &TrainRequest<'a>,
    data: &Dataset,
    split: &ValidationSplit,
    clock: &'a mut dyn Clock,
    watcher: &'a mut dyn Write,
    validator: &'a mut super::session::Validator<'a>,
) -> Result<(Session<'a>, f64), TrainError> {
    let manifest = &request.effective.manifest;
    let schedule = &manifest.schedule;
    let shards = data.train.iter().filter_map(|file| Some((file.path.as_path(), file.digest.as_ref()?)));
    let recipe = Recipe::new(manifest, request.engine.label(), shards);
    let recorded = match &request.replay {
        Some(path) => {
            let trace = Trace::read(path)?;
            trace.check_recipe(&recipe, path)?;
            Some(Replay::new(trace, path))
        }
        None => None,
    };
    let geometry =
        BatchGeometry::new(schedule.train_batch_tokens, schedule.train_seq_len, MICRO_BATCHES_PER_STEP, 1, 0)?;
    let mut loader = Loader::open(&data.train_paths(), geometry, manifest.model.vocab_size as u32)?;

    let mut trace = Trace::new(manifest::identity(manifest), recipe);
    let (mut elapsed_ms, mut log_bytes) = (0.0, 0);
    let trainer = if request.start == Start::Resume {
        let state = folder::read_state(&request.folder, manifest, &mut trace)?;
        loader.seek(LoaderPosition { taken: state.counters.batch_position });
        (elapsed_ms, log_bytes) = (state.counters.elapsed_ms, state.counters.log_bytes);
        Trainer::restored(request.engine, manifest, state.weights, state.optimizer, state.swa)
    } else {
        folder::clear(&request.folder)?;
        Trainer::new(request.engine, manifest, model::init(&manifest.model, schedule.seed))
    };

    let steps = trainer.steps();
    let mut log = RunLog::open(&request.folder.train_log(), log_bytes, watcher, request.progress.clone())?;
    if log.bytes() == 0 {
        let lines = log::heading(manifest, data, trainer.weights().num_elements(), split.tokens());
        lines.iter().try_for_each(|line| log.line(line))?;
    }
    if request.start == Start::Resume {
        log.line(&format!("resume:step:{steps}/{}", schedule.iterations))?;
    }
    // Warm-up changes nothing but caches; a run whose time is recorded has no use for it.
    let warm_up = steps == 0 && recorded.is_none();
    let pace = match recorded {
        Some(replay) => Pace::Replay(replay),
        None => Pace::Clock(Stopwatch::new(clock, elapsed_ms)),
    };
    let mut session = Session {
        trainer,
        loader,
        schedule: Schedule::new(schedule, &manifest.optimizer.muon),
        iterations: schedule.iterations,
        pace,
        trace,
        log,
        validator,
        folder: request.folder.clone(),
        checkpoint_every: request.checkpoint_every.map(NonZeroU64::get),
        interrupt: request.interrupt.clone(),
        progress: request.progress.clone(),
    };
    if warm_up {
        let copy = Trainer::new(request.engine, manifest, session.trainer.weights().clone());
        session.warm_up(copy, schedule.warmup_steps)?;
    }
    Ok((session, elapsed_ms))
}

/// Everything after the last step: averaging, inputs checked once more, files written.
fn finish(
    request: &TrainRequest<'_>,
    data: &Dataset,
    session: Session<'_>,
    ending: Ending,
    unchanged: &dyn Fn() -> Result<(), TrainError>,
) -> Result<TrainOutcome, TrainError> {
    let Session { trainer, trace, mut log, folder, pace, .. } = session;
    let replay = pace.recorded().map(|recorded| ReplayReport::compare(recorded, &trace.steps));
    if let Some(report) = &replay {
        log.line(&report.log_line())?;
    }
    let (snapshots, steps) = (trainer.swa().count(), trainer.steps());
    if snapshots > 1 {
        log.line(&format!("swa:applying averaged {snapshots} checkpoints"))?;
    }
    let weights = trainer.into_final_weights().arrange(&request.effective.manifest.model)?;
    unchanged()?;

    trace.write(&folder.trace())?;
    let checkpoint = folder::write_checkpoint(&folder, &weights)?;
    log.line(&format!("Serialized model: {} bytes", checkpoint.bytes.unwrap_or_default().0))?;
    log.sync()?;
    let record = TrainingRecord {
        steps,
        train_time_ms: Millis(ending.elapsed_ms),
        train_loss: trace.steps.last().map_or(ending.validation.loss, |step| Nats(f64::from(step.loss))),
        swa_snapshots: snapshots,
        checkpoint,
        trace: folder::file_ref(&folder.trace())?,
        log: Some(folder::file_ref(&folder.train_log())?),
    };
    let manifest = folder::write_manifest(&folder, request.effective, data, record.clone())?;
    folder::remove_state(&folder)?;
    let Ending { validation, stopped_early, .. } = ending;
    Ok(TrainOutcome { manifest, record, validation, stopped_early, replay })
}

fn digest_manifest(path: &Path) -> Result<ContentDigest, TrainError> {
    ContentDigest::of_file(path).map_err(|source| TrainError::Manifest { path: path.to_path_buf(), source })
}
