//! Whole runs on a tiny model: resumed, replayed, warmed up, interrupted, diverging.

use std::io::Write;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    Optimizer, Start, SwaSum, TickingClock, Trace, TrainError, TrainOutcome, TrainRequest, run, run_in_process,
};
use crate::cli::Progress;
use crate::collective::{Collective, CollectiveError, Solo};
use crate::data::{TokenBatch, write_shard};
use crate::engine::{
    Engine, EngineError, EngineKind, FakeQuant, KernelsEngine, LossAndGradients, Resident, Scorer, shimmed_engine,
};
use crate::interrupt::Interrupt;
use crate::manifest::{Effective, Override, assignment};
use crate::model::{ModelConfig, Params};
use crate::run_folder::RunFolder;

/// Two layers of eight channels over 32 tokens.
const MODEL: &str = "model: { vocab_size: 1024, num_layers: 2, model_dim: 8, num_heads: 2, num_kv_heads: 1, \
                     mlp_mult: 2, bigram_vocab_size: 16, bigram_dim: 4 }";
/// Ten steps by number: the rate falls from step 3, snapshots after 8 and 10, QAT in the last two.
const BY_STEPS: &str = "schedule: { max_wallclock_seconds: 0, iterations: 10, warmdown_iters: 8, warmup_steps: 0, \
                        train_batch_tokens: 128, train_seq_len: 8, val_loss_every: 4, train_log_every: 3, \
                        swa: { every: 2, start_frac: 0.6 }, qat: { start_frac: 0.8 } }";
/// The same by time: 50 ms of a clock that ticks 1 ms at every look.
const BY_CLOCK: &str = "schedule: { max_wallclock_seconds: 0.05, iterations: 1000, warmdown_iters: 8, warmup_steps: 2, \
                        train_batch_tokens: 128, train_seq_len: 8, val_loss_every: 4, train_log_every: 3, \
                        swa: { every: 2, start_frac: 0.6 }, qat: { start_frac: 0.8 } }";

/// A folder with shards, tokenizer and manifest.
struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    fn new(schedule: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = |count: u32, seed: u32| -> Vec<u16> {
            let draw = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 27) as u16 * 7 + 300;
            (0..count).map(draw).collect()
        };
        write_shard(&folder.path().join("t_train_000000.bin"), &tokens(900, 1)).unwrap();
        write_shard(&folder.path().join("t_train_000001.bin"), &tokens(300, 2)).unwrap();
        write_shard(&folder.path().join("t_val_000000.bin"), &tokens(100, 3)).unwrap();
        let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/smoke/tokenizer.model");
        let data = format!(
            "data: {{ path: ., train_pattern: 't_train_*.bin', val_pattern: 't_val_*.bin', \
             tokenizer: {{ path: '{}' }} }}",
            tokenizer.display()
        );
        let text = format!("schema: golf-harness/manifest/v1\nname: tiny\n{MODEL}\n{schedule}\n{data}\n");
        std::fs::write(folder.path().join("tiny.yaml"), text).unwrap();
        Workshop { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn job(&self, out: &str) -> Job<'_> {
        Job {
            workshop: self,
            out: self.path(out),
            start: Start::Fresh,
            replay: None,
            every: None,
            set: &[],
            tick: 1.0,
            ranks: 1,
        }
    }
}

/// A run about to be started.
#[derive(Clone)]
struct Job<'a> {
    workshop: &'a Workshop,
    out: PathBuf,
    start: Start,
    replay: Option<PathBuf>,
    every: Option<u64>,
    set: &'a [&'a str],
    tick: f64,
    /// Ranks, as threads of this process.
    ranks: usize,
}

impl Job<'_> {
    fn run(&self) -> Result<TrainOutcome, TrainError> {
        self.run_with(&KernelsEngine::default(), &mut |_, _| {})
    }

    /// `at_line` sees every line of the log as it is written, and may interfere.
    fn run_with(
        &self,
        engine: &dyn Engine,
        at_line: &mut dyn FnMut(&str, &Interrupt),
    ) -> Result<TrainOutcome, TrainError> {
        let manifest_path = self.workshop.path("tiny.yaml");
        let overrides: Vec<Override> = self.set.iter().map(|text| assignment(text).unwrap()).collect();
        let effective = Effective::load(&manifest_path, overrides, self.workshop.folder.path()).unwrap();
        let interrupt = Interrupt::none();
        let request = TrainRequest {
            effective: &effective,
            manifest_path: &manifest_path,
            folder: RunFolder::new(&self.out),
            engine,
            ranks: &Solo,
            start: self.start,
            replay: self.replay.clone(),
            checkpoint_every: self.every.and_then(NonZeroU64::new),
            interrupt: interrupt.clone(),
            progress: Progress::hidden(),
        };
        let (mut clock, mut watch) = (TickingClock::new(self.tick), |line: &str| at_line(line, &interrupt));
        match self.ranks {
            1 => run(&request, &mut clock, &mut Watcher(&mut watch)),
            ranks => run_in_process(&request, ranks, &mut clock, &mut Watcher(&mut watch)),
        }
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.out.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn log(&self) -> String {
        String::from_utf8(self.bytes("train.log")).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.out.join(name).exists()
    }
}

