//! From checkpoint to the bytes that count, and back.
//!
//! [`pack`](fn@pack) assigns a [`TensorClass`](crate::quant::TensorClass) to every tensor, quantizes and compresses;
//! [`read`] checks a file and gives the weights back. [`pack_job`] does the same between files, and keeps the manifest in
//! step.

mod assign;
mod budget;
mod container;
pub mod foreign;
pub mod inspect;
mod pack;
pub mod pack_job;
mod packed;
mod prune;
mod quantize;
pub mod report;

pub use assign::{ClassRule, assign};
pub use budget::Budget;
pub use container::{Artifact, Defect, EncodeError, Encoded, Part, ReadError, encode, is_golf, parse, read};
pub use pack::{PackError, Packed, pack};
pub use packed::{PackedTensor, PackedValues, scale_count};
pub use prune::prune;
pub use quantize::{QuantizeError, quantize};
