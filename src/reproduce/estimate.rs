//! How long a reproduction takes on this machine: a guess from two seconds of work.
//!
//! The model of the recipe scores and trains on random tokens, first on few, then on as many as the time allows. What
//! is left is the recipe's own arithmetic. Where a step or a window is longer than the probe could be, the time of one
//! is extrapolated by its tokens, and the range is wider.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use super::dry_run::{learning_chunks, scored_plans};
use crate::data::TokenBatch;
use crate::engine::{Engine, Window};
use crate::eval::WindowPlan;
use crate::interrupt::Interrupt;
use crate::manifest::{MICRO_BATCHES_PER_STEP, Manifest};
use crate::model;
use crate::optim::{FakeQuant, StepPlan};
use crate::progress::time_in_words;
use crate::random::RandomStream;
use crate::train::{Schedule, TrainError, Trainer};

/// Name and version of the document.
pub const ESTIMATE_SCHEMA: &str = "golf-harness/estimate/v1";
/// Time for either half of the probe.
const HALF: Duration = Duration::from_millis(1000);
/// The first pieces: enough to see a pace, on any machine.
const FIRST_TOKENS: usize = 64;
/// Forward and backward pass against a forward pass alone, where only that could be timed: a backward pass has twice
/// its multiplications.
const TRAINING_FACTOR: f64 = 3.5;
/// How far a guess may be off where whole steps and windows were timed: other work on the machine, late quantized
/// training, pauses to save.
const NEAR: (f64, f64) = (0.75, 1.5);
/// The same where parts of them were.
const FAR: (f64, f64) = (0.5, 2.5);

/// A time between two, seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct TimeRange {
    /// Hardly less.
    pub low: f64,
    /// Hardly more.
    pub high: f64,
}

impl TimeRange {
    fn around(seconds: f64, is_whole: bool) -> Self {
        let (low, high) = if is_whole { NEAR } else { FAR };
        TimeRange { low: seconds * low, high: seconds * high }
    }

    fn plus(self, other: Self) -> Self {
        TimeRange { low: self.low + other.low, high: self.high + other.high }
    }

    fn at_most(self, cap: f64) -> Self {
        TimeRange { low: self.low.min(cap), high: self.high.min(cap) }
    }
}

/// A guess.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Estimate {
    /// [`ESTIMATE_SCHEMA`].
    pub schema: &'static str,
    /// What computed.
    pub engine: String,
    /// Seconds the probe took.
    pub probe_seconds: f64,
    /// Training, warm-up and validation included.
    pub train: TimeRange,
    /// Steps within the cap on time, where that ends training.
    pub steps_in_cap: Option<TimeRange>,
    /// Scoring checkpoint and artifact, test-time training included.
    pub score: TimeRange,
    /// Both.
    pub total: TimeRange,
    /// Whether whole steps and windows were timed; otherwise parts of them.
    pub is_whole: bool,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Seconds of a token of a window.
    score: f64,
    /// Seconds of a step of the recipe.
    step: f64,
    is_whole: bool,
}

/// Times a little work of the recipe and says what all of it would take. `val_tokens` are those of the split.
///
/// # Errors
///
/// If the engine refuses the model, or Ctrl-C was pressed.
pub fn estimate(
    manifest: &Manifest,
    engine: &dyn Engine,
    val_tokens: u64,
    interrupt: &Interrupt,
) -> Result<Estimate, TrainError> {
    let started = Instant::now();
    let pace = probe(manifest, engine, interrupt)?;
    Ok(from_pace(manifest, engine.label(), val_tokens, pace, started.elapsed().as_secs_f64()))
}

fn from_pace(manifest: &Manifest, engine: String, val_tokens: u64, pace: Pace, probe_seconds: f64) -> Estimate {
    let Pace { score, step, is_whole } = pace;
    let schedule = &manifest.schedule;
    let around = |seconds: f64| TimeRange::around(seconds, is_whole);
    let steps = schedule.iterations as f64;
    let cap = Schedule::new(schedule, &manifest.optimizer.muon).cap_ms().map(|cap| cap / 1000.0);
    let by_steps = around(steps * step);
    // The step that reaches the cap is taken to its end.
    let in_time = cap.map_or(by_steps, |cap| by_steps.at_most(cap + step));
    let steps_in_cap = cap.filter(|cap| by_steps.high > *cap).map(|cap| TimeRange {
        low: (cap / (step * around(1.0).high)).min(steps).floor(),
        high: (cap / (step * around(1.0).low)).min(steps).floor(),
    });
    let taken = steps_in_cap.map_or(steps, |taken| (taken.low + taken.high) / 2.0);
    let validations = 1.0 + if schedule.val_loss_every > 0 { taken / schedule.val_loss_every as f64 } else { 0.0 };
    let beside = schedule.warmup_steps as f64 * step + validations.floor() * val_tokens as f64 * score;
    let train = in_time.plus(around(beside));
    let tokens = |plan: &WindowPlan| plan.windows() as f64 * plan.seq_len() as f64;
    let learning = learning_chunks(manifest, val_tokens).map_or(0.0, |chunks| {
        let epochs = manifest.eval.ttt.as_ref().map_or(0, |ttt| ttt.epochs) as f64;
        tokens(chunks.plan()) + epochs * TRAINING_FACTOR * chunks.plan().predictions() as f64
    });
    let still = 2.0 * scored_plans(manifest, val_tokens).iter().map(tokens).sum::<f64>();
    let scored = around((still + learning) * score);
    Estimate {
        schema: ESTIMATE_SCHEMA,
        engine,
        probe_seconds,
        train,
        steps_in_cap,
        score: scored,
        total: train.plus(scored),
        is_whole,
    }
}

