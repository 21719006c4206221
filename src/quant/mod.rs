//! How tensors are held in an artifact: classes, patterns that assign them, scales, codecs and the limits of a file.
//!
//! Manifests name these, and artifacts use them.

mod class;
mod class_pattern;
mod codec;
pub mod limits;
mod quantile;
mod scale_search;

pub use class::TensorClass;
pub use class_pattern::{ClassPattern, ParseClassPatternError, UnmatchedPattern};
pub use codec::Codec;
pub(crate) use quantile::quantile_of_sorted;
pub(crate) use scale_search::RowScale;
pub use scale_search::ScaleSearch;
