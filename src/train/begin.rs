//! Everything up to the first step: folder, stream, weights or saved state, log, warm-up.

use std::io::Write;
use std::num::NonZeroU64;
use std::path::Path;

use super::inputs::TrainInputs;
use super::log::{self, RunLog};
use super::pace::{Pace, Replay};
use super::session::{Session, Validator};
use super::{Clock, Recipe, Schedule, Start, Stopwatch, Trace, TrainError, TrainRequest, Trainer, agreement, folder};
use crate::collective::{Collective, CollectiveError};
use crate::data::{BatchGeometry, Dataset, Loader, LoaderPosition, ReadingOrder};
use crate::engine::TrainerState;
use crate::manifest;
use crate::model::{self, Params};
use crate::optim::{Optimizer, SwaSum};

/// A session before its first step, and the training time, in milliseconds, of the steps already taken. Rank 0 has
/// a clock.
pub(super) fn begin<'a>(
    request: &TrainRequest<'a>,
    inputs: &TrainInputs<'_>,
    clock: Option<&'a mut dyn Clock>,
    watcher: &'a mut dyn Write,
    validator: &'a mut Validator<'a>,
) -> Result<(Session<'a>, f64), TrainError> {
    let (manifest, ranks) = (&request.effective.manifest, request.ranks);
    let schedule = &manifest.schedule;
    let TrainInputs { data, split, .. } = inputs;
    let shards = data.train.iter().filter_map(|file| Some((file.path.as_path(), file.digest.as_ref()?)));
    let recipe = Recipe::new(manifest, request.engine.label(), shards);
    let recorded = request.replay.as_deref().map(|path| open_replay(path, &recipe)).transpose()?;
    agreement::check_alike(ranks, manifest, &recipe, request.start, split.tokens())?;
    let mut loader = open_loader(request, data)?;

    let mut trace = Trace::new(manifest::identity(manifest), recipe);
    let (trainer, own) = load(request, &mut trace)?;
    let start = own.of_rank_zero(ranks)?;
    let mut trainer = join(request, trainer, &start)?;
    loader.seek(LoaderPosition { taken: start.taken });

    let log = open_log(request, inputs, &mut trainer, &start, watcher)?;
    let elapsed_ms = start.elapsed_ms;
    // Warm-up changes nothing but caches; a run whose time is recorded has no use for it.
    let warm_up = start.steps == 0 && recorded.is_none();
    let pace = match (clock, recorded) {
        (None, _) => Pace::Told,
        (Some(_), Some(replay)) => Pace::Replay(replay),
        (Some(clock), None) => Pace::Clock(Stopwatch::new(clock, elapsed_ms)),
    };
    let mut session = Session {
        trainer,
        ranks,
        loader,
        schedule: Schedule::new(schedule, &manifest.optimizer.muon).repeating(manifest.model.recurrence.as_ref()),
        iterations: schedule.iterations,
        pace,
        trace,
        log,
        validator,
        folder: request.folder.clone(),
        checkpoint_every: request.checkpoint_every.map(NonZeroU64::get),
        checkpoint_period: request.checkpoint_period,
        saved_at: std::time::Instant::now(),
        interrupt: request.interrupt.clone(),
        progress: request.progress.clone(),
    };
    if warm_up {
        let copy = Trainer::new(request.engine, manifest, session.trainer.weights()?.clone()).across(ranks);
        session.warm_up(copy, schedule.warmup_steps)?;
    }
    Ok((session, elapsed_ms))
}

fn open_replay(path: &Path, recipe: &Recipe) -> Result<Replay, TrainError> {
    let trace = Trace::read(path)?;
    trace.check_recipe(recipe, path)?;
    Ok(Replay::new(trace, path))
}

/// The stream of training tokens of this rank, at its beginning.
fn open_loader(request: &TrainRequest<'_>, data: &Dataset) -> Result<Loader, TrainError> {
    let (manifest, rank) = (&request.effective.manifest, request.ranks.rank());
    let geometry = BatchGeometry::new(
        manifest.schedule.train_batch_tokens,
        manifest.schedule.train_seq_len,
        rank.micro_batches() as u64,
        rank.world_size() as u32,
        rank.index() as u32,
    )?;
    let (order, seed, ranks) = (manifest.data.loader, manifest.data.loader_seed, manifest.schedule.world_size);
    let order = ReadingOrder { order, seed, ranks };
    Ok(Loader::open_in_order(&data.train_paths(), geometry, manifest.model.vocab_size as u32, order)?)
}

