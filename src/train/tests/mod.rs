//! Whole runs on a tiny model: resumed, replayed, warmed up, interrupted, diverging.

mod device;
mod meddled;
mod ranks;
mod runs;

use std::io::Write;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use super::{Start, TickingClock, TrainError, TrainOutcome, TrainRequest, run, run_in_process};
use crate::collective::Solo;
use crate::data::write_shard;
use crate::engine::{Engine, KernelsEngine};
use crate::interrupt::Interrupt;
use crate::manifest::{Effective, Override, assignment};
use crate::progress::Progress;
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

    fn job(&self, out: &str) -> TestRun<'_> {
        TestRun {
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
struct TestRun<'a> {
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

impl TestRun<'_> {
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
            checkpoint_period: None,
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

fn assert_same(a: &TestRun<'_>, b: &TestRun<'_>, name: &str) {
    assert!(a.bytes(name) == b.bytes(name), "{name} differs between {} and {}", a.out.display(), b.out.display());
}

const STATE: &str = "training-state.safetensors";
const CHECKPOINT: &str = "checkpoint.safetensors";
const TRACE: &str = "trace.jsonl";
