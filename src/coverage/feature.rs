//! What a manifest's fields say of a record.

use crate::manifest::{Manifest, QuantizationConfig};
use crate::model::{InitRule, Lanes, Recurrence, Skips};
use crate::quant::{ClassPattern, ScaleSearch, TensorClass};

/// Something that some records have and others lack.
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// Whether a manifest uses it.
    pub is_used: fn(&Manifest) -> bool,
}

/// All features, from the network to the evaluation.
pub const FEATURES: &[Feature] = &[
    Feature { name: "vocabulary above 1,024", is_used: |m| m.model.vocab_size > 1024 },
    Feature { name: "BigramHash", is_used: |m| m.model.has_bigram() },
    Feature { name: "SmearGate", is_used: |m| m.model.smear },
    Feature { name: "gated skips", is_used: |m| m.model.skips == Skips::Gated },
    Feature { name: "XSA in some blocks", is_used: |m| (1..m.model.num_layers).contains(&m.model.xsa_last_n) },
    Feature { name: "XSA in all blocks", is_used: |m| m.model.xsa_last_n == m.model.num_layers },
    Feature { name: "partial RoPE", is_used: |m| m.model.rotated_dims() < m.model.head_dim() },
    Feature { name: "rotary base raised with the row", is_used: has_raised_base },
    Feature { name: "LN scale", is_used: |m| m.model.ln_scale },
    Feature { name: "LeakyReLU squared", is_used: |m| m.model.mlp_negative_slope != 0.0 },
    Feature { name: "value embedding", is_used: |m| m.model.value_embedding.is_some() },
    Feature { name: "loop of blocks", is_used: |m| matches!(m.model.recurrence, Some(Recurrence::Loop { .. })) },
    Feature {
        name: "blocks inserted again",
        is_used: |m| matches!(m.model.recurrence, Some(Recurrence::Insert { .. })),
    },
    Feature { name: "parallel residual, one lane", is_used: |m| lanes(m).is_some_and(|lanes| lanes == Lanes::One) },
    Feature { name: "parallel residual, two lanes", is_used: |m| lanes(m).is_some_and(|lanes| lanes != Lanes::One) },
    Feature { name: "orthogonal start", is_used: |m| !matches!(m.model.init, InitRule::Torch | InitRule::Overtone) },
    Feature { name: "Muon weight decay", is_used: |m| m.optimizer.muon.weight_decay > 0.0 },
    Feature { name: "MuonEq-R", is_used: |m| m.optimizer.muon.row_normalize },
    Feature { name: "own decay of embeddings", is_used: |m| m.optimizer.adam.embed_weight_decay.is_some() },
    Feature { name: "gradient clipping", is_used: |m| m.optimizer.grad_clip_norm > 0.0 },
    Feature { name: "warm-down as a fraction", is_used: |m| m.schedule.warmdown_frac.is_some() },
    Feature { name: "seconds kept for packing", is_used: |m| m.schedule.reserve_seconds > 0.0 },
    Feature { name: "SWA", is_used: |m| m.schedule.swa.enabled },
    Feature { name: "EMA", is_used: |m| m.schedule.ema.is_some() },
    Feature { name: "late QAT", is_used: |m| m.schedule.qat.enabled },
    Feature { name: "int5 MLP", is_used: |m| named(&m.quantization, "blocks.0.mlp.fc.weight").is_none() },
    Feature { name: "float16 table", is_used: |m| named(&m.quantization, "tok_emb.weight").is_none() },
    Feature { name: "magnitude pruning", is_used: |m| m.quantization.prune_fraction > 0.0 },
    Feature { name: "search of scales", is_used: |m| m.quantization.scale_search != ScaleSearch::Max },
    Feature { name: "sliding windows", is_used: |m| m.eval.stride < m.eval.seq_len },
];

/// Whether rows are longer than the length from which the base grows.
fn has_raised_base(manifest: &Manifest) -> bool {
    let longest = manifest.schedule.train_seq_len.max(manifest.eval.seq_len);
    manifest.model.rope_train_length.is_some_and(|length| longest > length as u64)
}

fn lanes(manifest: &Manifest) -> Option<Lanes> {
    manifest.model.parallel_residual.map(|parallel| parallel.lanes)
}

/// The class that the manifest names for a tensor; without one, PR #286's rules hold.
fn named(quantization: &QuantizationConfig, tensor: &str) -> Option<TensorClass> {
    ClassPattern::first(&quantization.classes, tensor).map(|rule| rule.class)
}
