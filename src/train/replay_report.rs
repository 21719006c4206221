//! How a replayed run compares with the one that was recorded.

use schemars::JsonSchema;
use serde::Serialize;

use super::TraceStep;

/// Losses of a replayed run against the recorded ones.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ReplayReport {
    /// Steps followed.
    pub steps: u64,
    /// The first step whose loss has other bits.
    pub first_difference: Option<LossDifference>,
}

/// A loss that came out differently.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct LossDifference {
    /// Number of the step, from 1 as the log counts.
    pub step: u64,
    /// Loss in the trace.
    pub recorded: f32,
    /// Loss of the replay.
    pub replayed: f32,
}

impl ReplayReport {
    /// Compares step by step, up to the shorter of the two.
    pub(super) fn compare(recorded: &[TraceStep], replayed: &[TraceStep]) -> Self {
        let differs = |(a, b): &(&TraceStep, &TraceStep)| a.loss.to_bits() != b.loss.to_bits();
        let first_difference = recorded.iter().zip(replayed).find(differs).map(|(recorded, replayed)| LossDifference {
            step: recorded.step + 1,
            recorded: recorded.loss,
            replayed: replayed.loss,
        });
        ReplayReport { steps: replayed.len() as u64, first_difference }
    }

    /// Whether every loss has the recorded bits: the checkpoints are then the same bytes.
    pub fn is_identical(&self) -> bool {
        self.first_difference.is_none()
    }

    /// One line for the log.
    pub(super) fn log_line(&self) -> String {
        match self.first_difference {
            None => format!("replay:identical steps:{}", self.steps),
            Some(LossDifference { step, recorded, replayed }) => {
                format!("replay:differs step:{step} recorded:{recorded} replayed:{replayed}")
            }
        }
    }
}
