//! From a manifest to a checkpoint: inputs checked, loop run, files written.

use std::io::Write;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use super::log::{self, RunLog};
use super::pace::{Pace, Replay};
use super::replay_report::ReplayReport;
use super::session::{Ending, Session};
use super::validation::ValidationSplit;
use super::{Clock, Recipe, Schedule, Stopwatch, Trace, TrainError, Trainer, Validation, agreement, folder};
use crate::collective::{self, Collective, CollectiveError, Solo};
use crate::data::{BatchGeometry, Dataset, DigestCheck, Loader, LoaderPosition, Wanted};
use crate::digest::ContentDigest;
use crate::engine::Engine;
use crate::interrupt::Interrupt;
use crate::manifest::{self, Effective, Manifest, TrainingRecord};
use crate::model::{self, Params};
use crate::optim::{Optimizer, SwaSum};
use crate::progress::Progress;
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
/// `clock` measures training time; `watcher` receives a copy of the log. Nothing else is printed. With several
/// ranks this is the lead, and each of the others calls [`follow`].
pub fn run(
    request: &TrainRequest<'_>,
    clock: &mut dyn Clock,
    watcher: &mut dyn Write,
) -> Result<TrainOutcome, TrainError> {
    telling_others(request, || {
        folder::check(&request.folder, request.start)?;
        let inputs = Inputs::open(request)?;
        let mut validator = inputs.validator(request);
        let (mut session, elapsed_ms) = begin(request, &inputs, Some(clock), watcher, &mut validator)?;
        let ending = session.run(elapsed_ms)?;
        let outcome = finish(request, &inputs, session, ending)?;
        request.ranks.barrier()?;
        Ok(outcome)
    })
}

