//! The recipe: optimizer, schedule, quantization. Defaults are those of PR #286.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MlpBits;
use crate::is_default::{is_default, is_one};
use crate::quant::{ArtifactContainer, ClassPattern, Codec, QuantizerRule, ScaleSearch};
use crate::units::Bytes;

/// Learning rates by parameter group, and the two optimizers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// AdamW learning rate of the embedding tables when the head is untied.
    pub embed_lr: f64,
    /// AdamW learning rate of the embedding tables when the head is tied.
    pub tied_embed_lr: f64,
    /// Adam learning rate of an untied head (no decay).
    pub head_lr: f64,
    /// Muon learning rate of the matrices.
    pub matrix_lr: f64,
    /// AdamW learning rate of gains, gates, mixes and scales.
    pub scalar_lr: f64,
    /// Global L2 norm to which gradients are clipped; 0 turns clipping off.
    pub grad_clip_norm: f64,
    /// Muon.
    pub muon: MuonConfig,
    /// AdamW.
    pub adam: AdamConfig,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig {
            embed_lr: 0.6,
            tied_embed_lr: 0.03,
            head_lr: 0.008,
            matrix_lr: 0.025,
            scalar_lr: 0.02,
            grad_clip_norm: 0.3,
            muon: MuonConfig::default(),
            adam: AdamConfig::default(),
        }
    }
}

/// Precision inside Muon's Newton-Schulz iteration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OrthogonalizerPrecision {
    /// Every operation rounded to bfloat16, as the challenge's scripts compute.
    #[default]
    Bf16,
    /// Single precision throughout.
    F32,
}

/// Muon with Nesterov momentum and decoupled weight decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MuonConfig {
    /// Final momentum.
    pub momentum: f64,
    /// Momentum at step 0.
    pub momentum_warmup_start: f64,
    /// Steps of the linear momentum ramp; 0 starts at the final momentum.
    pub momentum_warmup_steps: u64,
    /// Newton-Schulz iterations.
    pub newton_schulz_steps: u32,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Precision of the orthogonalizer.
    pub precision: OrthogonalizerPrecision,
    /// Whether each row of the direction is divided by its norm before it is orthogonalized (MuonEq-R, 1285).
    #[serde(skip_serializing_if = "is_default")]
    pub row_normalize: bool,
}

impl Default for MuonConfig {
    fn default() -> Self {
        MuonConfig {
            momentum: 0.99,
            momentum_warmup_start: 0.92,
            momentum_warmup_steps: 1500,
            newton_schulz_steps: 5,
            weight_decay: 0.04,
            precision: OrthogonalizerPrecision::Bf16,
            row_normalize: false,
        }
    }
}

/// AdamW as in PyTorch: bias correction, eps outside the square root, decoupled decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay of embeddings and scalars.
    pub weight_decay: f64,
    /// That of embeddings, where it is another (1218).
    #[serde(skip_serializing_if = "is_default")]
    pub embed_weight_decay: Option<f64>,
}

impl Default for AdamConfig {
    fn default() -> Self {
        AdamConfig { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.01, embed_weight_decay: None }
    }
}