/// Nothing is lost by stopping here.
fn check(interrupt: &Interrupt) -> Result<(), TrainError> {
    interrupt.check().map_err(|_| TrainError::Interrupted { steps: 0, state: None })
}

fn probe(manifest: &Manifest, engine: &dyn Engine, interrupt: &Interrupt) -> Result<Pace, TrainError> {
    let started = Instant::now();
    let model = &manifest.model;
    let weights = model::init(model, manifest.schedule.seed);
    let mut random = RandomStream::new(manifest.schedule.seed, "estimate");
    let mut tokens = |count: usize| -> Vec<u16> {
        (0..count).map(|_| random.below(model.vocab_size as u64).min(u64::from(u16::MAX)) as u16).collect()
    };

    let scorer = engine.scorer(model, &weights)?;
    let whole_window = usize::try_from(manifest.eval.seq_len).unwrap_or(usize::MAX).max(1);
    let time = |window_tokens: usize, windows: usize, tokens: &[u16]| -> Result<f64, TrainError> {
        check(interrupt)?;
        let window = Window { tokens: &tokens[..=window_tokens], first_scored: 0 };
        let windows: Vec<Window<'_>> = (0..windows).map(|_| window).collect();
        let started = Instant::now();
        scorer.nll(&windows)?;
        Ok(started.elapsed().as_secs_f64() / (windows.len() * window_tokens) as f64)
    };
    let first = FIRST_TOKENS.min(whole_window);
    let sample = tokens(whole_window + 1);
    // The first call also fetches memory; the second is timed.
    time(first, 1, &sample)?;
    let mut score = time(first, 1, &sample)?;
    let room = HALF.as_secs_f64() * 0.8 / score.max(1e-9);
    let window_tokens = (room as usize).clamp(first, whole_window);
    let at_once = usize::try_from(manifest.eval.batch_windows).unwrap_or(usize::MAX).max(1);
    let windows = (room as usize / window_tokens).clamp(1, at_once);
    if (window_tokens, windows) != (first, 1) && started.elapsed() < HALF {
        score = time(window_tokens, windows, &sample)?;
    }

    let step_tokens = usize::try_from(manifest.schedule.train_batch_tokens).unwrap_or(usize::MAX);
    let pieces = MICRO_BATCHES_PER_STEP as usize;
    let whole_row = usize::try_from(manifest.schedule.train_seq_len).unwrap_or(usize::MAX).max(1);
    let whole_rows = (step_tokens / pieces / whole_row).max(1);
    let plan =
        StepPlan { lr_multiplier: 1.0, muon_momentum: 0.9, fake_quant: FakeQuant::Off, swa_pick: false, phase: 0 };
    let mut trainer = Trainer::new(engine, manifest, weights);
    let mut step = |row: usize, rows: usize| -> Result<f64, TrainError> {
        check(interrupt)?;
        let batch = TokenBatch { inputs: tokens(row * rows), targets: tokens(row * rows), seq_len: row };
        let batches: Vec<TokenBatch> = (0..pieces).map(|_| batch.clone()).collect();
        let started = Instant::now();
        trainer.step_on(&plan, &batches)?;
        Ok(started.elapsed().as_secs_f64())
    };
    // As many tokens a piece as two steps may have, by the pace of scoring.
    let piece = HALF.as_secs_f64() / 2.0 / (TRAINING_FACTOR * score * pieces as f64).max(1e-12);
    let row = (piece as usize).clamp(16.min(whole_row), whole_row);
    let rows = (piece as usize / row).clamp(1, whole_rows);
    let cold = step(row, rows)?;
    let is_whole_step = (row, rows) == (whole_row, whole_rows);
    let has_time = started.elapsed() < 2 * HALF;
    let step_seconds = if is_whole_step {
        let (begun, mut taken, mut warm) = (Instant::now(), 0u32, 0.0);
        while has_time && (taken == 0 || (begun.elapsed() < HALF / 2 && taken < 64)) {
            warm += step(row, rows)?;
            taken += 1;
        }
        if taken > 0 { warm / f64::from(taken) } else { cold }
    } else if !has_time {
        // One step was long already. What its tokens do not explain, by the pace of scoring, is the update.
        let slope = TRAINING_FACTOR * score;
        (cold - slope * (row * rows * pieces) as f64).max(0.0) + slope * step_tokens as f64
    } else {
        // A part of a step: what does not grow with its tokens is the update, told apart by a step of half as many.
        let large = step(row, rows)?;
        let half = (row / 2).max(1);
        let small = step(half, rows)?;
        let (large_tokens, small_tokens) = ((row * rows * pieces) as f64, (half * rows * pieces) as f64);
        let slope = (large - small) / (large_tokens - small_tokens).max(1.0);
        let by_tokens = large / large_tokens;
        let slope = if slope > 0.2 * by_tokens { slope.min(by_tokens) } else { by_tokens };
        (large - slope * large_tokens).max(0.0) + slope * step_tokens as f64
    };
    Ok(Pace { score, step: step_seconds, is_whole: is_whole_step && window_tokens == whole_window })
}