struct Watcher<'a>(&'a mut dyn FnMut(&str));

impl Write for Watcher<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (self.0)(std::str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn assert_same(a: &Job<'_>, b: &Job<'_>, name: &str) {
    assert!(a.bytes(name) == b.bytes(name), "{name} differs between {} and {}", a.out.display(), b.out.display());
}

const STATE: &str = "training-state.safetensors";
const CHECKPOINT: &str = "checkpoint.safetensors";
const TRACE: &str = "trace.jsonl";

#[test]
fn ten_steps_are_five_and_five_more() {
    let workshop = Workshop::new(BY_STEPS);
    // A clock that stands still: the schedule goes by steps, and the trace must not differ by when it was read.
    let straight = Job { tick: 0.0, ..workshop.job("straight") };
    let outcome = straight.run().unwrap();
    assert_eq!((outcome.record.steps, outcome.record.swa_snapshots), (10, 2));
    let trace = Trace::read(&straight.out.join(TRACE)).unwrap();
    let switches: Vec<(bool, bool)> = trace.steps.iter().map(|step| (step.qat, step.swa)).collect();
    assert_eq!(switches.iter().filter(|(qat, _)| *qat).count(), 2);
    assert!(!straight.has(STATE));

    for stop in [1, 3, 6, 9] {
        let broken = Job { tick: 0.0, ..workshop.job(&format!("stop-{stop}")) };
        let error = broken
            .run_with(&KernelsEngine::default(), &mut |line, interrupt| {
                if line.starts_with(&format!("step:{stop}/10 train_loss")) {
                    interrupt.raise();
                }
            })
            .unwrap_err();
        assert!(matches!(error, TrainError::Interrupted { steps, .. } if steps == stop), "{error}");
        assert!(broken.has(STATE) && !broken.has(CHECKPOINT));

        let resumed = Job { start: Start::Resume, ..broken };
        resumed.run().unwrap();
        assert_same(&resumed, &straight, CHECKPOINT);
        assert_same(&resumed, &straight, TRACE);
        assert!(!resumed.has(STATE));
    }
}

#[test]
fn steps_taken_after_the_last_checkpoint_are_taken_again() {
    let workshop = Workshop::new(BY_STEPS);
    let straight = Job { tick: 0.0, ..workshop.job("straight") };
    straight.run().unwrap();
    // Dies in step 9 with a state of step 6: the engine fails as a machine might.
    let broken = Job { tick: 0.0, every: Some(3), ..workshop.job("broken") };
    let error = broken.run_with(&Failing::new(8 * 8, f32::INFINITY), &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().starts_with("the training loss is inf at step 9: training diverged"), "{error}");
    assert!(broken.has(STATE) && !broken.has(CHECKPOINT));
    let lines = broken.log();
    assert!(lines.contains("step:8/10 train_loss"), "{lines}");

    let resumed = Job { start: Start::Resume, ..broken };
    resumed.run().unwrap();
    assert_same(&resumed, &straight, CHECKPOINT);
    assert_same(&resumed, &straight, TRACE);
    let log = resumed.log();
    assert_eq!(log.matches("step:8/10 train_loss").count(), 1, "{log}");
    assert!(log.contains("resume:step:6/10"), "{log}");
}

#[test]
fn a_run_by_the_clock_is_replayed_to_the_same_bytes() {
    let workshop = Workshop::new(BY_CLOCK);
    let original = workshop.job("original");
    let outcome = original.run().unwrap();
    assert!(outcome.stopped_early && outcome.record.steps < 1000);
    assert!(outcome.record.swa_snapshots > 1, "{outcome:?}");
    let trace = Trace::read(&original.out.join(TRACE)).unwrap();
    assert!(trace.steps.iter().any(|step| step.qat) && trace.steps.iter().any(|step| step.lr_multiplier < 0.5));
    let log = original.log();
    assert!(
        log.contains("stopping_early: wallclock_cap train_time:") && log.contains("swa:applying averaged"),
        "{log}"
    );

    // Another clock altogether, and no warm-up.
    let replay = Job { replay: Some(original.out.join(TRACE)), tick: 77.0, ..workshop.job("replay") };
    let report = replay.run().unwrap().replay.unwrap();
    assert!(report.is_identical() && report.steps == outcome.record.steps, "{report:?}");
    assert_same(&replay, &original, CHECKPOINT);
    assert_same(&replay, &original, TRACE);

    // A replay can itself be interrupted and resumed.
    let broken = Job { out: workshop.path("broken"), ..replay.clone() };
    let stop = &mut |line: &str, interrupt: &Interrupt| {
        if line.starts_with("step:5/") {
            interrupt.raise();
        }
    };
    assert!(matches!(broken.run_with(&KernelsEngine::default(), stop), Err(TrainError::Interrupted { .. })));
    let resumed = Job { start: Start::Resume, ..broken };
    resumed.run().unwrap();
    assert_same(&resumed, &original, CHECKPOINT);
    assert_same(&resumed, &original, TRACE);
}

#[test]
fn a_trace_of_another_recipe_or_an_edited_one_is_refused() {
    let workshop = Workshop::new(BY_STEPS);
    let original = workshop.job("original");
    original.run().unwrap();
    let trace = original.out.join(TRACE);
    let other = Job { replay: Some(trace.clone()), set: &["schedule.seed=7"], ..workshop.job("other") };
    let error = other.run().unwrap_err().to_string();
    assert!(error.contains("was recorded with another recipe: `schedule.seed` is 1337 there and 7 here"), "{error}");

    let text = std::fs::read_to_string(&trace).unwrap();
    std::fs::write(&trace, text.replacen("\"qat\":false", "\"qat\":true", 1)).unwrap();
    let edited = Job { replay: Some(trace), ..workshop.job("edited") };
    let error = edited.run().unwrap_err().to_string();
    assert!(error.contains("trace.jsonl:2: `qat` is On, but this recipe gives Off at that time"), "{error}");
    assert!(!edited.has(CHECKPOINT));
}

#[test]
fn warm_up_and_threads_leave_no_mark() {
    let workshop = Workshop::new(BY_STEPS);
    let cold = workshop.job("cold");
    cold.run().unwrap();
    let warm = Job { set: &["schedule.warmup_steps=3"], ..workshop.job("warm") };
    warm.run().unwrap();
    assert_same(&warm, &cold, CHECKPOINT);
    assert!(warm.log().contains("warmup_step:3/3\n"));

    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let threads = workshop.job("threads");
    pool.install(|| threads.run().unwrap());
    assert_same(&threads, &cold, CHECKPOINT);
}

#[test]
fn an_input_that_changes_during_the_run_spoils_it() {
    for (name, expected) in
        [("t_train_000001.bin", "content changed during the run"), ("tiny.yaml", "changed during the run")]
    {
        let workshop = Workshop::new(BY_STEPS);
        let path = workshop.path(name);
        let job = workshop.job("run");
        let error = job
            .run_with(&KernelsEngine::default(), &mut |line, _| {
                if line.starts_with("step:9/10") {
                    let mut bytes = std::fs::read(&path).unwrap();
                    let last = bytes.len() - 2;
                    bytes[last] ^= 1;
                    std::fs::write(&path, bytes).unwrap();
                }
            })
            .unwrap_err()
            .to_string();
        assert!(error.contains(name) && error.contains(expected), "{error}");
        assert!(!job.has(CHECKPOINT) && !job.has("manifest.yaml"));
    }
}

#[test]
fn a_folder_in_use_is_not_overwritten_unasked() {
    let workshop = Workshop::new(BY_STEPS);
    let job = workshop.job("run");
    let nothing = Job { start: Start::Resume, ..job.clone() };
    assert!(matches!(nothing.run(), Err(TrainError::NothingToResume { .. })));
    job.run().unwrap();
    let first = job.bytes(CHECKPOINT);
    assert!(matches!(job.run(), Err(TrainError::FolderInUse { finished: true, .. })));
    assert!(matches!(nothing.run(), Err(TrainError::AlreadyFinished { .. })));
    Job { start: Start::Overwrite, ..job.clone() }.run().unwrap();
    assert!(job.bytes(CHECKPOINT) == first);
}

#[test]
fn ranks_train_the_bytes_of_one() {
    // By steps, and by a clock that only the lead reads.
    for schedule in [BY_STEPS, BY_CLOCK] {
        let workshop = Workshop::new(schedule);
        let alone = workshop.job("alone");
        let outcome = alone.run().unwrap();
        for ranks in [2, 4, 8] {
            let several = Job { ranks, ..workshop.job(&format!("of-{ranks}")) };
            let found = several.run().unwrap();
            assert_same(&several, &alone, CHECKPOINT);
            assert_same(&several, &alone, TRACE);
            assert_eq!(found.validation, outcome.validation);
            let log = several.log();
            assert!(log.contains(&format!("world_size:{ranks} grad_accum_steps:{}\n", 8 / ranks)), "{log}");
            let line = log.lines().find_map(|line| line.strip_prefix("step:3/")?.split_once("rank_losses:")).unwrap();
            assert_eq!(line.1.split(' ').count(), ranks);
        }
    }
}

#[test]
fn a_run_continues_in_another_world() {
    let workshop = Workshop::new(BY_STEPS);
    let straight = Job { tick: 0.0, ..workshop.job("straight") };
    straight.run().unwrap();
    for (before, after) in [(4, 1), (1, 8), (2, 4)] {
        let broken = Job { tick: 0.0, ranks: before, ..workshop.job(&format!("{before}-{after}")) };
        // After snapshots and the start of QAT.
        let stop = &mut |line: &str, interrupt: &Interrupt| {
            if line.starts_with("step:9/10 train_loss") {
                interrupt.raise();
            }
        };
        let error = broken.run_with(&KernelsEngine::default(), stop).unwrap_err();
        assert!(matches!(error, TrainError::Interrupted { steps: 9, .. }), "{error}");
        let resumed = Job { start: Start::Resume, ranks: after, ..broken };
        resumed.run().unwrap();
        assert_same(&resumed, &straight, CHECKPOINT);
        assert_same(&resumed, &straight, TRACE);
    }
}

#[test]
fn trouble_on_one_rank_ends_all() {
    let workshop = Workshop::new(BY_STEPS);
    // A loss that is no number, on whichever rank it falls: all ranks see it.
    let diverged = Job { ranks: 4, ..workshop.job("diverged") };
    let error = diverged.run_with(&Failing::new(8 * 8 + 5, f32::NAN), &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { step: 9, .. }), "{error}");
    assert!(!diverged.has(CHECKPOINT));

    // An engine that fails on one rank only; the lead may be that rank or hear of it.
    let broken = Job { ranks: 8, ..workshop.job("broken") };
    let error = broken.run_with(&Failing::breaking(8 * 8 + 5), &mut |_, _| {}).unwrap_err();
    let expected = |error: &TrainError| match error {
        TrainError::Ranks(CollectiveError::Lost { rank, reason }) => *rank > 0 && reason.contains("out of memory"),
        TrainError::Engine(error) => error.to_string().contains("out of memory"),
        _ => false,
    };
    assert!(expected(&error), "{error}");
    assert!(!broken.has(CHECKPOINT) && !broken.has("manifest.yaml"));
    let odd = Job { ranks: 3, ..workshop.job("odd") };
    assert!(odd.run().unwrap_err().to_string().contains("a world of 3 ranks cannot share"));
}

