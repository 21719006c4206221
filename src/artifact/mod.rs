//! From checkpoint to the bytes that count, and back.
//!
//! [`pack`](fn@pack) assigns a [`TensorClass`](crate::quant::TensorClass) to every tensor, quantizes and compresses;
//! [`read`] checks a file and gives the weights back. [`pack_job`] does the same between files, and keeps the manifest in
//! step.

mod assign;
mod budget;
#[cfg(feature = "engine")]
mod calibrate;
mod container;
mod encode_as;
pub mod foreign;
mod hessians;
pub mod inspect;
mod low_rank;
#[cfg(feature = "engine")]
mod own_text;
mod pack;
pub mod pack_job;
mod packed;
mod prune;
mod prune_to;
mod quantize;
mod quantize_all;
pub mod report;

pub use assign::{ClassRule, assign};
pub use budget::Budget;
#[cfg(feature = "engine")]
pub use calibrate::{CalibrateError, CalibrationSource, calibrate};
pub use container::{Artifact, Defect, EncodeError, Encoded, Part, ReadError, encode, is_golf, parse, read};
pub(crate) use encode_as::{Chosen, encode_as};
pub use hessians::{Hessians, needed_hessians};
#[cfg(feature = "engine")]
pub(crate) use pack::rules_of;
pub use pack::{PackContext, PackError, Packed, pack};
pub use packed::{PackedTensor, PackedValues, scale_count};
pub use prune::prune;
pub use prune_to::PruneError;
pub use quantize::{QuantizeError, quantize};
#[cfg(feature = "engine")]
pub(crate) use quantize_all::{Unquantized, names_without_hessian, quantize_all};
