//! What changes from step to step: learning-rate multiplier, momentum, late QAT, SWA picks.
//!
//! Model specification of PR #286, section 5. Everything here is a function of the step number and the
//! elapsed time, so a recorded time gives the same decisions again.

use crate::manifest::{MuonConfig, ScheduleConfig};
use crate::optim::{FakeQuant, StepPlan};

/// The schedule of a recipe.
#[derive(Clone, Debug)]
pub struct Schedule {
    schedule: ScheduleConfig,
    muon: MuonConfig,
}

impl Schedule {
    /// The schedule of these two sections of a manifest.
    pub fn new(schedule: &ScheduleConfig, muon: &MuonConfig) -> Self {
        Schedule { schedule: schedule.clone(), muon: muon.clone() }
    }

    /// The wall-clock cap in milliseconds; `None` when training is limited by steps alone.
    pub fn cap_ms(&self) -> Option<f64> {
        (self.schedule.max_wallclock_seconds > 0.0).then_some(1000.0 * self.schedule.max_wallclock_seconds)
    }

    /// All decisions of `step` (from 0), which starts after `elapsed_ms` of training.
    pub fn plan(&self, step: u64, elapsed_ms: f64) -> StepPlan {
        let lr_multiplier = self.lr_multiplier(step, elapsed_ms);
        StepPlan {
            lr_multiplier,
            muon_momentum: self.muon_momentum(step),
            fake_quant: self.fake_quant(step, elapsed_ms),
            swa_pick: self.swa_pick(step, lr_multiplier),
        }
    }

    /// Multiplier on every learning rate: 1, then a linear ramp to 0 over the last `warmdown_iters` steps.
    ///
    /// Under a cap the ramp begins when the time left is what `warmdown_iters` steps take at the average
    /// pace so far. Without one it begins `warmdown_iters` before `iterations`; at and beyond
    /// `iterations` the script's formula is 1 again, and where the ramp is longer than the run it starts below 1.
    pub fn lr_multiplier(&self, step: u64, elapsed_ms: f64) -> f64 {
        let warmdown = self.schedule.warmdown_iters;
        if warmdown == 0 {
            return 1.0;
        }
        let Some(cap_ms) = self.cap_ms() else {
            let iterations = self.schedule.iterations;
            let start = iterations.saturating_sub(warmdown);
            return if (start..iterations).contains(&step) {
                (iterations - step) as f64 / warmdown as f64
            } else {
                1.0
            };
        };
        let step_ms = elapsed_ms / step.max(1) as f64;
        let warmdown_ms = warmdown as f64 * step_ms;
        let left_ms = (cap_ms - elapsed_ms).max(0.0);
        if left_ms <= warmdown_ms { left_ms / warmdown_ms.max(SHORTEST_WARMDOWN_MS) } else { 1.0 }
    }

    /// Momentum of Muon: a linear ramp over `momentum_warmup_steps`, then the final value.
    pub fn muon_momentum(&self, step: u64) -> f64 {
        let steps = self.muon.momentum_warmup_steps;
        let fraction = if steps == 0 { 1.0 } else { (step as f64 / steps as f64).min(1.0) };
        (1.0 - fraction) * self.muon.momentum_warmup_start + fraction * self.muon.momentum
    }

    /// Late QAT: on from `qat.start_frac` of the cap, or of `iterations` without one.
    pub fn fake_quant(&self, step: u64, elapsed_ms: f64) -> FakeQuant {
        let done = match self.cap_ms() {
            Some(cap_ms) => elapsed_ms / cap_ms,
            None => step as f64 / self.schedule.iterations.max(1) as f64,
        };
        if self.schedule.qat.enabled && done >= self.schedule.qat.start_frac { FakeQuant::On } else { FakeQuant::Off }
    }

    /// SWA: a snapshot after every `every`-th step whose multiplier is below `start_frac`.
    pub fn swa_pick(&self, step: u64, lr_multiplier: f64) -> bool {
        let swa = &self.schedule.swa;
        swa.enabled && swa.every > 0 && lr_multiplier < swa.start_frac && (step + 1).is_multiple_of(swa.every)
    }

    /// Whether training ends after a step that finished at `elapsed_ms`.
    pub fn reaches_cap(&self, elapsed_ms: f64) -> bool {
        self.cap_ms().is_some_and(|cap_ms| elapsed_ms >= cap_ms)
    }

    /// Whether the model is validated before step `step` (from 0), besides the validation at the end.
    pub fn validates_at(&self, step: u64) -> bool {
        self.schedule.val_loss_every > 0 && step.is_multiple_of(self.schedule.val_loss_every)
    }

    /// Whether the step that makes the count `steps_done` is logged, besides the last one under a cap.
    pub fn logs_at(&self, steps_done: u64) -> bool {
        self.schedule.train_log_every > 0
            && (steps_done <= FIRST_STEPS_LOGGED || steps_done.is_multiple_of(self.schedule.train_log_every))
    }
}

/// Below this a ramp has no length and the division would lose meaning (the script's guard).
const SHORTEST_WARMDOWN_MS: f64 = 1e-9;
/// The first steps show whether a run is healthy; the script logs ten.
const FIRST_STEPS_LOGGED: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(change: impl FnOnce(&mut ScheduleConfig)) -> Schedule {
        let mut config = ScheduleConfig::default();
        change(&mut config);
        Schedule::new(&config, &MuonConfig::default())
    }

    #[test]
    fn edges_of_the_wall_clock_ramp() {
        let capped = schedule(|_| {});
        assert_eq!(capped.lr_multiplier(0, 0.0), 1.0);
        // Step 0 with time already spent counts that time as one step's.
        assert_eq!(capped.lr_multiplier(0, 1000.0), 599_000.0 / 3_000_000.0);
        assert_eq!(capped.lr_multiplier(10, 700_000.0), 0.0);
        assert!(capped.reaches_cap(600_000.0) && !capped.reaches_cap(599_999.9));
        assert_eq!(schedule(|s| s.warmdown_iters = 0).lr_multiplier(9, 599_999.0), 1.0);
    }

    #[test]
    fn without_a_cap_nothing_depends_on_time() {
        let stepped = schedule(|s| {
            s.max_wallclock_seconds = 0.0;
            (s.iterations, s.warmdown_iters) = (30, 12);
        });
        for step in 0..31 {
            assert_eq!(stepped.plan(step, 0.0), stepped.plan(step, 1e9));
        }
        assert!(!stepped.reaches_cap(1e12));
    }

    #[test]
    fn switches_can_be_off() {
        let off = schedule(|s| {
            (s.swa.enabled, s.qat.enabled) = (false, false);
            (s.val_loss_every, s.train_log_every) = (0, 0);
        });
        let plan = off.plan(49, 599_999.0);
        assert_eq!((plan.swa_pick, plan.fake_quant), (false, FakeQuant::Off));
        assert!(!off.validates_at(0) && !off.logs_at(1));
        let never = schedule(|s| s.swa.every = 0);
        assert!(!never.swa_pick(49, 0.1));
    }

    #[test]
    fn the_log_of_pr_286_shows_steps_1_to_10_and_every_200th() {
        let default = schedule(|_| {});
        let logged: Vec<u64> = (1..=400).filter(|&step| default.logs_at(step)).collect();
        assert_eq!(logged, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 200, 400]);
    }
}
