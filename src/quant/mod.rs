//! How tensors are held in an artifact: classes, patterns that assign them, scales, codecs and the limits of a file.
//!
//! Manifests name these, and artifacts use them. A [`QuantizerRule`] names the rules of the leaderboard's later exports,
//! which are functions of a matrix: [`clip_search()`], [`deviation_scales`], [`curvature_scales`], and [`Gptq`] with the [`HessianSum`] of a layer's
//! inputs.

mod class;
mod class_pattern;
mod clip_search;
mod codec;
mod container;
mod deviation_clip;
mod gptq;
mod hessian;
mod integer_matrix;
mod inverse_factor;
pub mod limits;
mod low_rank;
mod quantile;
mod quantizer;
mod scale_search;

pub use class::TensorClass;
pub use class_pattern::{ClassPattern, ParseClassPatternError, UnmatchedPattern};
pub use clip_search::{ClipSearch, clip_search};
pub use codec::Codec;
pub use container::{ArtifactContainer, ExportCodec, MetaStyle, ParseContainerError, TorchExport};
pub use deviation_clip::{curvature_scales, deviation_scales};
pub use gptq::{DAMPING, Gptq, GptqError};
pub use hessian::{HessianError, HessianSum};
pub use integer_matrix::{IntegerMatrix, MatrixError, WeightMatrix};
pub use low_rank::{Factors, leading_factors};
pub(crate) use quantile::{quantile_of_sorted, sorted_magnitudes};
pub use quantizer::{
    ClipUnit, LowRank, ParseQuantizerError, ParseQuantizerRuleError, Quantizer, QuantizerRule, Rounding, ScaleRule,
};
pub(crate) use scale_search::RowScale;
pub use scale_search::ScaleSearch;
