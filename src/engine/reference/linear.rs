//! Activations times weights: of a matrix, or one for each channel.

use dfdx::prelude::*;

use super::hardware::Hardware;
use super::{Matrix, Recorder, Vector};

/// `x W^T`.
pub(super) fn linear<D: Hardware, T: Recorder<D>>(x: Matrix<D, T>, weight: &Matrix<D>) -> Matrix<D, T> {
    x.matmul(weight.clone().permute::<_, Axes2<1, 0>>())
}

/// A row of a small matrix of channel weights, recorded.
pub(super) fn row<D: Hardware, T: Recorder<D>>(matrix: &Matrix<D>, index: usize) -> Vector<D, T> {
    let index: Tensor<(), usize, D> = matrix.device().tensor(index);
    matrix.retaped::<T>().select(index)
}

/// `x` times a weight for each channel.
pub(super) fn channels<D: Hardware, T: Recorder<D>>(x: Matrix<D, T>, weights: Vector<D, T>) -> Matrix<D, T> {
    let shape = *x.shape();
    x * weights.broadcast_like::<_, Axis<0>>(&shape)
}

/// The sum of each row, as a product with ones: dfdx's own sums are atomic additions on a GPU, in another order every time.
pub(super) fn row_sums<D: Hardware, T: Recorder<D>>(x: Matrix<D, T>) -> Vector<D, T> {
    let (rows, width) = *x.shape();
    let ones: Matrix<D> = x.device().ones_like(&(width, 1));
    x.matmul(ones).reshape_like(&(rows,))
}

/// An activation recorded elsewhere, times a weight for each channel.
pub(super) fn scaled<D: Hardware, T: Recorder<D>>(weights: Vector<D, T>, x: &Matrix<D>) -> Matrix<D, T> {
    let shape = *x.shape();
    weights.broadcast_like::<_, Axis<0>>(&shape) * x.clone()
}
