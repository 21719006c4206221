//! The reference engine: the network written with dfdx tensors, differentiated by dfdx.
//!
//! Shapes are dynamic (`usize`), storage is single precision on the CPU. Rows of a batch are stacked:
//! activations are matrices `[tokens, width]` with the rows of a batch one after another.
//!
//! [`network`] is the whole forward pass in one page; [`embed`], [`attention`] and [`block`] are its parts,
//! [`fused`] the three operations that dfdx composes too slowly, [`weights`] the way in and out of host
//! memory, [`activations`] what can be seen between the layers.

mod activations;
mod attention;
mod block;
mod embed;
mod engine;
mod fused;
mod network;
mod weights;

pub use activations::Activations;
pub use engine::DfdxEngine;

use ::dfdx::prelude::{Cpu, Merge, Tape, Tensor};

/// `[rows, columns]`.
type Matrix<T = ::dfdx::prelude::NoneTape> = Tensor<(usize, usize), f32, Cpu, T>;
/// `[channels]`.
type Vector<T = ::dfdx::prelude::NoneTape> = Tensor<(usize,), f32, Cpu, T>;

/// A tape that may or may not record: training records, scoring does not.
trait Recorder: Tape<f32, Cpu> + Merge<Self> + Merge<::dfdx::prelude::NoneTape> + 'static {}
impl<T: Tape<f32, Cpu> + 'static> Recorder for T {}