/// Steps, batches, time and the two late techniques (SWA, QAT).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Seed of initialization.
    pub seed: u64,
    /// Most steps to take.
    pub iterations: u64,
    /// Length of the final learning-rate ramp to zero, steps.
    pub warmdown_iters: u64,
    /// Length of the final ramp as a fraction of the time under the cap, or of `iterations` without one, instead of
    /// `warmdown_iters` (1218).
    #[serde(skip_serializing_if = "is_default")]
    pub warmdown_frac: Option<f64>,
    /// Least multiplier of such a ramp.
    #[serde(skip_serializing_if = "is_default")]
    pub min_lr: f64,
    /// Seconds of the cap that are kept for what follows training: it ends so much earlier (1218).
    #[serde(skip_serializing_if = "is_default")]
    pub reserve_seconds: f64,
    /// Steps taken and then thrown away before the clock starts.
    pub warmup_steps: u64,
    /// Training stops after the step that crosses this; 0 means no cap.
    pub max_wallclock_seconds: f64,
    /// Tokens of one optimizer step, over all ranks and micro-batches.
    pub train_batch_tokens: u64,
    /// Tokens of one training sequence.
    pub train_seq_len: u64,
    /// Ranks the recipe was written for; must divide 8. Micro-batches per step are 8 / world_size.
    pub world_size: u32,
    /// Steps between validations; 0 validates at the end only.
    pub val_loss_every: u64,
    /// Steps between log lines; steps 1 to 10 are always logged.
    pub train_log_every: u64,
    /// Stochastic weight averaging.
    pub swa: SwaConfig,
    /// Exponential moving average of the weights, instead of the average of snapshots (287).
    #[serde(skip_serializing_if = "is_default")]
    pub ema: Option<EmaConfig>,
    /// Quantization-aware training.
    pub qat: QatConfig,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        ScheduleConfig {
            seed: 1337,
            iterations: 20_000,
            warmdown_iters: 3_000,
            warmdown_frac: None,
            min_lr: 0.0,
            reserve_seconds: 0.0,
            warmup_steps: 20,
            max_wallclock_seconds: 600.0,
            train_batch_tokens: 786_432,
            train_seq_len: 2_048,
            world_size: 8,
            val_loss_every: 1_000,
            train_log_every: 200,
            swa: SwaConfig::default(),
            ema: None,
            qat: QatConfig::default(),
        }
    }
}

/// Stochastic weight averaging: snapshots while the learning-rate multiplier is below `start_frac`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SwaConfig {
    /// Whether to average.
    pub enabled: bool,
    /// Snapshots are taken where the multiplier is below this.
    pub start_frac: f64,
    /// Steps between snapshots.
    pub every: u64,
}

impl Default for SwaConfig {
    fn default() -> Self {
        SwaConfig { enabled: true, start_frac: 0.5, every: 50 }
    }
}

/// Exponential moving average: `average = decay * average + (1 - decay) * weights` after every step, in single precision,
/// from the weights that the timed run starts with. It is what training ends with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmaConfig {
    /// Share of the average that a step keeps, in [0, 1): 0.997 in 287.
    pub decay: f64,
}

/// Late quantization-aware training with straight-through gradients.
///
/// Rounds as PR #286 does, attention to int6 and the MLP to int5, scales from the row's largest magnitude: never by the
/// `quantization` section, which may be settled after training, when the budget is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QatConfig {
    /// Whether to fake-quantize at all.
    pub enabled: bool,
    /// Fraction of the wall-clock cap (or of `iterations` without one) after which it is on.
    pub start_frac: f64,
    /// Instead: on where the learning-rate multiplier is below this (0.15 in 414).
    #[serde(skip_serializing_if = "is_default")]
    pub below_multiplier: Option<f64>,
    /// Bits of the MLP's weights; 5 is PR #286's, 6 that of PRs 315 to 1019. Attention has 6.
    #[serde(skip_serializing_if = "is_default")]
    pub mlp_bits: MlpBits,
}

impl Default for QatConfig {
    fn default() -> Self {
        QatConfig { enabled: true, start_frac: 0.85, below_multiplier: None, mlp_bits: MlpBits::Five }
    }
}

