//! What the networks of the leaderboard have that PR #286's has not, or the other way round.
//!
//! Each is a field of [`ModelConfig`](super::ModelConfig) whose default is PR #286; numbers in parentheses are pull requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::is_default::{is_default, is_one};

/// What a decoder block adds to its input from an encoder block's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Skips {
    /// Nothing: there are no skip weights.
    None,
    /// `x + w * skip` by channel.
    #[default]
    Plain,
    /// `g x + (1 - g) (w * skip)` by channel, `g = sigmoid(gate)` (1218).
    Gated,
}

/// A second embedding of each token that is added to the values of some blocks (414).
///
/// Block i of `blocks`, the j-th listed: `v = c_v(x) + ve_layer_scales[j] * ve_shared.scale * proj(embed[id])`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueEmbedding {
    /// Width of the table; equal to the width of keys and values leaves the projection out.
    pub dim: usize,
    /// Blocks that add it, each at most once.
    pub blocks: Vec<usize>,
}

/// Heads of attention weighed by a gate: the output of head h, after XSA, is multiplied by
/// `factor * sigmoid(slope * w_h . x[..width])`, x being what queries, keys and values are made of; `w` is
/// `attn.attn_gate_w` of `[heads, width]`.
///
/// The README of PR 1693 has it with a width of 12 and a factor of 2, which begins as no gate at all; that the gate comes
/// after XSA, it does not say. Of other gates there is only prose: small initial weights and the whole width in PR 1736.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttentionGate {
    /// Channels that the gate reads, from the first on.
    pub width: usize,
    /// What the sigmoid is multiplied by.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub factor: f64,
    /// What its argument is multiplied by.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub slope: f64,
    /// Standard deviation of the initial weights; 0.005 in PR 1736.
    #[serde(default, skip_serializing_if = "is_default")]
    pub init_std: f64,
}

fn one() -> f64 {
    1.0
}

/// Blocks that are run more than once in a forward pass, from some moment of training on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "form", rename_all = "snake_case", deny_unknown_fields)]
pub enum Recurrence {
    /// Blocks `first` to `last` are run, in order, `repeats` more times (1394, 1412, 1493). Encoder and decoder are the
    /// halves of the longer order, and skip weights have as many rows as its end needs.
    Loop {
        /// First block of the loop.
        first: usize,
        /// Last block of the loop.
        last: usize,
        /// Times the loop is run again.
        repeats: usize,
        /// Fractions of training at which repetitions begin: one for all at once, or one for each.
        from_fraction: Vec<f64>,
    },
    /// After the last of `blocks`, the list is run once more (1334). Skip weights keep the rows of the plain order; decoder
    /// positions beyond them get no skip.
    Insert {
        /// Blocks run again, in this order.
        blocks: Vec<usize>,
        /// Optimizer step from which they are.
        from_step: u64,
    },
}

impl Recurrence {
    /// How many switches there are: phases 1 to this many have ever more repetitions, phase 0 has none.
    pub fn phases(&self) -> usize {
        match self {
            Recurrence::Loop { from_fraction, .. } => from_fraction.len(),
            Recurrence::Insert { .. } => 1,
        }
    }
}

/// Attention and MLP side by side instead of one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParallelResidual {
    /// First block that is parallel.
    pub start: usize,
    /// What attention and MLP read and write.
    pub lanes: Lanes,
}

/// What attention and MLP of a parallel block read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lanes {
    /// Both read the block's mixed input and add to the one residual stream (1412, 1493).
    One,
    /// From the first decoder block at or after `start` attention has a stream of its own and the MLP another; at the end
    /// `x = m lane0 + (1 - m) lane1` with the scalar `lane_merge`. Later skips go to attention's (1477).
    Two,
    /// As `two`, but skips after the split are added to a stream that nobody reads (1334).
    TwoSkipsLost,
}

/// How parameters start; all but matrices and the table are the same in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InitRule {
    /// Matrices with both sides of at least 64 orthogonal; the bigram's and the value embedding's projection divided by
    /// `sqrt(2 L)` (286, 287, 315, 414).
    #[default]
    Orthogonal,
    /// The same without the division (1218 and later).
    OrthogonalUnscaled,
    /// Matrices of any size orthogonal, projections undivided (549, 1019).
    OrthogonalAnySize,
    /// PyTorch's default: uniform within `1 / sqrt(inputs)` (2).
    Torch,
    /// PyTorch's default; the table's singular values become `S_1 / sqrt(k)`, and early blocks begin by reading the
    /// embedding, late ones the stream (60).
    Overtone,
}

/// How the network is run, which no manifest states: training and scoring set it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunAs {
    /// Phase of the recurrence; none for the last.
    pub phase: Option<usize>,
    /// Length of the rows that a batch is padded to, tokens: where longer than the length trained at, the rotary base
    /// follows it. None for a row's own length.
    pub row_length: Option<usize>,
}
