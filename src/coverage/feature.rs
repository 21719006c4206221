//! What a manifest's fields say of a record.

use crate::manifest::{CalibrationText, LoaderOrder, Manifest, OptimizerConfig, QuantizationConfig, Tail};
use crate::model::{InitRule, Lanes, Recurrence, Skips};
use crate::quant::{ClassPattern, ClipUnit, ScaleRule, TensorClass};

/// Part of a record that a feature is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The network.
    Network,
    /// Its training.
    Training,
    /// From weights to artifact.
    Export,
    /// How it is scored.
    Scoring,
}

/// Something that some records have and others lack.
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// What it is of.
    pub part: Part,
    /// Whether a manifest uses it.
    pub is_used: fn(&Manifest) -> bool,
}

/// All features, from the network to the evaluation.
pub const FEATURES: &[Feature] = &[
    Feature { name: "vocabulary above 1,024", part: Part::Network, is_used: |m| m.model.vocab_size > 1024 },
    Feature { name: "BigramHash", part: Part::Network, is_used: |m| m.model.has_bigram() },
    Feature { name: "SmearGate", part: Part::Network, is_used: |m| m.model.smear },
    Feature { name: "gated skips", part: Part::Network, is_used: |m| m.model.skips == Skips::Gated },
    Feature {
        name: "XSA in some blocks",
        part: Part::Network,
        is_used: |m| (1..m.model.num_layers).contains(&m.model.xsa_last_n),
    },
    Feature { name: "XSA in all blocks", part: Part::Network, is_used: |m| m.model.xsa_last_n == m.model.num_layers },
    Feature { name: "partial RoPE", part: Part::Network, is_used: |m| m.model.rotated_dims() < m.model.head_dim() },
    Feature { name: "rotary base raised with the row", part: Part::Network, is_used: has_raised_base },
    Feature { name: "LN scale", part: Part::Network, is_used: |m| m.model.ln_scale },
    Feature { name: "LeakyReLU squared", part: Part::Network, is_used: |m| m.model.mlp_negative_slope != 0.0 },
    Feature { name: "value embedding", part: Part::Network, is_used: |m| m.model.value_embedding.is_some() },
    Feature {
        name: "loop of blocks",
        part: Part::Network,
        is_used: |m| matches!(m.model.recurrence, Some(Recurrence::Loop { .. })),
    },
    Feature {
        name: "blocks inserted again",
        part: Part::Network,
        is_used: |m| matches!(m.model.recurrence, Some(Recurrence::Insert { .. })),
    },
    Feature {
        name: "parallel residual, one lane",
        part: Part::Network,
        is_used: |m| lanes(m).is_some_and(|lanes| lanes == Lanes::One),
    },
    Feature {
        name: "parallel residual, two lanes",
        part: Part::Network,
        is_used: |m| lanes(m).is_some_and(|lanes| lanes != Lanes::One),
    },
    Feature {
        name: "orthogonal start",
        part: Part::Training,
        is_used: |m| !matches!(m.model.init, InitRule::Torch | InitRule::Overtone),
    },
    Feature { name: "Muon weight decay", part: Part::Training, is_used: |m| m.optimizer.muon.weight_decay > 0.0 },
    Feature { name: "MuonEq-R", part: Part::Training, is_used: |m| m.optimizer.muon.row_normalize },
    Feature {
        name: "own decay of embeddings",
        part: Part::Training,
        is_used: |m| m.optimizer.adam.embed_weight_decay.is_some(),
    },
    Feature { name: "gradient clipping", part: Part::Training, is_used: |m| m.optimizer.grad_clip_norm > 0.0 },
    Feature { name: "warm-down as a fraction", part: Part::Training, is_used: |m| m.schedule.warmdown_frac.is_some() },
    Feature { name: "seconds kept for packing", part: Part::Training, is_used: |m| m.schedule.reserve_seconds > 0.0 },
    Feature {
        name: "coprime order of the text",
        part: Part::Training,
        is_used: |m| m.data.loader == LoaderOrder::Coprime,
    },
    Feature { name: "SWA", part: Part::Training, is_used: |m| m.schedule.swa.enabled },
    Feature { name: "EMA", part: Part::Training, is_used: |m| m.schedule.ema.is_some() },
    Feature { name: "late QAT", part: Part::Training, is_used: |m| m.schedule.qat.enabled },
    Feature {
        name: "int5 MLP",
        part: Part::Export,
        is_used: |m| named(&m.quantization, "blocks.0.mlp.fc.weight").is_none(),
    },
    Feature {
        name: "float16 table",
        part: Part::Export,
        is_used: |m| named(&m.quantization, "tok_emb.weight").is_none(),
    },
    Feature { name: "magnitude pruning", part: Part::Export, is_used: |m| m.quantization.prune_fraction > 0.0 },
    Feature {
        name: "clip search of a matrix",
        part: Part::Export,
        is_used: |m| has_scales(m, |scales| matches!(scales, ScaleRule::ClipSearch { per: ClipUnit::Matrix })),
    },
    Feature {
        name: "scales by deviation (SDClip)",
        part: Part::Export,
        is_used: |m| has_scales(m, |scales| matches!(scales, ScaleRule::Deviation { .. })),
    },
    Feature {
        name: "Hessian clip",
        part: Part::Export,
        is_used: |m| {
            has_scales(m, |scales| matches!(scales, ScaleRule::Deviation { curvature, .. } if *curvature > 0.0))
        },
    },
    Feature { name: "GPTQ", part: Part::Export, is_used: |m| m.quantization.uses_hessians() },
    Feature { name: "GPTQ on its own text", part: Part::Export, is_used: writes_its_text },
    Feature { name: "selective pruning", part: Part::Export, is_used: |m| m.quantization.prune_to.is_some() },
    Feature { name: "sliding windows", part: Part::Scoring, is_used: |m| m.eval.stride < m.eval.seq_len },
    Feature { name: "whole windows of the text", part: Part::Scoring, is_used: |m| m.eval.whole_windows },
    Feature { name: "end of the text scored again", part: Part::Scoring, is_used: |m| m.eval.tail == Tail::AsScript },
    Feature { name: "test-time training", part: Part::Scoring, is_used: |m| m.eval.ttt.is_some() },
];