/// Five steps with late QAT and snapshots, on the device's own kernels run by the processor.
#[test]
fn a_model_that_stays_on_a_device_is_saved_shared_and_followed_as_any_other() {
    let Some(engine) = shimmed_engine() else { return };
    let workshop = Workshop::new(BY_STEPS);
    let short = &["schedule.iterations=5", "schedule.val_loss_every=0"];
    let job = |out: &str| Job { tick: 0.0, set: short, ..workshop.job(out) };
    let straight = job("straight");
    let outcome = straight.run_with(&*engine, &mut |_, _| {}).unwrap();
    assert_eq!((outcome.record.steps, outcome.record.swa_snapshots), (5, 2));

    // Begun by four ranks, interrupted among snapshots and QAT, continued by two.
    let broken = Job { ranks: 4, ..job("broken") };
    let stop = &mut |line: &str, interrupt: &Interrupt| {
        if line.starts_with("step:4/5 train_loss") {
            interrupt.raise();
        }
    };
    assert!(matches!(broken.run_with(&*engine, stop), Err(TrainError::Interrupted { steps: 4, .. })));
    let resumed = Job { start: Start::Resume, ranks: 2, ..broken };
    resumed.run_with(&*engine, &mut |_, _| {}).unwrap();
    assert_same(&resumed, &straight, CHECKPOINT);
    assert_same(&resumed, &straight, TRACE);

    // The same engine with the host's optimiser.
    let host = job("host");
    host.run_with(&HostOptimiser(engine), &mut |_, _| {}).unwrap();
    let [found, expected] = [&straight, &host].map(|job| Trace::read(&job.out.join(TRACE)).unwrap().steps);
    assert_eq!(found[0].loss, expected[0].loss);
    for (found, expected) in found.iter().zip(&expected) {
        // Muon's bfloat16 magnifies the order of its sums.
        assert!((found.loss - expected.loss).abs() < 1e-3 * expected.loss, "{found:?} for {expected:?}");
        assert!((found.grad_norm / expected.grad_norm - 1.0).abs() < 0.02, "{found:?} for {expected:?}");
    }
}

