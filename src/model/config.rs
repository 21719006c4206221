//! Sizes and constants of the network.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AttentionGate, InitRule, Lanes, ParallelResidual, Recurrence, RunAs, Skips, ValueEmbedding};
use crate::is_default::is_default;

/// Precision of the RoPE tables.
///
/// `f32` is the default because it is the model the PR describes. `bf16` repeats what its script really
/// computed: casting the module to bfloat16 also rounded `inv_freq` and, with it, positions, angles,
/// cosines and sines, so that only 641 distinct positions remain in 0..2047 (spacing 8 above 1024).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RopePrecision {
    /// Exact positions, frequencies in single precision.
    #[default]
    F32,
    /// Positions, frequencies, angles and table entries each rounded to bfloat16, as eager PyTorch does.
    Bf16,
}

/// The network. Defaults are those of PR #286: 24,730,705 parameters. What a manifest leaves out is as there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Tokens in the vocabulary (V).
    pub vocab_size: usize,
    /// Transformer blocks (L).
    pub num_layers: usize,
    /// Width of the residual stream (D).
    pub model_dim: usize,
    /// Query heads (H); must divide D into even head widths.
    pub num_heads: usize,
    /// Key/value heads (K); must divide H.
    pub num_kv_heads: usize,
    /// MLP width over D; the hidden width is `floor(mlp_mult * D)`.
    pub mlp_mult: f64,
    /// Whether the output head is the embedding table.
    pub tie_embeddings: bool,
    /// Base of the rotary frequencies.
    pub rope_base: f64,
    /// Precision of the rotary tables.
    pub rope_tables: RopePrecision,
    /// Logits are capped to `c * tanh(z / c)`.
    pub logit_softcap: f64,
    /// Initial gain on normalized queries.
    pub qk_gain_init: f64,
    /// Standard deviation of the initial embedding table.
    pub tied_embed_init_std: f64,
    /// Buckets of the bigram table; 0 leaves the table out.
    pub bigram_vocab_size: usize,
    /// Width of the bigram table; equal to D leaves the projection out.
    pub bigram_dim: usize,
    /// Whether each position's first activations are blended with those of the position before (SmearGate).
    #[serde(skip_serializing_if = "is_default_switch")]
    pub smear: bool,
    /// Whether the blend takes nothing from the position before where a document begins (1797, 1851).
    #[serde(skip_serializing_if = "is_default")]
    pub smear_stops_at_begin: bool,
    /// What decoder blocks take from encoder blocks.
    #[serde(skip_serializing_if = "is_default")]
    pub skips: Skips,
    /// Whether blocks mix the network's first activations into their input (`resid_mix`).
    #[serde(skip_serializing_if = "is_default_switch")]
    pub resid_mix: bool,
    /// The MLP's activation is `u^2` above zero and `(s u)^2` below; 0 for relu^2, 0.5 for LeakyReLU(0.5)^2 (549).
    #[serde(skip_serializing_if = "is_default")]
    pub mlp_negative_slope: f64,
    /// Coordinates of each head that are rotated, from the first on (partial RoPE, 315); 0 for all.
    #[serde(skip_serializing_if = "is_default")]
    pub rope_dims: usize,
    /// Row length from which the rotary base grows: for rows of T > n tokens it is `base (T/n)^(r/(r-2))` with r rotated
    /// coordinates (the scripts' NTK rule; 1024 in 287 to 1019). None: the base stays.
    #[serde(skip_serializing_if = "is_default")]
    pub rope_train_length: Option<usize>,
    /// Blocks, from the last one back, whose attention loses what points along the query's own value (XSA, 287).
    #[serde(skip_serializing_if = "is_default")]
    pub xsa_last_n: usize,
    /// Whether attention and MLP of block l, 0-based, read `1 / sqrt(l + 1)` times their norm (LN scale, 315).
    #[serde(skip_serializing_if = "is_default")]
    pub ln_scale: bool,
    /// A gate on each head of attention (PRs 1693, 1736).
    #[serde(skip_serializing_if = "is_default")]
    pub attention_gate: Option<AttentionGate>,
    /// A second embedding that is added to values (414).
    #[serde(skip_serializing_if = "is_default")]
    pub value_embedding: Option<ValueEmbedding>,
    /// Blocks that are run more than once (1334, 1394, 1412, 1493).
    #[serde(skip_serializing_if = "is_default")]
    pub recurrence: Option<Recurrence>,
    /// Attention and MLP side by side (1334, 1412, 1477, 1493).
    #[serde(skip_serializing_if = "is_default")]
    pub parallel_residual: Option<ParallelResidual>,
    /// How matrices and the table start.
    #[serde(skip_serializing_if = "is_default")]
    pub init: InitRule,
    /// How the network is run; set by training and scoring.
    #[serde(skip)]
    pub run: RunAs,
}

