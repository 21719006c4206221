//! What changes from step to step: learning-rate multiplier, momentum, late QAT, SWA picks, phase of the recurrence.
//!
//! Model specification of PR #286, section 5, and the scripts of PRs 1218 to 1493. Everything here is a function of the
//! step number and the elapsed time, so a recorded time gives the same decisions again.

use crate::manifest::{MlpBits, MuonConfig, ScheduleConfig};
use crate::model::Recurrence;
use crate::optim::{FakeQuant, StepPlan};

/// The schedule of a recipe.
#[derive(Clone, Debug)]
pub struct Schedule {
    schedule: ScheduleConfig,
    muon: MuonConfig,
    recurrence: Option<Recurrence>,
}

impl Schedule {
    /// The schedule of these two sections of a manifest.
    pub fn new(schedule: &ScheduleConfig, muon: &MuonConfig) -> Self {
        Schedule { schedule: schedule.clone(), muon: muon.clone(), recurrence: None }
    }

    /// The schedule with the moments from which blocks of the network are repeated.
    pub fn repeating(mut self, recurrence: Option<&Recurrence>) -> Self {
        self.recurrence = recurrence.cloned();
        self
    }

    /// The time after which training ends, in milliseconds: the wall-clock cap less what is reserved for the time after
    /// training; `None` when training is limited by steps alone.
    pub fn cap_ms(&self) -> Option<f64> {
        let (cap, reserve) = (self.schedule.max_wallclock_seconds, self.schedule.reserve_seconds);
        (cap > 0.0).then_some(1000.0 * (cap - reserve))
    }

    /// How much of training is done before `step` (from 0): of its time, or of its steps without a cap.
    pub fn fraction(&self, step: u64, elapsed_ms: f64) -> f64 {
        match self.cap_ms() {
            Some(cap_ms) => elapsed_ms / cap_ms,
            None => step as f64 / self.schedule.iterations.max(1) as f64,
        }
    }

    /// Phase of the recurrence at `step`: how many of its switches are on.
    pub fn phase(&self, step: u64, elapsed_ms: f64) -> usize {
        match &self.recurrence {
            None => 0,
            Some(Recurrence::Insert { from_step, .. }) => usize::from(step >= *from_step),
            Some(Recurrence::Loop { from_fraction, .. }) => {
                let done = self.fraction(step, elapsed_ms);
                from_fraction.iter().filter(|&&from| done >= from).count()
            }
        }
    }

    /// All decisions of `step` (from 0), which starts after `elapsed_ms` of training.
    pub fn plan(&self, step: u64, elapsed_ms: f64) -> StepPlan {
        let lr_multiplier = self.lr_multiplier(step, elapsed_ms);
        StepPlan {
            lr_multiplier,
            muon_momentum: self.muon_momentum(step),
            fake_quant: self.fake_quant(step, elapsed_ms),
            swa_pick: self.swa_pick(step, lr_multiplier),
            phase: self.phase(step, elapsed_ms),
        }
    }

    /// Multiplier on every learning rate: 1, then a linear ramp to 0 over the last `warmdown_iters` steps.
    ///
    /// Under a cap the ramp begins when the time left is what `warmdown_iters` steps take at the average
    /// pace so far. Without one it begins `warmdown_iters` before `iterations`; at and beyond
    /// `iterations` the script's formula is 1 again, and where the ramp is longer than the run it starts below 1.
    ///
    /// With `warmdown_frac` it is instead a ramp over the last such fraction of the time, or of the steps, to `min_lr`.
    pub fn lr_multiplier(&self, step: u64, elapsed_ms: f64) -> f64 {
        if let Some(length) = self.schedule.warmdown_frac {
            let done = self.fraction(step, elapsed_ms);
            let is_full = length <= 0.0 || done < 1.0 - length;
            return if is_full { 1.0 } else { ((1.0 - done) / length).max(self.schedule.min_lr) };
        }
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

    /// Late QAT: on from `qat.start_frac` of the cap, or of `iterations` without one, or below a multiplier.
    pub fn fake_quant(&self, step: u64, elapsed_ms: f64) -> FakeQuant {
        let qat = &self.schedule.qat;
        let has_begun = match qat.below_multiplier {
            Some(below) => self.lr_multiplier(step, elapsed_ms) < below,
            None => self.fraction(step, elapsed_ms) >= qat.start_frac,
        };
        match qat.mlp_bits {
            _ if !(qat.enabled && has_begun) => FakeQuant::Off,
            MlpBits::Five => FakeQuant::On,
            MlpBits::Six => FakeQuant::AllInt6,
        }
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
    fn a_ramp_over_a_fraction_ends_with_the_reserve() {
        // Multipliers of PR 1218's script: 600 s less 12 s, warm-down 0.667.
        let fractional = schedule(|s| {
            (s.warmdown_frac, s.reserve_seconds) = (Some(0.667), 12.0);
        });
        for (elapsed_ms, expected) in [
            (0.0, 1.0),
            (195_804.0, 1.0),
            (196_000.0, 0.9995002498750625),
            (300_000.0, 0.7343267141939234),
            (587_000.0, 0.002549745535395487),
            (588_000.0, 0.0),
            (590_000.0, 0.0),
        ] {
            let found = fractional.lr_multiplier(7, elapsed_ms);
            assert!((found - expected).abs() < 1e-12, "{elapsed_ms}: {found}");
        }
        assert!(fractional.reaches_cap(588_000.0) && !fractional.reaches_cap(587_999.0));
        let floored = schedule(|s| (s.warmdown_frac, s.min_lr) = (Some(0.5), 0.1));
        assert_eq!(floored.lr_multiplier(0, 599_000.0), 0.1);
        let mut below = schedule(|s| {
            (s.warmdown_frac, s.qat.below_multiplier) = (Some(0.5), Some(0.15));
        });
        assert_eq!(below.fake_quant(0, 550_000.0), FakeQuant::Off);
        assert_eq!(below.fake_quant(0, 560_000.0), FakeQuant::On);
        below.schedule.qat.mlp_bits = MlpBits::Six;
        assert_eq!(below.fake_quant(0, 550_000.0), FakeQuant::Off);
        assert_eq!(below.fake_quant(0, 560_000.0), FakeQuant::AllInt6);
    }

    #[test]
    fn repetitions_begin_at_their_fraction_or_step() {
        let looped = Recurrence::Loop { first: 1, last: 2, repeats: 2, from_fraction: vec![0.5, 0.65] };
        let by_fraction = schedule(|_| {}).repeating(Some(&looped));
        let phases =
            [0.0, 299_999.0, 300_000.0, 389_999.0, 390_000.0].map(|elapsed_ms| by_fraction.phase(3, elapsed_ms));
        assert_eq!(phases, [0, 0, 1, 1, 2]);
        let inserted = Recurrence::Insert { blocks: vec![1], from_step: 3000 };
        let by_step = schedule(|_| {}).repeating(Some(&inserted));
        assert_eq!([2999, 3000, 3001].map(|step| by_step.phase(step, 0.0)), [0, 1, 1]);
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