#[test]
fn a_rank_whose_device_fails_ends_all() {
    let Some(engine) = shimmed_engine() else { return };
    let workshop = Workshop::new(BY_STEPS);
    let job = Job { ranks: 4, set: &["schedule.iterations=2"], ..workshop.job("broken") };
    let error = job.run_with(&Cramped(engine, AtomicU64::new(2)), &mut |_, _| {}).unwrap_err();
    let expected = match &error {
        TrainError::Ranks(CollectiveError::Lost { rank, reason }) => *rank > 0 && reason.contains("out of memory"),
        TrainError::Engine(error) => error.to_string().contains("out of memory"),
        _ => false,
    };
    assert!(expected, "{error}");
    assert!(!job.has(CHECKPOINT) && !job.has("manifest.yaml"));
}

/// An engine whose device has no room for the model of the rank that asks after so many others.
struct Cramped(Box<dyn Engine>, AtomicU64);

impl Engine for Cramped {
    fn kind(&self) -> EngineKind {
        self.0.kind()
    }

    fn scorer(&self, config: &ModelConfig, weights: &Params) -> Result<Box<dyn Scorer>, EngineError> {
        self.0.scorer(config, weights)
    }

    fn loss_and_gradients(
        &self,
        config: &ModelConfig,
        weights: &Params,
        batch: &TokenBatch,
        fake_quant: FakeQuant,
    ) -> Result<LossAndGradients, EngineError> {
        self.0.loss_and_gradients(config, weights, batch, fake_quant)
    }

