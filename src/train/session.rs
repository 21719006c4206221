//! The training loop: validate, step, record, look at the clock, until steps or time are used up.

use std::time::{Duration, Instant};

use super::log::{self, RunLog};
use super::pace::Pace;
use super::state::{maker, write_state};
use super::{Counters, Schedule, Trace, TraceStep, TrainError, Trainer, agreement};
use crate::collective::Collective;
use crate::data::{Loader, LoaderPosition};
use crate::interrupt::Interrupt;
use crate::model::Params;
use crate::optim::{FakeQuant, StepPlan};
use crate::progress::Progress;
use crate::run_folder::RunFolder;
use crate::units::{BitsPerByte, Nats};

/// A model's score during training: non-overlapping windows, before quantization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validation {
    /// Mean loss, nats per token.
    pub loss: Nats,
    /// Bits per byte.
    pub bpb: BitsPerByte,
}

/// Scores weights in a phase of the network's recurrence; `Ok(None)` when interrupted.
pub(super) type Validator<'a> = dyn FnMut(&Params, usize, &Interrupt) -> Result<Option<Validation>, TrainError> + 'a;

/// How a loop ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ending {
    /// Training time, milliseconds.
    pub elapsed_ms: f64,
    /// Whether the wall-clock cap ended it before all iterations.
    pub stopped_early: bool,
    /// The last validation.
    pub validation: Validation,
}

/// Everything a loop works with.
pub(super) struct Session<'a> {
    pub trainer: Trainer<'a>,
    /// Rank 0 tells the time, decides and writes; the others follow.
    pub ranks: &'a dyn Collective,
    pub loader: Loader,
    pub schedule: Schedule,
    pub iterations: u64,
    pub pace: Pace<'a>,
    pub trace: Trace,
    pub log: RunLog<'a>,
    pub validator: &'a mut Validator<'a>,
    pub folder: RunFolder,
    /// Steps between checkpoints.
    pub checkpoint_every: Option<u64>,
    /// Longest time between checkpoints, by the machine's own clock.
    pub checkpoint_period: Option<Duration>,
    /// When the last one was written, or the loop began.
    pub saved_at: Instant,
    pub interrupt: Interrupt,
    pub progress: Progress,
}

