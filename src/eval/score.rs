//! What windows add up to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ExactSum;
use crate::units::{BitsPerByte, Nats};

/// What a set of windows adds up to. Scores of disjoint sets merge into the score of all, bit for bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Score {
    /// Sum of negative log-likelihoods, nats.
    pub total: ExactSum,
    /// Tokens scored.
    pub tokens: u64,
    /// Bytes of text they stand for.
    pub bytes: u64,
    /// Windows run.
    pub windows: u64,
}

impl Score {
    /// Mean over tokens; `None` when none was scored.
    pub fn val_loss(&self) -> Option<Nats> {
        (self.tokens > 0).then(|| Nats(self.total.to_f64() / self.tokens as f64))
    }

    /// Bits per byte of text; `None` when there is no text.
    pub fn val_bpb(&self) -> Option<BitsPerByte> {
        BitsPerByte::from_loss(self.val_loss()?, self.tokens, self.bytes)
    }

    /// Adds the score of other windows of the same evaluation.
    pub fn merge(&mut self, other: &Score) {
        self.total.merge(&other.total);
        self.tokens += other.tokens;
        self.bytes += other.bytes;
        self.windows += other.windows;
    }
}