    fn resident<'a>(
        &self,
        config: &ModelConfig,
        weights: &Params,
        optimizer: &Optimizer,
        swa: &SwaSum,
        ranks: &'a dyn Collective,
    ) -> Result<Option<Box<dyn Resident + 'a>>, EngineError> {
        if self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
            self.1.store(u64::MAX, Ordering::SeqCst);
            let message = "out of memory".into();
            return Err(EngineError::Backend { engine: EngineKind::Kernels, message });
        }
        self.0.resident(config, weights, optimizer, swa, ranks)
    }
}

/// An engine that leaves the model on the host.
struct HostOptimiser(Box<dyn Engine>);

impl Engine for HostOptimiser {
    fn kind(&self) -> EngineKind {
        self.0.kind()
    }

    fn scorer(&self, config: &ModelConfig, weights: &Params) -> Result<Box<dyn Scorer>, EngineError> {
        self.0.scorer(config, weights)
    }

    fn loss_and_gradients(
        &self,
        config: &ModelConfig,
        weights: &Params,
        batch: &TokenBatch,
        fake_quant: FakeQuant,
    ) -> Result<LossAndGradients, EngineError> {
        self.0.loss_and_gradients(config, weights, batch, fake_quant)
    }
}

/// The kernels engine until its `left`-th micro-batch, then a loss that is no number.
struct Failing {
    left: AtomicU64,
    /// `None` for an error.
    loss: Option<f32>,
}

impl Failing {
    fn new(micro_batches: u64, loss: f32) -> Self {
        Failing { left: AtomicU64::new(micro_batches), loss: Some(loss) }
    }

    fn breaking(micro_batches: u64) -> Self {
        Failing { left: AtomicU64::new(micro_batches), loss: None }
    }
}

impl Engine for Failing {
    fn kind(&self) -> EngineKind {
        EngineKind::Kernels
    }

    fn scorer(&self, config: &ModelConfig, weights: &Params) -> Result<Box<dyn Scorer>, EngineError> {
        KernelsEngine::default().scorer(config, weights)
    }

    fn loss_and_gradients(
        &self,
        config: &ModelConfig,
        weights: &Params,
        batch: &TokenBatch,
        fake_quant: FakeQuant,
    ) -> Result<LossAndGradients, EngineError> {
        let mut found = KernelsEngine::default().loss_and_gradients(config, weights, batch, fake_quant)?;
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
            let message = "out of memory".into();
            found.loss = self.loss.ok_or(EngineError::Backend { engine: EngineKind::Kernels, message })?;
        }
        Ok(found)
    }
}