/// Takes part in the training another rank leads with [`run`]. Nothing is written.
pub fn follow(request: &TrainRequest<'_>) -> Result<(), TrainError> {
    telling_others(request, || {
        let inputs = Inputs::open(request)?;
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
    let Some(lead) = ranks.next() else { return run(request, clock, watcher) };
    std::thread::scope(|scope| {
        for rank in ranks {
            let follower = TrainRequest {
                ranks: &Solo,
                folder: request.folder.clone(),
                replay: request.replay.clone(),
                interrupt: request.interrupt.clone(),
                progress: Progress::hidden(),
                ..*request
            };
            // What ends it, the lead says.
            scope.spawn(move || drop(follow(&TrainRequest { ranks: &rank, ..follower })));
        }
        run(&TrainRequest { ranks: &lead, ..request.clone() }, clock, watcher)
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

/// The files a run reads, held against themselves at the end.
struct Inputs<'a> {
    manifest_path: &'a Path,
    manifest: ContentDigest,
    data: Dataset,
    split: ValidationSplit,
}

impl<'a> Inputs<'a> {
    fn open(request: &TrainRequest<'a>) -> Result<Self, TrainError> {
        let manifest = digest_manifest(request.manifest_path)?;
        let effective = request.effective;
        let data = Dataset::open(&effective.manifest.data, &effective.folder, Wanted::ALL, DigestCheck::All)?;
        let split = ValidationSplit::open(&data, &effective.manifest)?;
        Ok(Inputs { manifest_path: request.manifest_path, manifest, data, split })
    }

    fn validator(
        &self,
        request: &TrainRequest<'a>,
    ) -> impl FnMut(&Params, &Interrupt) -> Result<Option<Validation>, TrainError> {
        let (engine, ranks) = (request.engine, request.ranks);
        move |weights, interrupt| self.split.score(engine, weights, interrupt, ranks)
    }

    fn check_unchanged(&self) -> Result<(), TrainError> {
        if digest_manifest(self.manifest_path)? != self.manifest {
            return Err(TrainError::ManifestChanged { path: self.manifest_path.to_path_buf() });
        }
        self.data.check_unchanged().map_err(TrainError::InputChanged)
    }
}

/// Everything up to the first step: folder, stream, weights or saved state, log, warm-up. The lead has a clock.
fn begin<'a>(
    request: &TrainRequest<'a>,
    inputs: &Inputs<'_>,
    clock: Option<&'a mut dyn Clock>,
    watcher: &'a mut dyn Write,
    validator: &'a mut super::session::Validator<'a>,
) -> Result<(Session<'a>, f64), TrainError> {
    let manifest = &request.effective.manifest;
    let schedule = &manifest.schedule;
    let Inputs { data, split, .. } = inputs;
    let (ranks, place) = (request.ranks, request.ranks.place());
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
    agreement::check_alike(ranks, manifest, &recipe, request.start, split.tokens())?;
    let geometry = BatchGeometry::new(
        schedule.train_batch_tokens,
        schedule.train_seq_len,
        place.micro_batches() as u64,
        place.world() as u32,
        place.rank() as u32,
    )?;
    let mut loader = Loader::open(&data.train_paths(), geometry, manifest.model.vocab_size as u32)?;

    let mut trace = Trace::new(manifest::identity(manifest), recipe);
    let (mut elapsed_ms, mut log_bytes, mut taken) = (0.0, 0, 0);
    let trainer = if !place.is_lead() {
        Trainer::new(request.engine, manifest, Params::zeros(&manifest.model))
    } else if request.start == Start::Resume {
        let state = folder::read_state(&request.folder, manifest, &mut trace)?;
        taken = state.counters.batch_position;
        (elapsed_ms, log_bytes) = (state.counters.elapsed_ms, state.counters.log_bytes);
        Trainer::restored(request.engine, manifest, state.weights, state.optimizer, state.swa)
    } else {
        folder::clear(&request.folder)?;
        Trainer::new(request.engine, manifest, model::init(&manifest.model, schedule.seed))
    };

    let mut trainer = trainer.across(ranks);
    let told = Standing { steps: trainer.steps(), snapshots: trainer.snapshots(), taken, elapsed_ms };
    let Standing { steps, snapshots, taken, elapsed_ms } = told.of_lead(ranks)?;
    if !place.is_lead() {
        let sum = (snapshots > 0).then(|| Params::zeros(&manifest.model));
        let optimizer = Optimizer::new(&manifest.optimizer, &manifest.model).after(steps);
        let (weights, swa) = (trainer.weights()?.clone(), SwaSum::from_parts(sum, snapshots));
        trainer = Trainer::restored(request.engine, manifest, weights, optimizer, swa).across(ranks);
    }
    trainer.take_from_lead()?;
    loader.seek(LoaderPosition { taken });

    let mut log = match place.is_lead() {
        true => RunLog::open(&request.folder.train_log(), log_bytes, watcher, request.progress.clone())?,
        false => RunLog::none(watcher),
    };
    if log.bytes() == 0 {
        let parameters = trainer.weights()?.num_elements();
        let lines = log::heading(manifest, data, parameters, split.tokens(), place);
        lines.iter().try_for_each(|line| log.line(line))?;
    }
    if request.start == Start::Resume {
        log.line(&format!("resume:step:{steps}/{}", schedule.iterations))?;
    }
    // Warm-up changes nothing but caches; a run whose time is recorded has no use for it.
    let warm_up = steps == 0 && recorded.is_none();
    let pace = match (clock, recorded) {
        (None, _) => Pace::Told,
        (Some(_), Some(replay)) => Pace::Replay(replay),
        (Some(clock), None) => Pace::Clock(Stopwatch::new(clock, elapsed_ms)),
    };
    let mut session = Session {
        trainer,
        ranks,
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
        let copy = Trainer::new(request.engine, manifest, session.trainer.weights()?.clone()).across(ranks);
        session.warm_up(copy, schedule.warmup_steps)?;
    }
    Ok((session, elapsed_ms))
}

/// Where a run stands when its ranks begin.
struct Standing {
    steps: u64,
    snapshots: u64,
    taken: u64,
    elapsed_ms: f64,
}

impl Standing {
    /// The lead's, on every rank.
    fn of_lead(self, ranks: &dyn Collective) -> Result<Self, CollectiveError> {
        // Bits, because a count may be beyond what f64 holds exactly.
        let told = |count: u64| agreement::lead_says(ranks, f64::from_bits(count)).map(f64::to_bits);
        Ok(Standing {
            steps: told(self.steps)?,
            snapshots: told(self.snapshots)?,
            taken: told(self.taken)?,
            elapsed_ms: agreement::lead_says(ranks, self.elapsed_ms)?,
        })
    }
}

/// Everything after the last step: averaging, inputs checked once more, files written.
fn finish(
    request: &TrainRequest<'_>,
    inputs: &Inputs<'_>,
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

fn digest_manifest(path: &Path) -> Result<ContentDigest, TrainError> {
    ContentDigest::of_file(path).map_err(|source| TrainError::Manifest { path: path.to_path_buf(), source })
}
