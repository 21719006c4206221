//! Heads weighed by a gate over the first channels of attention's input (PR 1693).

use dfdx::prelude::*;

use super::hardware::Hardware;
use super::linear::linear;
use super::{Matrix, Recorder};
use crate::model::AttentionGate;

/// `factor * sigmoid(slope * W x[..window])`, `[tokens * heads, 1]`: one value for each head of each token.
pub(super) fn head_gates<D: Hardware, T: Recorder<D>>(
    gate: &AttentionGate,
    weights: &Matrix<D>,
    x: Matrix<D, T>,
) -> Matrix<D, T> {
    let (tokens, dim) = *x.shape();
    // The first channels, by a product with ones and zeros, which is exact.
    let mut picked = vec![0.0; dim * gate.width];
    picked.chunks_mut(gate.width).take(gate.width).enumerate().for_each(|(i, row)| row[i] = 1.0);
    let picked: Matrix<D> = x.device().tensor_from_vec(picked, (dim, gate.width));
    let first = x.matmul(picked);
    let arguments = linear(first, weights) * gate.slope as f32;
    let (_, heads) = *arguments.shape();
    (arguments.sigmoid() * gate.factor as f32).reshape_like(&(tokens * heads, 1))
}
