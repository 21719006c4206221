//! From a manifest to a checkpoint: inputs checked, loop run, files written.

use std::io::Write;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::begin::begin;
use super::inputs::TrainInputs;
use super::replay_report::ReplayReport;
use super::session::{Ending, Session};
use super::{Clock, TrainError, Validation, folder};
use crate::collective::{self, Collective, Solo};
use crate::engine::Engine;
use crate::interrupt::Interrupt;
use crate::manifest::{Effective, Manifest, TrainingRecord};
use crate::progress::Progress;
use crate::run_folder::RunFolder;
use crate::units::{BitsPerByte, Millis, Nats};

/// Name and version of the document of `train --json`.
const TRAINING_SCHEMA: &str = "golf-harness/training/v1";

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
#[derive(Clone)]
pub struct TrainRequest<'a> {
    /// The recipe, with overrides applied.
    pub effective: &'a Effective,
    /// The manifest file, held against itself at the end.
    pub manifest_path: &'a Path,
    /// Where the files of the run go.
    pub folder: RunFolder,
    /// What runs the model.
    pub engine: &'a dyn Engine,
    /// The way to the other ranks; [`Solo`] without any.
    pub ranks: &'a dyn Collective,
    /// Fresh, overwriting or continuing.
    pub start: Start,
    /// A recorded trace to follow instead of the clock.
    pub replay: Option<PathBuf>,
    /// Steps between states that can be resumed from.
    pub checkpoint_every: Option<NonZeroU64>,
    /// Longest time between such states, by the machine's own clock: what a killed run loses. Without both, one is
    /// written only on an interrupt.
    pub checkpoint_period: Option<Duration>,
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

/// The document of `train --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Training<'a> {
    /// Always `golf-harness/training/v1`.
    #[schemars(extend("const" = TRAINING_SCHEMA))]
    schema: &'static str,
    /// Where everything is.
    folder: &'a Path,
    /// What went into the manifest's results.
    training: &'a TrainingRecord,
    /// The last validation, before averaging.
    validation: LastValidation,
    /// Whether the wall-clock cap ended it before all iterations.
    stopped_early: bool,
    /// Under a replay, how it compares.
    replay: Option<&'a ReplayReport>,
}

/// A validation.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct LastValidation {
    /// Nats per token.
    val_loss: Nats,
    /// Bits per byte.
    val_bpb: BitsPerByte,
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
    pub fn document<'a>(&'a self, folder: &'a RunFolder) -> Training<'a> {
        Training {
            schema: TRAINING_SCHEMA,
            folder: folder.root(),
            training: &self.record,
            validation: LastValidation { val_loss: self.validation.loss, val_bpb: self.validation.bpb },
            stopped_early: self.stopped_early,
            replay: self.replay.as_ref(),
        }
    }
}

/// Trains the model of a manifest and writes checkpoint, trace, log and manifest into the run folder.
///
/// `clock` measures training time; `watcher` receives a copy of the log. Nothing else is printed. With several
/// ranks this is rank 0, and each of the others calls [`run_worker`].
pub fn run(
    request: &TrainRequest<'_>,
    clock: &mut dyn Clock,
    watcher: &mut dyn Write,
) -> Result<TrainOutcome, TrainError> {
    telling_others(request, || {
        folder::check(&request.folder, request.start)?;
        let inputs = TrainInputs::open(request)?;
        let mut validator = inputs.validator(request);
        let (mut session, elapsed_ms) = begin(request, &inputs, Some(clock), watcher, &mut validator)?;
        let ending = session.run(elapsed_ms)?;
        let outcome = finish(request, &inputs, session, ending)?;
        request.ranks.barrier()?;
        Ok(outcome)
    })
}

/// Takes part in the training another rank leads with [`run`]. Nothing is written.
pub fn run_worker(request: &TrainRequest<'_>) -> Result<(), TrainError> {
    telling_others(request, || {
        let inputs = TrainInputs::open(request)?;
        let mut validator = inputs.validator(request);
        let mut nobody = std::io::sink();
        let (mut session, elapsed_ms) = begin(request, &inputs, None, &mut nobody, &mut validator)?;
        session.run(elapsed_ms)?;
        inputs.check_unchanged()?;
        // Nobody leaves before everything is written.
        Ok(request.ranks.barrier()?)
    })
}

/// Trains with `world` ranks that are threads of this process. The bytes are those of one rank.
pub fn run_in_process(
    request: &TrainRequest<'_>,
    world: usize,
    clock: &mut dyn Clock,
    watcher: &mut dyn Write,
) -> Result<TrainOutcome, TrainError> {
    let mut ranks = collective::in_process(world)?.into_iter();
    let Some(rank_zero) = ranks.next() else { return run(request, clock, watcher) };
    std::thread::scope(|scope| {
        for rank in ranks {
            let worker = TrainRequest {
                ranks: &Solo,
                folder: request.folder.clone(),
                replay: request.replay.clone(),
                interrupt: request.interrupt.clone(),
                progress: Progress::hidden(),
                ..*request
            };
            // What ends it, rank 0 says.
            scope.spawn(move || drop(run_worker(&TrainRequest { ranks: &rank, ..worker })));
        }
        run(&TrainRequest { ranks: &rank_zero, ..request.clone() }, clock, watcher)
    })
}

/// An error of this rank is the end of all.
fn telling_others<R>(
    request: &TrainRequest<'_>,
    work: impl FnOnce() -> Result<R, TrainError>,
) -> Result<R, TrainError> {
    let result = work();
    if let Err(error) = &result {
        request.ranks.abandon(&error.to_string());
    }
    result
}

/// Everything after the last step: averaging, inputs checked once more, files written.
fn finish(
    request: &TrainRequest<'_>,
    inputs: &TrainInputs<'_>,
    session: Session<'_>,
    ending: Ending,
) -> Result<TrainOutcome, TrainError> {
    let Session { trainer, trace, mut log, folder, pace, .. } = session;
    let replay = pace.recorded().map(|recorded| ReplayReport::compare(recorded, &trace.steps));
    if let Some(report) = &replay {
        log.line(&report.log_line())?;
    }
    let (snapshots, steps) = (trainer.snapshots(), trainer.steps());
    if snapshots > 1 {
        log.line(&format!("swa:applying averaged {snapshots} checkpoints"))?;
    }
    let weights = trainer.into_final_weights()?.arrange(&request.effective.manifest.model)?;
    inputs.check_unchanged()?;

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
    let manifest = folder::write_manifest(&folder, request.effective, &inputs.data, record.clone())?;
    folder::remove_state(&folder)?;
    let Ending { validation, stopped_early, .. } = ending;
    Ok(TrainOutcome { manifest, record, validation, stopped_early, replay })
}