impl Session<'_> {
    /// Takes `steps` steps and throws everything about them away: weights, moments, position, time.
    ///
    /// The challenge's scripts warm their compiled graphs this way before the clock starts.
    pub(super) fn warm_up(&mut self, mut trainer: Trainer<'_>, steps: u64) -> Result<(), TrainError> {
        let plan = StepPlan { swa_pick: false, fake_quant: FakeQuant::Off, ..self.schedule.plan(0, 0.0) };
        for step in 1..=steps {
            if self.is_interrupted()? {
                return Err(TrainError::Interrupted { steps: 0, state: None });
            }
            trainer.step(&plan, &mut self.loader)?;
            // As often as the script does.
            if steps <= 20 || step.is_multiple_of(10) || step == steps {
                self.log.line(&format!("warmup_step:{step}/{steps}"))?;
            }
            self.progress.note(format!("warm-up step {step}/{steps}"));
        }
        self.loader.seek(LoaderPosition::default());
        Ok(())
    }

    /// Trains to the end. `elapsed_ms` is the training time of the steps already taken.
    pub(super) fn run(&mut self, elapsed_ms: f64) -> Result<Ending, TrainError> {
        self.progress.note("");
        self.progress.set_len(self.iterations);
        self.progress.set_position(self.trainer.steps());
        self.tell_limit(elapsed_ms);
        let mut reached_cap = self.trainer.steps() > 0 && self.schedule.reaches_cap(elapsed_ms);
        self.saved_at = Instant::now();
        self.pace.resume();
        loop {
            let step = self.trainer.steps();
            let is_over = self.ask_rank_zero(|pace| f64::from(u8::from(pace.is_over(step))))? != 0.0;
            let is_last = step >= self.iterations || reached_cap || is_over;
            let mut validation = None;
            if is_last || self.schedule.validates_at(step) {
                validation = Some(self.validate()?);
            }
            if let (true, Some((validation, elapsed_ms))) = (is_last, validation) {
                let stopped_early = reached_cap && step < self.iterations;
                if stopped_early {
                    let position = format!("step:{step}/{}", self.iterations);
                    self.log.line(&format!("stopping_early: wallclock_cap train_time:{elapsed_ms:.0}ms {position}"))?;
                }
                self.progress.finish();
                return Ok(Ending { elapsed_ms, stopped_early, validation });
            }
            reached_cap = self.step()?;
            self.progress.set_position(step + 1);
            if self.is_interrupted()? {
                return Err(self.suspend()?);
            }
            let is_due = self.checkpoint_period.is_some_and(|period| self.saved_at.elapsed() >= period);
            if is_due || self.checkpoint_every.is_some_and(|every| (step + 1).is_multiple_of(every)) {
                self.checkpoint()?;
                self.saved_at = Instant::now();
                self.pace.resume();
            }
        }
    }

    /// Rank 0's answer, on every rank.
    fn ask_rank_zero(&mut self, ask: impl FnOnce(&mut Pace<'_>) -> f64) -> Result<f64, TrainError> {
        Ok(agreement::from_rank_zero(self.ranks, ask(&mut self.pace))?)
    }

    fn is_interrupted(&self) -> Result<bool, TrainError> {
        Ok(agreement::anywhere(self.ranks, self.interrupt.is_raised())?)
    }

    /// Scores the current weights while the clock stands still.
    fn validate(&mut self) -> Result<(Validation, f64), TrainError> {
        let steps = self.trainer.steps();
        let elapsed_ms = self.ask_rank_zero(|pace| pace.pause(steps))?;
        self.trainer.check_same_everywhere()?;
        let phase = self.schedule.phase(steps, elapsed_ms);
        let Some(found) = (self.validator)(self.trainer.weights()?, phase, &self.interrupt)? else {
            return Err(self.suspend()?);
        };
        self.log.line(&log::validation(steps, self.iterations, &found, elapsed_ms))?;
        self.pace.resume();
        Ok((found, elapsed_ms))
    }

    /// Takes one step; whether it reached the wall-clock cap.
    fn step(&mut self) -> Result<bool, TrainError> {
        let step = self.trainer.steps();
        let elapsed_ms = self.ask_rank_zero(|pace| pace.at_start_of(step))?;
        let plan = self.schedule.plan(step, elapsed_ms);
        let batch_position = self.loader.position().taken;
        self.pace.check(step, &plan, batch_position)?;

        let report = self.trainer.step(&plan, &mut self.loader)?;
        let end_ms = self.ask_rank_zero(|pace| pace.at_end_of(step))?;
        self.trace.steps.push(TraceStep {
            step,
            elapsed_ms,
            lr_multiplier: plan.lr_multiplier,
            muon_momentum: plan.muon_momentum,
            qat: plan.fake_quant != FakeQuant::Off,
            qat_all_int6: plan.fake_quant == FakeQuant::AllInt6,
            swa: plan.swa_pick,
            phase: plan.phase,
            batch_position,
            loss: report.loss,
            grad_norm: report.gradient_norm,
            end_ms,
        });
        let steps = step + 1;
        if plan.swa_pick && self.trainer.snapshots() == 1 {
            self.log.line(&format!("swa:start step:{steps}"))?;
        }
        if self.schedule.logs_at(steps) {
            self.log.line(&log::training(steps, self.iterations, report.loss, end_ms))?;
            if self.ranks.rank().world_size() > 1 {
                let line = log::of_ranks(steps, self.iterations, &report.micro_losses, self.ranks.rank());
                self.log.line(&line)?;
            }
        }
        self.progress.note(format!("loss {:.4}", report.loss));
        self.progress.value(f64::from(report.loss));
        self.tell_limit(end_ms);
        Ok(self.schedule.reaches_cap(end_ms))
    }

    /// When the cap on time will end training, where there is one.
    fn tell_limit(&self, elapsed_ms: f64) {
        if let Some(cap_ms) = self.schedule.cap_ms() {
            self.progress.limit_ms(cap_ms - elapsed_ms);
        }
    }

    /// Writes trace and state; time stands still until resumed. Only rank 0 does.
    fn checkpoint(&mut self) -> Result<(), TrainError> {
        if !self.ranks.rank().is_rank_zero() {
            return Ok(());
        }
        let steps = self.trainer.steps();
        let elapsed_ms = self.pace.pause(steps);
        self.log.sync()?;
        self.trace.write(&self.folder.trace())?;
        self.trainer.check_finite()?;
        let counters = Counters {
            steps,
            elapsed_ms,
            batch_position: self.loader.position().taken,
            log_bytes: self.log.bytes(),
            made_by: maker(),
        };
        let (path, recipe) = (self.folder.training_state(), self.trace.recipe.digest());
        let state = self.trainer.state()?;
        // The trace was written first: a state never knows more steps than its trace.
        write_state(&path, recipe, &counters, state)?;
        Ok(())
    }

    /// Saves everything and returns the error that says so.
    fn suspend(&mut self) -> Result<TrainError, TrainError> {
        self.progress.finish();
        self.checkpoint()?;
        // A launcher may end all processes when one has ended: none does before the state is written.
        self.ranks.barrier()?;
        let (steps, state) = (self.trainer.steps(), Some(self.folder.training_state()));
        Ok(TrainError::Interrupted { steps, state })
    }
}
