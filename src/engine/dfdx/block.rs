//! One transformer block.

use std::rc::Rc;

use dfdx::prelude::*;

use super::activations::Probe;
use super::attention::attention;
use super::hardware::Hardware;
use super::weights::BlockWeights;
use super::{Matrix, Recorder, Vector};
use crate::model::{ModelConfig, RopeTables};

/// `x W^T`.
pub(super) fn linear<D: Hardware, T: Recorder<D>>(x: Matrix<D, T>, weight: &Matrix<D>) -> Matrix<D, T> {
    x.matmul(weight.clone().permute::<_, Axes2<1, 0>>())
}

/// Mixes in the network's input `x0`, then adds attention and MLP, each scaled by channel.
pub(super) fn block<D: Hardware, T: Recorder<D>>(
    config: &ModelConfig,
    weights: &BlockWeights<D>,
    tables: &Rc<RopeTables>,
    x: Matrix<D, T>,
    x0: &Matrix<D>,
    seq_len: usize,
    probe: &mut Probe<'_>,
) -> Matrix<D, T> {
    probe.see("in", &x);
    let from_input = scaled(row::<D, T>(&weights.resid_mix, 1), x0);
    let x = channels(x, row::<D, T>(&weights.resid_mix, 0)) + from_input;
    let attended = attention(config, weights, tables, D::rms_norm(x.with_empty_tape()), seq_len, probe);
    probe.see("attn_out", &attended);
    let x = x + channels(attended, weights.attn_scale.retaped::<T>());
    let hidden = linear(D::rms_norm(x.with_empty_tape()), &weights.fc).relu().square();
    let output = linear(hidden, &weights.mlp_proj);
    probe.see("mlp_out", &output);
    let x = x + channels(output, weights.mlp_scale.retaped::<T>());
    probe.see("out", &x);
    x
}

/// A row of a small matrix of channel weights, recorded.
pub(super) fn row<D: Hardware, T: Recorder<D>>(matrix: &Matrix<D>, index: usize) -> Vector<D, T> {
    let index: Tensor<(), usize, D> = matrix.device().tensor(index);
    matrix.retaped::<T>().select(index)
}

/// `x` times a weight for each channel.
fn channels<D: Hardware, T: Recorder<D>>(x: Matrix<D, T>, weights: Vector<D, T>) -> Matrix<D, T> {
    let shape = *x.shape();
    x * weights.broadcast_like::<_, Axis<0>>(&shape)
}

/// An activation recorded elsewhere, times a weight for each channel.
pub(super) fn scaled<D: Hardware, T: Recorder<D>>(weights: Vector<D, T>, x: &Matrix<D>) -> Matrix<D, T> {
    let shape = *x.shape();
    weights.broadcast_like::<_, Axis<0>>(&shape) * x.clone()
}
