//! Where training time comes from: a clock, or the record of an earlier run.

use std::path::{Path, PathBuf};

use super::{Stopwatch, Trace, TraceStep, TrainError};
use crate::optim::StepPlan;

/// Lines of a trace before its first step.
const HEADER_LINES: usize = 1;

/// Training time as the loop asks for it.
pub(super) enum Pace<'c> {
    /// A running clock.
    Clock(Stopwatch<'c>),
    /// A recorded run, followed step by step.
    Replay(Replay),
    /// What rank 0 says; nothing is known here.
    Told,
}

/// A recorded run being followed.
pub(super) struct Replay {
    steps: Vec<TraceStep>,
    path: PathBuf,
}

impl Replay {
    /// Follows the steps of `trace`, which was read from `path`.
    pub(super) fn new(trace: Trace, path: &Path) -> Self {
        Replay { steps: trace.steps, path: path.to_path_buf() }
    }

    fn step(&self, step: u64) -> Option<&TraceStep> {
        usize::try_from(step).ok().and_then(|index| self.steps.get(index))
    }

    /// Training time after `steps` steps.
    fn time_after(&self, steps: u64) -> f64 {
        steps.checked_sub(1).and_then(|last| self.step(last)).map_or(0.0, |step| step.end_ms)
    }

    /// Checks that the decisions made again are the recorded ones, in every bit.
    fn check(&self, step: u64, plan: &StepPlan, batch_position: u64) -> Result<(), TrainError> {
        let Some(recorded) = self.step(step) else { return Ok(()) };
        let then = recorded.plan();
        let pairs = [
            ("lr_multiplier", then.lr_multiplier.to_string(), plan.lr_multiplier.to_string()),
            ("muon_momentum", then.muon_momentum.to_string(), plan.muon_momentum.to_string()),
            ("qat", format!("{:?}", then.fake_quant), format!("{:?}", plan.fake_quant)),
            ("swa", then.swa_pick.to_string(), plan.swa_pick.to_string()),
            ("phase", then.phase.to_string(), plan.phase.to_string()),
            ("batch_position", recorded.batch_position.to_string(), batch_position.to_string()),
        ];
        match pairs.into_iter().find(|(_, recorded, ours)| recorded != ours) {
            None => Ok(()),
            Some((field, recorded, ours)) => {
                let line = step as usize + HEADER_LINES + 1;
                Err(TrainError::ReplayMismatch { path: self.path.clone(), line, field, recorded, ours })
            }
        }
    }
}

impl Pace<'_> {
    /// Lets time run from here on.
    pub(super) fn resume(&mut self) {
        if let Pace::Clock(watch) = self {
            watch.resume();
        }
    }

    /// Stops time; training time after `steps` steps, milliseconds.
    pub(super) fn pause(&mut self, steps: u64) -> f64 {
        match self {
            Pace::Clock(watch) => watch.pause(),
            Pace::Told => 0.0,
            Pace::Replay(replay) => replay.time_after(steps),
        }
    }

    /// Training time at the start of `step` (from 0).
    pub(super) fn at_start_of(&mut self, step: u64) -> f64 {
        match self {
            Pace::Clock(watch) => watch.elapsed_ms(),
            Pace::Told => 0.0,
            Pace::Replay(replay) => replay.step(step).map_or(0.0, |step| step.elapsed_ms),
        }
    }

    /// Training time at the end of `step` (from 0).
    pub(super) fn at_end_of(&mut self, step: u64) -> f64 {
        match self {
            Pace::Clock(watch) => watch.elapsed_ms(),
            Pace::Told => 0.0,
            Pace::Replay(replay) => replay.time_after(step + 1),
        }
    }

    /// Whether the record ends after `steps` steps.
    pub(super) fn is_over(&self, steps: u64) -> bool {
        matches!(self, Pace::Replay(replay) if replay.step(steps).is_none())
    }

    /// Under a replay, checks that the decisions made again are the recorded ones.
    pub(super) fn check(&self, step: u64, plan: &StepPlan, batch_position: u64) -> Result<(), TrainError> {
        match self {
            Pace::Clock(_) | Pace::Told => Ok(()),
            Pace::Replay(replay) => replay.check(step, plan, batch_position),
        }
    }

    /// Under a replay, the steps being followed.
    pub(super) fn recorded(&self) -> Option<&[TraceStep]> {
        match self {
            Pace::Clock(_) | Pace::Told => None,
            Pace::Replay(replay) => Some(&replay.steps),
        }
    }
}
