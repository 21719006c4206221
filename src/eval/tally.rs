//! What an evaluation adds up: likelihoods, tokens, bytes, windows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ExactSum;
use crate::units::{BitsPerByte, Nats};

/// Exact totals of some windows of an evaluation; parts merge to the whole bit for bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Sum of negative log-likelihoods.
    pub nll: ExactSum,
    /// Targets scored.
    pub tokens: u64,
    /// Bytes of text they stand for.
    pub bytes: u64,
    /// Windows run.
    pub windows: u64,
}

impl Tally {
    /// Adds the totals of other windows.
    pub fn merge(&mut self, other: &Tally) {
        self.nll.merge(&other.nll);
        self.tokens += other.tokens;
        self.bytes += other.bytes;
        self.windows += other.windows;
    }

    /// Mean loss, nats per token; `None` when nothing was scored.
    pub fn val_loss(&self) -> Option<Nats> {
        (self.tokens > 0).then(|| Nats(self.nll.to_f64() / self.tokens as f64))
    }

    /// Bits per byte; `None` when no text was scored.
    pub fn val_bpb(&self) -> Option<BitsPerByte> {
        BitsPerByte::from_loss(self.val_loss()?, self.tokens, self.bytes)
    }
}