impl Feature {
    /// Whether a manifest says whether it uses it: what a section that it leaves out has by default says nothing.
    pub fn is_stated(&self, manifest: &Manifest) -> bool {
        match self.part {
            Part::Network | Part::Scoring => true,
            Part::Training => manifest.optimizer != OptimizerConfig::default(),
            Part::Export => manifest.quantization != QuantizationConfig::default(),
        }
    }
}

fn writes_its_text(manifest: &Manifest) -> bool {
    manifest.quantization.calibration.as_ref().is_some_and(|calibration| calibration.text == CalibrationText::Model)
}

/// Whether rows are longer than the length from which the base grows.
fn has_raised_base(manifest: &Manifest) -> bool {
    let longest = manifest.schedule.train_seq_len.max(manifest.eval.seq_len);
    manifest.model.rope_train_length.is_some_and(|length| longest > length as u64)
}

fn lanes(manifest: &Manifest) -> Option<Lanes> {
    manifest.model.parallel_residual.map(|parallel| parallel.lanes)
}

fn has_scales(manifest: &Manifest, is_meant: fn(&ScaleRule) -> bool) -> bool {
    manifest.quantization.rules.iter().any(|rule| is_meant(&rule.scales))
}

/// The class that the manifest names for a tensor; without one, PR #286's rules hold.
fn named(quantization: &QuantizationConfig, tensor: &str) -> Option<TensorClass> {
    ClassPattern::first(&quantization.classes, tensor).map(|rule| rule.class)
}
