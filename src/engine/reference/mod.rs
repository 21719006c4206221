//! The reference engine: the network written with dfdx tensors, differentiated by dfdx.
//!
//! Shapes are dynamic (`usize`), storage is single precision on a device of dfdx's, `D`: the processor or, with the
//! feature `dfdx-cuda`, a GPU. Rows of a batch are stacked: activations are matrices `[tokens, width]` with the rows
//! of a batch one after another.
//!
//! [`network`] is the whole forward pass in one page: the visits of a [`Graph`](crate::model::Graph), one after another.
//! [`embed`], [`block`], [`attention`] and [`skip`] are its parts, [`value_embedding`], [`own_value`] and [`head_gate`] what only some
//! networks have.
//! [`hardware`] names the operations that each device does in its own way: [`fused`] has them for the processor,
//! where dfdx composes them too slowly, `composed` makes them of dfdx's own for a GPU. [`weights`] is the way in and
//! out of host memory, [`loaded`] what engines do with a network, [`activations`] what can be seen between the layers.

mod activations;
mod attention;
mod block;
#[cfg(any(test, feature = "dfdx-cuda"))]
mod composed;
#[cfg(feature = "dfdx-cuda")]
mod cuda;
mod embed;
mod engine;
mod fused;
mod hardware;
mod head_gate;
mod linear;
mod loaded;
mod network;
mod own_value;
#[cfg(any(test, feature = "dfdx-cuda"))]
mod run_isolated;
mod skip;
mod value_embedding;
mod weights;

pub use activations::Activations;
#[cfg(feature = "dfdx-cuda")]
pub(super) use cuda::{DfdxCudaEngine, LABEL as CUDA_LABEL};
pub use engine::DfdxEngine;

use ::dfdx::prelude::{Merge, NoneTape, Tape, Tensor};
use hardware::Hardware;

/// `[rows, columns]`.
type Matrix<D, T = NoneTape> = Tensor<(usize, usize), f32, D, T>;
/// One value.
type Scalar<D> = Tensor<(), f32, D>;
/// `[channels]`.
type Vector<D, T = NoneTape> = Tensor<(usize,), f32, D, T>;
/// `[batch, kv heads, group * seq_len, seq_len]`: what every query of a head thinks of every key.
type Scores<D, T = NoneTape> = Tensor<(usize, usize, usize, usize), f32, D, T>;

/// A tape that may or may not record: training records, scoring does not.
trait Recorder<D: Hardware>: Tape<f32, D> + Merge<Self> + Merge<NoneTape> + 'static {}
impl<D: Hardware, T: Tape<f32, D> + 'static> Recorder<D> for T {}

/// Row numbers as a tensor.
fn index<D: Hardware>(dev: &D, rows: Vec<usize>) -> Tensor<(usize,), usize, D> {
    let len = rows.len();
    dev.tensor_from_vec(rows, (len,))
}