/// From checkpoint to artifact (PR #286's export).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QuantizationConfig {
    /// Classes by tensor name; the first pattern that fits decides, tensors that none fits follow PR #286's rules.
    /// Any tensor can be named, gains and small ones too. A pattern that fits no tensor is an error.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassPattern>,
    /// In the last k blocks `attn.c_k.weight` stays float16.
    pub keep_last_k_fp16: u32,
    /// Fraction of smallest-magnitude weights set to zero before quantizing, in [0, 1).
    pub prune_fraction: f64,
    /// Tensors with at most this many elements stay float16.
    pub passthrough_max_elements: u64,
    /// Quantile of |w| per row at which int8 tensors are clipped.
    pub int8_clip_quantile: f64,
    /// Quantile of |w| per row at which int5 and int6 tensors are clipped; 1, the default, is the largest
    /// magnitude (PR #286).
    #[serde(skip_serializing_if = "is_one")]
    pub low_bit_clip_quantile: f64,
    /// How the scale of each row of an integer tensor is chosen; `max` is the default.
    #[serde(skip_serializing_if = "is_default")]
    pub scale_search: ScaleSearch,
    /// Scales and rounding by tensor name; the first pattern that fits decides. Integer tensors that none fits follow
    /// `scale_search` and the clip quantiles. A pattern that fits no tensor is an error.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<QuantizerRule>,
    /// What the Hessians of `rounding: gptq` are summed over; read where a rule has it.
    #[serde(skip_serializing_if = "is_default")]
    pub calibration: Option<CalibrationConfig>,
    /// Code and model together take at most so many bytes: of the int5 and int6 symbols that are 1 or -1, as many as
    /// that needs become zero, those of the smallest scale first (PRs #1019, #1334).
    #[serde(skip_serializing_if = "is_default")]
    pub prune_to: Option<Bytes>,
    /// The kind of file: `golf`, this program's own, or `torch:CODEC/META`, what the challenge's scripts write and load,
    /// such as `torch:brotli/labels` (PR #1394). CODEC is none, zlib, zstd, xz or brotli; META is types, methods or labels.
    #[serde(skip_serializing_if = "is_default")]
    pub container: ArtifactContainer,
    /// Compression of the payload of a golf file: zstd, or the smaller ans.
    pub codec: Codec,
    /// zstd level of that payload.
    pub zstd_level: i32,
}

impl Default for QuantizationConfig {
    fn default() -> Self {
        QuantizationConfig {
            classes: Vec::new(),
            keep_last_k_fp16: 1,
            prune_fraction: 0.0,
            passthrough_max_elements: 65_536,
            // The script's percentile is 99.99984.
            int8_clip_quantile: 0.999_998_4,
            low_bit_clip_quantile: 1.0,
            scale_search: ScaleSearch::Max,
            rules: Vec::new(),
            calibration: None,
            prune_to: None,
            container: ArtifactContainer::Golf,
            codec: Codec::Zstd,
            zstd_level: 22,
        }
    }
}

impl QuantizationConfig {
    /// Whether any tensor is rounded by a Hessian.
    pub fn uses_hessians(&self) -> bool {
        self.rules.iter().any(|rule| rule.rounding.uses_hessian())
    }
}

/// Text that GPTQ's Hessians are summed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationConfig {
    /// Where it is from; `training` is the default.
    #[serde(skip_serializing_if = "is_default")]
    pub text: CalibrationText,
    /// What logits are divided by where the model writes the text; 0.8 is the default.
    #[serde(skip_serializing_if = "is_default_temperature")]
    pub temperature: f64,
    /// Sequences, each a batch of the mean; fewer where the shard ends.
    pub sequences: u64,
    /// Tokens of a sequence; without it `schedule.train_seq_len`.
    #[serde(skip_serializing_if = "is_default")]
    pub seq_len: Option<u64>,
}

impl Default for CalibrationConfig {
    fn default() -> Self {
        // As many as PR #1019 has its model write; the other scripts take as many batches.
        let (text, temperature) = (CalibrationText::Training, DEFAULT_TEMPERATURE);
        CalibrationConfig { text, temperature, sequences: 64, seq_len: None }
    }
}

/// PR #1019's.
const DEFAULT_TEMPERATURE: f64 = 0.8;

fn is_default_temperature(value: &f64) -> bool {
    *value == DEFAULT_TEMPERATURE
}

/// Where the text is from that Hessians are summed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CalibrationText {
    /// The first sequences of the first training shard.
    #[default]
    Training,
    /// The model writes it, token by token: the first of a sequence is drawn from the whole vocabulary, each other one from
    /// the softmax of its logits. 1 % of the mean of its diagonal is added to the diagonal of a Hessian of such text, besides
    /// what GPTQ adds (PR #1019).
    Model,
}

impl std::fmt::Display for CalibrationText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            CalibrationText::Training => "training",
            CalibrationText::Model => "model",
        })
    }
}

// Settings that came after the first manifests are left out at their defaults, so that identities stay what they were.
