//! Sizes and constants of the network.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// The network. Defaults are those of PR #286: 24,730,705 parameters.
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

    /// Blocks of the first half, each of which feeds a skip.
    pub fn encoder_layers(&self) -> usize {
        self.num_layers / 2
    }

    /// Blocks of the second half.
    pub fn decoder_layers(&self) -> usize {
        self.num_layers - self.encoder_layers()
    }

    /// Skip connections from encoder to decoder.
    pub fn num_skips(&self) -> usize {
        self.encoder_layers().min(self.decoder_layers())
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
    /// below 64 ([`super::init`](fn@super::init)). The gradient of each is a product with the other, so both stay zero.
    pub fn idle_bigram(&self) -> Option<String> {
        let least = super::init::ORTHOGONAL_MIN_SIDE;
        let (dim, model_dim) = (self.bigram_dim, self.model_dim);
        (self.has_bigram_projection() && dim.min(model_dim) < least).then(|| {
            format!(
                "the bigram path can never learn: a projection from {dim} to {model_dim} starts at zero because a side \
                 is below {least}, as its table does, so that neither ever gets a gradient; use at least {least} for \
                 both, bigram_dim equal to model_dim, or bigram_vocab_size 0"
            )
        })
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
        let parameters = super::params::count(self);
        if parameters > MAX_PARAMETERS {
            return fail(
                "num_layers",
                format!("the network would have {parameters} parameters; at most {MAX_PARAMETERS} are supported"),
            );
        }
        Ok(())
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
