//! The network as a list of block visits: what an engine runs, one after another.
//!
//! Everything that a configuration can switch on or off in the blocks is decided here. The first half of the visits is
//! the encoder, whose outputs are kept; the rest is the decoder, which takes them back from the last to the first.

mod order;

use super::{Lanes, ModelConfig, Recurrence, Skips};

/// One run of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Visit {
    /// Index of the block, 0-based.
    pub block: usize,
    /// What its input takes from an earlier visit's output.
    pub skip: Option<SkipInput>,
    /// What the block does.
    pub recipe: BlockRecipe,
}

/// Where a skip comes from and which weights it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkipInput {
    /// Row of `skip_weights` and `skip_gates`.
    pub row: usize,
    /// Visit whose output is added.
    pub from: usize,
    /// Whether a gate weighs it against the stream.
    pub gated: bool,
}

/// What a block does with its input. By default, and in PR #286:
///
/// ```text
/// z = mix[0] x + mix[1] x0
/// x = z + attn_scale * proj(attention(rms_norm(z)))
/// x = x + mlp_scale * proj(relu(fc(rms_norm(x)))^2)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockRecipe {
    /// Whether the network's first activations are mixed in (`resid_mix`).
    pub mix: bool,
    /// Factor of what attention and MLP read, after the norm: `1 / sqrt(l + 1)` with LN scale, else 1.
    pub norm_scale: f32,
    /// Whether attention's output loses what points along the query's own value (XSA).
    pub excludes_own_value: bool,
    /// Row of `ve_layer_scales` with which the value embedding is added to the values.
    pub value_embedding: Option<usize>,
    /// Slope of the MLP's activation below zero.
    pub negative_slope: f32,
    /// What attention and MLP read and write.
    pub residual: Residual,
}

/// What a block's attention and MLP read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// The MLP reads the stream that attention has written to.
    Serial,
    /// Both read the mixed input; their outputs are added to it.
    OneLane,
    /// Attention reads the mixed first lane and writes to it; the MLP reads the second lane, unmixed, and writes to it.
    TwoLanes,
}

/// What an engine runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Blocks in the order they are run.
    pub visits: Vec<Visit>,
    /// How many visits are the encoder.
    pub encoder: usize,
}

impl Graph {
    /// The network of a configuration that has passed [`ModelConfig::check`], in the phase it is run in.
    pub fn new(config: &ModelConfig) -> Self {
        let last_phase = config.recurrence.as_ref().map_or(0, Recurrence::phases);
        let order = order::order(config, config.run.phase.unwrap_or(last_phase).min(last_phase));
        let encoder = order.len() / 2;
        let rows = skip_rows(config);
        let two_lanes = config.parallel_residual.filter(|parallel| parallel.lanes != Lanes::One);
        // One stream becomes two at a decoder position, whatever the encoder has run.
        let split = two_lanes.and_then(|parallel| (encoder..order.len()).find(|&at| order[at] >= parallel.start));
        let visit = |(at, &block): (usize, &usize)| {
            let lost = two_lanes.is_some_and(|parallel| parallel.lanes == Lanes::TwoSkipsLost);
            let row = at.checked_sub(encoder).filter(|&row| row < rows.min(encoder));
            // The skip of the split itself is added before there are two lanes.
            let row = row.filter(|_| !(lost && split.is_some_and(|split| at > split)));
            let gated = config.skips == Skips::Gated;
            let skip = row.map(|row| SkipInput { row, from: encoder - 1 - row, gated });
            let residual = match config.parallel_residual {
                Some(parallel) if parallel.lanes == Lanes::One && block >= parallel.start => Residual::OneLane,
                Some(_) if split.is_some_and(|split| at >= split) => Residual::TwoLanes,
                _ => Residual::Serial,
            };
            Visit { block, skip, recipe: BlockRecipe::new(config, block, residual) }
        };
        Graph { visits: order.iter().enumerate().map(visit).collect(), encoder }
    }

    /// The visit before which the stream becomes two lanes, its skip added.
    pub fn split(&self) -> Option<usize> {
        self.visits.iter().position(|visit| visit.recipe.residual == Residual::TwoLanes)
    }

    /// Whether a visit's output is kept for a skip.
    pub fn is_kept(&self, visit: usize) -> bool {
        self.visits.iter().any(|later| later.skip.is_some_and(|skip| skip.from == visit))
    }
}

impl BlockRecipe {
    fn new(config: &ModelConfig, block: usize, residual: Residual) -> Self {
        let listed = |at: &super::ValueEmbedding| at.blocks.iter().position(|&listed| listed == block);
        BlockRecipe {
            mix: config.resid_mix,
            norm_scale: if config.ln_scale { (1.0 / libm::sqrt(block as f64 + 1.0)) as f32 } else { 1.0 },
            excludes_own_value: block + config.xsa_last_n >= config.num_layers,
            value_embedding: config.value_embedding.as_ref().and_then(listed),
            negative_slope: config.mlp_negative_slope as f32,
            residual,
        }
    }
}

/// Rows of `skip_weights`, and of `skip_gates` where there are gates.
pub(super) fn skip_rows(config: &ModelConfig) -> usize {
    match config.skips {
        Skips::None => 0,
        Skips::Plain | Skips::Gated => order::skip_rows(config),
    }
}

#[cfg(test)]
mod tests;
