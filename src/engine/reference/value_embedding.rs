//! The second embedding of each token, added to the values of some blocks (PR 414).

use dfdx::prelude::*;

use super::hardware::Hardware;
use super::linear::linear;
use super::weights::Weights;
use super::{Matrix, Recorder, Scalar, index};

/// `scale * proj(embed[id])` of every token, `[tokens, K d]`, made once for all blocks, and its tape.
pub(super) fn value_embedding<D: Hardware, T: Recorder<D>>(
    weights: &Weights<D>,
    inputs: &[u16],
) -> Option<(Matrix<D>, T)> {
    let embedding = weights.value_embedding.as_ref()?;
    let ids = inputs.iter().map(|&id| usize::from(id)).collect();
    let mut values: Matrix<D, T> = embedding.table.retaped::<T>().gather(index(embedding.table.device(), ids));
    if let Some(projection) = &embedding.projection {
        values = linear(values, projection);
    }
    Some(scalar_times(&embedding.scale, values).split_tape())
}

/// Adds it to a block's values, by the scale of the block's place in the list.
pub(super) fn add_to_values<D: Hardware, T: Recorder<D>>(
    layer_scale: &Scalar<D>,
    embedding: &Matrix<D>,
    values: Matrix<D, T>,
) -> Matrix<D, T> {
    values + scalar_times(layer_scale, embedding.retaped::<T>())
}

/// A parameter of one value times a matrix.
pub(super) fn scalar_times<D: Hardware, T: Recorder<D>>(scale: &Scalar<D>, x: Matrix<D, T>) -> Matrix<D, T> {
    let shape = *x.shape();
    x * scale.retaped::<T>().broadcast_like::<_, Axes2<0, 1>>(&shape)
}