impl Estimate {
    /// The guess for people; `seeds` are trained one after the other.
    pub fn text(&self, seeds: usize) -> String {
        let range = |range: TimeRange| format!("{} to {}", time_in_words(range.low), time_in_words(range.high));
        let cap = self.steps_in_cap.map_or_else(String::new, |steps| {
            format!("; the cap on time ends it after {:.0} to {:.0} steps", steps.low, steps.high)
        });
        let basis = if self.is_whole { "whole steps and windows" } else { "parts of steps and windows, extrapolated" };
        let mut text = format!(
            "training  {}{cap}\nscoring   {}\ntogether  {}\n",
            range(self.train),
            if self.score.high > 0.0 { range(self.score) } else { "not known: no validation data here".to_string() },
            range(self.total)
        );
        if seeds > 1 {
            let all = TimeRange { low: self.total.low * seeds as f64, high: self.total.high * seeds as f64 };
            text += &format!("{seeds} seeds   {}\n", range(all));
        }
        text + &format!(
            "\nA guess, from {:.1} s of this recipe's work on {}: {basis}. Other work on the machine, heat and the time \
             to read data are not in it, nor are packing and checking.\n",
            self.probe_seconds, self.engine
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::KernelsEngine;

    fn manifest(text: &str) -> Manifest {
        crate::manifest::parse(&format!("schema: golf-harness/manifest/v1\nname: x\n{text}"), Path::new("x.yaml"))
            .unwrap()
    }

    #[test]
    fn a_guess_is_the_recipes_arithmetic() {
        let manifest = manifest(
            "schedule: { iterations: 100, warmup_steps: 0, val_loss_every: 0, max_wallclock_seconds: 0 }\n\
             eval: { seq_len: 10, stride: 5 }\n",
        );
        let pace = Pace { score: 0.01, step: 2.0, is_whole: true };
        // 101 tokens: 10 windows of 10 side by side, and 1 + 90 / 5 = 19 sliding ones; twice. One validation.
        let found = from_pace(&manifest, "x".into(), 101, pace, 2.0);
        let middle = |range: TimeRange, of: f64| {
            assert!(
                (range.low - of * NEAR.0).abs() < 1e-9 && (range.high - of * NEAR.1).abs() < 1e-9,
                "{range:?} {of}"
            );
        };
        middle(found.train, 200.0 + 1.01);
        middle(found.score, 2.0 * (100.0 + 190.0) * 0.01);
        assert_eq!(found.steps_in_cap, None);
    }

    #[test]
    fn a_cap_ends_training_and_the_steps_until_then_are_said() {
        let manifest =
            manifest("schedule: { iterations: 1000, warmup_steps: 0, val_loss_every: 0, max_wallclock_seconds: 60 }\n");
        let found = from_pace(&manifest, "x".into(), 2, Pace { score: 0.0, step: 1.0, is_whole: true }, 2.0);
        assert_eq!((found.train.low, found.train.high), (61.0, 61.0));
        assert_eq!(found.steps_in_cap, Some(TimeRange { low: 40.0, high: 80.0 }));
    }

    #[test]
    fn a_probe_times_a_model_of_any_size() {
        let small = "model: { num_layers: 1, model_dim: 16, num_heads: 2, num_kv_heads: 1, mlp_mult: 2, bigram_vocab_size: 64, bigram_dim: 8 }\n\
             schedule: { train_batch_tokens: 256, train_seq_len: 16 }\neval: { seq_len: 16, stride: 8 }\n";
        let found = estimate(&manifest(small), &KernelsEngine::default(), 100, &Interrupt::none()).unwrap();
        assert!(found.train.low > 0.0 && found.train.low < found.train.high && found.score.low > 0.0, "{found:?}");
        let interrupt = Interrupt::none();
        interrupt.raise();
        assert!(estimate(&manifest(small), &KernelsEngine::default(), 100, &interrupt).is_err());
    }
}