/// The model as this rank has it: rank 0's is new or comes out of the folder, the others' are zero.
fn load<'a>(request: &TrainRequest<'a>, trace: &mut Trace) -> Result<(Trainer<'a>, StartPoint), TrainError> {
    let manifest = &request.effective.manifest;
    let (mut elapsed_ms, mut log_bytes, mut taken) = (0.0, 0, 0);
    let trainer = if !request.ranks.rank().is_rank_zero() {
        Trainer::new(request.engine, manifest, Params::zeros(&manifest.model))
    } else if request.start == Start::Resume {
        let state = folder::read_state(&request.folder, manifest, trace)?;
        taken = state.counters.batch_position;
        (elapsed_ms, log_bytes) = (state.counters.elapsed_ms, state.counters.log_bytes);
        Trainer::restored(request.engine, manifest, state.model)
    } else {
        folder::clear(&request.folder)?;
        // Before anything else, as the mark of whose folder this is.
        trace.write(&request.folder.trace())?;
        Trainer::new(request.engine, manifest, model::init(&manifest.model, manifest.schedule.seed))
    };
    let (steps, snapshots) = (trainer.steps(), trainer.snapshots());
    Ok((trainer, StartPoint { steps, snapshots, taken, elapsed_ms, log_bytes }))
}

/// Rank 0's model on every rank.
fn join<'a>(request: &TrainRequest<'a>, trainer: Trainer<'a>, start: &StartPoint) -> Result<Trainer<'a>, TrainError> {
    let (manifest, ranks) = (&request.effective.manifest, request.ranks);
    let mut trainer = trainer.across(ranks);
    if !ranks.rank().is_rank_zero() {
        let sum = (start.snapshots > 0).then(|| Params::zeros(&manifest.model));
        let optimizer = Optimizer::new(&manifest.optimizer, &manifest.model).after(start.steps);
        let (weights, swa) = (trainer.weights()?.clone(), SwaSum::from_parts(sum, start.snapshots));
        let ema = manifest.schedule.ema.as_ref().map(|_| weights.clone());
        let state = TrainerState { weights, optimizer, swa, ema };
        trainer = Trainer::restored(request.engine, manifest, state).across(ranks);
    }
    trainer.copy_from_rank_zero()?;
    Ok(trainer)
}

/// Rank 0's log, with its heading or the line that it goes on.
fn open_log<'a>(
    request: &TrainRequest<'_>,
    inputs: &TrainInputs<'_>,
    trainer: &mut Trainer<'_>,
    start: &StartPoint,
    watcher: &'a mut dyn Write,
) -> Result<RunLog<'a>, TrainError> {
    let (manifest, rank) = (&request.effective.manifest, request.ranks.rank());
    let mut log = match rank.is_rank_zero() {
        true => RunLog::open(&request.folder.train_log(), start.log_bytes, watcher, request.progress.clone())?,
        false => RunLog::none(watcher),
    };
    if log.bytes() == 0 {
        let parameters = trainer.weights()?.num_elements();
        let lines = log::heading(manifest, &inputs.data, parameters, inputs.split.tokens(), rank);
        lines.iter().try_for_each(|line| log.line(line))?;
    }
    if request.start == Start::Resume {
        log.line(&format!("resume:step:{}/{}", start.steps, manifest.schedule.iterations))?;
    }
    Ok(log)
}

/// Where a run stands when its ranks begin.
struct StartPoint {
    steps: u64,
    snapshots: u64,
    taken: u64,
    elapsed_ms: f64,
    /// Of rank 0, which alone has a log.
    log_bytes: u64,
}

impl StartPoint {
    /// Rank 0's, on every rank.
    fn of_rank_zero(self, ranks: &dyn Collective) -> Result<Self, CollectiveError> {
        // Bits, because a count may be beyond what f64 holds exactly.
        let told = |count: u64| agreement::from_rank_zero(ranks, f64::from_bits(count)).map(f64::to_bits);
        Ok(StartPoint {
            steps: told(self.steps)?,
            snapshots: told(self.snapshots)?,
            taken: told(self.taken)?,
            elapsed_ms: agreement::from_rank_zero(ranks, self.elapsed_ms)?,
            log_bytes: self.log_bytes,
        })
    }
}