/// Switches of what PR #286 has are on by default.
fn is_default_switch(on: &bool) -> bool {
    *on
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig {
            vocab_size: 1024,
            num_layers: 10,
            model_dim: 512,
            num_heads: 8,
            num_kv_heads: 4,
            mlp_mult: 3.0,
            tie_embeddings: true,
            rope_base: 10_000.0,
            rope_tables: RopePrecision::F32,
            logit_softcap: 30.0,
            qk_gain_init: 1.5,
            tied_embed_init_std: 0.005,
            bigram_vocab_size: 4096,
            bigram_dim: 128,
            smear: true,
            smear_stops_at_begin: false,
            skips: Skips::Plain,
            resid_mix: true,
            mlp_negative_slope: 0.0,
            rope_dims: 0,
            rope_train_length: None,
            xsa_last_n: 0,
            ln_scale: false,
            attention_gate: None,
            value_embedding: None,
            recurrence: None,
            parallel_residual: None,
            init: InitRule::Orthogonal,
            run: RunAs::default(),
        }
    }
}

/// A configuration that no network can have.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ConfigError {
    /// Field of [`ModelConfig`].
    pub field: &'static str,
    /// What is wrong with it and what would be right.
    pub message: String,
}

/// Bounds that keep every size computation far from overflow and every allocation deliberate.
const MAX_DIM: usize = 1 << 16;
const MAX_LAYERS: usize = 1 << 10;
const MAX_TABLE_ROWS: usize = 1 << 20;
/// Token ids are u16 in the shards.
const MAX_VOCAB: usize = 1 << 16;
/// Largest factor and slope of an attention gate.
const MAX_GATE_CONSTANT: f64 = 100.0;
/// Block visits of a forward pass with all its repetitions.
const MAX_VISITS: usize = 1 << 12;
/// 4 Gi parameters: 650 times what fits in the challenge's budget at 5 bits each.
const MAX_PARAMETERS: u128 = 1 << 32;

impl ModelConfig {
    /// Head width d = D / H.
    pub fn head_dim(&self) -> usize {
        self.model_dim / self.num_heads
    }

    /// Width of keys and values, K * d.
    pub fn kv_dim(&self) -> usize {
        self.num_kv_heads * self.head_dim()
    }

    /// Hidden width of the MLP.
    pub fn mlp_hidden(&self) -> usize {
        (self.mlp_mult * self.model_dim as f64) as usize
    }

    /// Coordinates of each head that are rotated (r).
    pub fn rotated_dims(&self) -> usize {
        if self.rope_dims == 0 { self.head_dim() } else { self.rope_dims }
    }

    /// Whether rotary tables depend on a row's own length.
    pub fn rope_follows_the_row(&self) -> bool {
        self.rope_train_length.is_some() && self.run.row_length.is_none()
    }

    /// Rows of the skip weights.
    pub fn num_skips(&self) -> usize {
        super::graph::skip_rows(self)
    }

    /// Whether the value embedding is projected to the width of keys and values.
    pub fn has_value_projection(&self) -> bool {
        self.value_embedding.as_ref().is_some_and(|embedding| embedding.dim != self.kv_dim())
    }

    /// Whether the last blocks have two lanes, which the scalar `lane_merge` joins.
    pub fn has_lanes(&self) -> bool {
        self.parallel_residual.is_some_and(|parallel| parallel.lanes != Lanes::One)
    }

    /// The same network in a phase of its recurrence: 0 without repetitions.
    pub fn in_phase(mut self, phase: usize) -> Self {
        self.run.phase = Some(phase);
        self
    }

    /// The same network for rows padded to so many tokens.
    pub fn in_rows_of(mut self, tokens: usize) -> Self {
        self.run.row_length = Some(tokens);
        self
    }

    /// Whether there is a bigram table.
    pub fn has_bigram(&self) -> bool {
        self.bigram_vocab_size > 0
    }

    /// Whether the bigram table is projected to the model width.
    pub fn has_bigram_projection(&self) -> bool {
        self.has_bigram() && self.bigram_dim != self.model_dim
    }

