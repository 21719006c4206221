//! From checkpoint to the bytes that count, and back.
//!
//! [`pack`](fn@pack) assigns a [`TensorClass`] to every tensor, quantises and compresses; [`read`] checks a file and
//! gives the weights back. [`job`] does the same between files, and keeps the manifest in step.

mod assign;
mod budget;
mod class;
mod class_pattern;
mod container;
#[cfg(feature = "engine")]
pub mod fit;
pub mod foreign;
pub mod inspect;
pub mod job;
mod pack;
mod packed;
mod prune;
mod quantile;
mod quantise;
pub mod report;
mod scale_search;

pub use assign::{ClassRule, assign};
pub use budget::Budget;
pub use class::TensorClass;
pub use class_pattern::{ClassPattern, ParseClassPatternError, UnmatchedPattern};
pub use container::{Artifact, Codec, EncodeError, Encoded, Part, ReadError, Trouble, encode, limits, parse, read};
pub use pack::{PackError, Packed, pack};
pub use packed::{PackedTensor, PackedValues, scale_count};
pub use prune::prune;
pub use quantise::{QuantiseError, quantise};
pub use scale_search::ScaleSearch;
