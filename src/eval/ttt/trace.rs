//! The trace of test-time training: what was scored and what was learned, in the order it happened.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TokenRange;
use crate::eval::{ExactSum, Score, ScoreSettings, Weights};

/// First field of every line.
pub const TRACE_SCHEMA: &str = "golf-harness/ttt-trace/v1";

/// One line of a trace: one JSON object with one thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceDocument {
    /// Always `golf-harness/ttt-trace/v1`.
    #[schemars(extend("const" = TRACE_SCHEMA))]
    pub schema: String,
    /// A pass begins, with the weights of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<TraceStart>,
    /// A chunk was scored by the weights as they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scored: Option<TracedScore>,
    /// The weights learned from a chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<TracedLearning>,
    /// A pass is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<TracedTotal>,
}

/// What a line of a trace tells of. A pass begins with `Start` and ends with `Total`; between them each chunk that has
/// windows has a line `Scored`, and one `Learned` after it where the weights learned from it.
#[derive(Clone, Debug, PartialEq)]
pub enum TraceLine {
    /// A pass begins, with the weights of the file.
    Start(Box<TraceStart>),
    /// A chunk was scored by the weights as they were.
    Scored(TracedScore),
    /// The weights learned from a chunk.
    Learned(TracedLearning),
    /// A pass is over.
    Total(TracedTotal),
}

/// What a pass depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceStart {
    /// Which form of the weights it starts from.
    pub weights: Weights,
    /// Everything else.
    pub basis: ScoreSettings,
}

/// A chunk as it was scored.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TracedScore {
    /// Which chunk, from 0.
    pub chunk: u64,
    /// The targets scored.
    pub targets: TokenRange,
    /// Windows run.
    pub windows: u64,
    /// Tokens scored, those scored again counted again.
    pub tokens: u64,
    /// Bytes of text they stand for.
    pub bytes: u64,
    /// Sum of negative log-likelihoods, nats.
    pub total_nats: f64,
    /// The same without rounding.
    pub total_nats_exact: ExactSum,
}

/// A chunk as it was learned from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TracedLearning {
    /// Which chunk, from 0.
    pub chunk: u64,
    /// The targets learned from.
    pub targets: TokenRange,
    /// Learning rate.
    pub learning_rate: f64,
    /// Times the targets were gone through.
    pub epochs: u64,
    /// Steps taken.
    pub steps: u64,
    /// Mean of the steps' losses, nats per token; null where none was taken.
    pub loss: Option<f64>,
}

/// What a pass came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TracedTotal {
    /// Windows run.
    pub windows: u64,
    /// Tokens scored.
    pub tokens: u64,
    /// Bytes of text they stand for.
    pub bytes: u64,
    /// Exact sum of negative log-likelihoods.
    pub total_nats_exact: ExactSum,
}

impl TracedScore {
    /// A chunk's line.
    pub fn new(chunk: u64, targets: TokenRange, score: &Score) -> Self {
        let Score { total, tokens, bytes, windows } = *score;
        TracedScore { chunk, targets, windows, tokens, bytes, total_nats: total.to_f64(), total_nats_exact: total }
    }

    /// The score it tells of.
    pub fn score(&self) -> Score {
        Score { total: self.total_nats_exact, tokens: self.tokens, bytes: self.bytes, windows: self.windows }
    }
}

impl From<&Score> for TracedTotal {
    fn from(&Score { total, tokens, bytes, windows }: &Score) -> Self {
        TracedTotal { windows, tokens, bytes, total_nats_exact: total }
    }
}

impl TraceLine {
    /// The line as it is written.
    pub fn to_json_line(&self) -> Vec<u8> {
        let schema = TRACE_SCHEMA.to_string();
        let mut document = TraceDocument { schema, start: None, scored: None, learned: None, total: None };
        match self {
            TraceLine::Start(start) => document.start = Some((**start).clone()),
            TraceLine::Scored(scored) => document.scored = Some(*scored),
            TraceLine::Learned(learned) => document.learned = Some(*learned),
            TraceLine::Total(total) => document.total = Some(*total),
        }
        // Plain structs with string keys always have a JSON form.
        let mut line = serde_json::to_vec(&document).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

impl TraceDocument {
    /// What it tells of; `None` unless that is one thing.
    pub fn line(self) -> Option<TraceLine> {
        match (self.start, self.scored, self.learned, self.total) {
            (Some(start), None, None, None) => Some(TraceLine::Start(Box::new(start))),
            (None, Some(scored), None, None) => Some(TraceLine::Scored(scored)),
            (None, None, Some(learned), None) => Some(TraceLine::Learned(learned)),
            (None, None, None, Some(total)) => Some(TraceLine::Total(total)),
            _ => None,
        }
    }
}