    /// Why the bigram path can never learn, if so: its table starts at zero, and so does a projection with a side
    /// below 64, or any projection in PyTorch's default ([`super::init`](fn@super::init)). The gradient of each is a product
    /// with the other, so both stay zero.
    pub fn idle_bigram(&self) -> Option<String> {
        let least = super::init::ORTHOGONAL_MIN_SIDE;
        let (dim, model_dim) = (self.bigram_dim, self.model_dim);
        let by_rule = matches!(self.init, InitRule::Torch | InitRule::Overtone);
        if !self.has_bigram_projection() || !by_rule && dim.min(model_dim) >= least {
            return None;
        }
        let (why, instead) = match by_rule {
            true => ("the rule of model.init leaves it there".to_string(), "another model.init".to_string()),
            false => (format!("a side is below {least}"), format!("at least {least} for both")),
        };
        Some(format!(
            "the bigram path can never learn: a projection from {dim} to {model_dim} starts at zero because {why}, as its \
             table does, so that neither ever gets a gradient; use {instead}, bigram_dim equal to model_dim, or \
             bigram_vocab_size 0"
        ))
    }

    /// Checks every size against the mathematics and against generous bounds.
    ///
    /// All methods above, and [`super::layout`], are total once this has passed.
    pub fn check(&self) -> Result<(), ConfigError> {
        let fail = |field, message| Err(ConfigError { field, message });
        for (field, value, max) in [
            ("vocab_size", self.vocab_size, MAX_VOCAB),
            ("num_layers", self.num_layers, MAX_LAYERS),
            ("model_dim", self.model_dim, MAX_DIM),
            ("num_heads", self.num_heads, MAX_DIM),
            ("num_kv_heads", self.num_kv_heads, MAX_DIM),
        ] {
            if value == 0 || value > max {
                return fail(field, format!("{value} is outside 1..={max}"));
            }
        }
        if !self.model_dim.is_multiple_of(self.num_heads) {
            return fail("num_heads", format!("{} does not divide model_dim {}", self.num_heads, self.model_dim));
        }
        if !self.head_dim().is_multiple_of(2) {
            return fail(
                "num_heads",
                format!("head width {} is odd; rotary embedding needs an even width", self.head_dim()),
            );
        }
        if !self.num_heads.is_multiple_of(self.num_kv_heads) {
            return fail("num_kv_heads", format!("{} does not divide num_heads {}", self.num_kv_heads, self.num_heads));
        }
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !positive(self.mlp_mult) || self.mlp_mult > 1024.0 || self.mlp_hidden() == 0 {
            return fail("mlp_mult", format!("{} gives no usable hidden width (0 < mlp_mult <= 1024)", self.mlp_mult));
        }
        for (field, value) in [("rope_base", self.rope_base), ("logit_softcap", self.logit_softcap)] {
            if !positive(value) {
                return fail(field, format!("{value} must be positive"));
            }
        }
        if !self.qk_gain_init.is_finite() {
            return fail("qk_gain_init", format!("{} must be finite", self.qk_gain_init));
        }
        if !self.tied_embed_init_std.is_finite() || self.tied_embed_init_std < 0.0 {
            return fail("tied_embed_init_std", format!("{} must not be negative", self.tied_embed_init_std));
        }
        if self.has_bigram() {
            if !(2..=MAX_TABLE_ROWS).contains(&self.bigram_vocab_size) {
                return fail(
                    "bigram_vocab_size",
                    format!("{} is outside 2..={MAX_TABLE_ROWS} (0: no bigram table)", self.bigram_vocab_size),
                );
            }
            if self.bigram_dim == 0 || self.bigram_dim > MAX_DIM {
                return fail("bigram_dim", format!("{} is outside 1..={MAX_DIM}", self.bigram_dim));
            }
        }
        self.check_blocks()?;
        let parameters = super::params::count(self);
        if parameters > MAX_PARAMETERS {
            return fail(
                "num_layers",
                format!("the network would have {parameters} parameters; at most {MAX_PARAMETERS} are supported"),
            );
        }
        Ok(())
    }

    /// Checks what the blocks do and in which order.
    fn check_blocks(&self) -> Result<(), ConfigError> {
        let fail = |field, message| Err(ConfigError { field, message });
        let (layers, width) = (self.num_layers, self.head_dim());
        if !self.mlp_negative_slope.is_finite() || self.mlp_negative_slope.abs() > 1.0 {
            return fail("mlp_negative_slope", format!("{} is outside -1..=1", self.mlp_negative_slope));
        }
        if self.rope_dims > width || !self.rope_dims.is_multiple_of(2) {
            let message = format!("{} must be even and at most the head width {width} (0: all)", self.rope_dims);
            return fail("rope_dims", message);
        }
        if self.rope_train_length.is_some() && self.rotated_dims() < 4 {
            return fail(
                "rope_train_length",
                "the base grows only where 4 coordinates or more are rotated".to_string(),
            );
        }
        if self.rope_train_length == Some(0) {
            return fail("rope_train_length", "must be 1 or more".to_string());
        }
        if self.smear_stops_at_begin && !self.smear {
            return fail("smear_stops_at_begin", "there is no smear to stop; set smear".to_string());
        }
        if let Some(AttentionGate { width, factor, slope, init_std }) = self.attention_gate {
            if !(1..=self.model_dim).contains(&width) {
                return fail("attention_gate.width", format!("{width} is outside 1..={}", self.model_dim));
            }
            for (field, value) in [("attention_gate.factor", factor), ("attention_gate.slope", slope)] {
                if !(value > 0.0 && value <= MAX_GATE_CONSTANT) {
                    return fail(field, format!("{value} is outside (0, {MAX_GATE_CONSTANT}]"));
                }
            }
            if !(0.0..=1.0).contains(&init_std) {
                return fail("attention_gate.init_std", format!("{init_std} is outside 0..=1"));
            }
        }
        if self.xsa_last_n > layers {
            return fail("xsa_last_n", format!("{} blocks of {layers}", self.xsa_last_n));
        }
        if let Some(embedding) = &self.value_embedding {
            if embedding.dim == 0 || embedding.dim > MAX_DIM {
                return fail("value_embedding.dim", format!("{} is outside 1..={MAX_DIM}", embedding.dim));
            }
            each_once("value_embedding.blocks", &embedding.blocks, layers)?;
        }
        if let Some(parallel) = self.parallel_residual
            && (parallel.start >= layers || self.has_lanes() && parallel.start == 0)
        {
            let least = usize::from(self.has_lanes());
            return fail("parallel_residual.start", format!("{} is outside {least}..{layers}", parallel.start));
        }
        match &self.recurrence {
            Some(recurrence) => check_recurrence(recurrence, layers),
            None => Ok(()),
        }
    }
}

/// Checks that a list names some of the blocks, each once.
fn each_once(field: &'static str, blocks: &[usize], layers: usize) -> Result<(), ConfigError> {
    let fail = |message| Err(ConfigError { field, message });
    if blocks.is_empty() {
        return fail("names no block".to_string());
    }
    for (at, &block) in blocks.iter().enumerate() {
        if block >= layers {
            return fail(format!("block {block} is outside 0..{layers}"));
        }
        if blocks[..at].contains(&block) {
            return fail(format!("block {block} is named twice"));
        }
    }
    Ok(())
}

fn check_recurrence(recurrence: &Recurrence, layers: usize) -> Result<(), ConfigError> {
    let fail = |field, message| Err(ConfigError { field, message });
    match recurrence {
        Recurrence::Insert { blocks, .. } => each_once("recurrence.blocks", blocks, layers),
        Recurrence::Loop { first, last, repeats, from_fraction } => {
            if first > last || *last >= layers {
                return fail("recurrence.first", format!("blocks {first} to {last} are no loop in 0..{layers}"));
            }
            let most = (MAX_VISITS - layers) / (last - first + 1);
            if *repeats == 0 || *repeats > most {
                return fail("recurrence.repeats", format!("{repeats} is outside 1..={most}"));
            }
            if from_fraction.len() != 1 && from_fraction.len() != *repeats {
                let message = format!("{} fractions; one for all, or one for each of {repeats}", from_fraction.len());
                return fail("recurrence.from_fraction", message);
            }
            let in_order = from_fraction.windows(2).all(|pair| pair[0] <= pair[1]);
            if !in_order || !from_fraction.iter().all(|fraction| (0.0..=1.0).contains(fraction)) {
                return fail("recurrence.from_fraction", "fractions are 0 to 1, none below the one before it".into());
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_sizes_are_named() {
        let ok = ModelConfig::default();
        assert_eq!(ok.check(), Ok(()));
        for (field, bad) in [
            ("vocab_size", ModelConfig { vocab_size: 0, ..ok.clone() }),
            ("num_layers", ModelConfig { num_layers: usize::MAX, ..ok.clone() }),
            ("num_heads", ModelConfig { num_heads: 7, ..ok.clone() }),
            ("num_heads", ModelConfig { num_heads: 512, num_kv_heads: 1, ..ok.clone() }),
            ("num_kv_heads", ModelConfig { num_kv_heads: 3, ..ok.clone() }),
            ("mlp_mult", ModelConfig { mlp_mult: f64::NAN, ..ok.clone() }),
            ("logit_softcap", ModelConfig { logit_softcap: 0.0, ..ok.clone() }),
            ("bigram_vocab_size", ModelConfig { bigram_vocab_size: 1, ..ok.clone() }),
            ("num_layers", ModelConfig { model_dim: 1 << 16, num_layers: 1024, ..ok.clone() }),
        ] {
            assert_eq!(bad.check().unwrap_err().field, field);
        }
    }
}
