//! What differs between the devices the network runs on.

use std::rc::Rc;

use dfdx::prelude::*;

use super::{Matrix, Recorder, Scores, Vector};
use crate::model::RopeTables;

/// Added to the mean square before its root: single-precision epsilon, PyTorch's default.
pub(super) const RMS_EPSILON: f32 = f32::EPSILON;

/// Rows of a batch whose activations are heads side by side.
#[derive(Clone, Copy)]
pub(super) struct HeadRows {
    /// Tokens in a row.
    pub seq_len: usize,
    /// Width of a head (d).
    pub width: usize,
}

/// A device of dfdx's that the network runs on.
pub(super) trait Hardware: Device<f32> {
    /// `x / sqrt(mean(x^2) + eps)` over each row.
    fn rms_norm<T: Recorder<Self>>(x: Matrix<Self, T>) -> Matrix<Self, T>;

    /// Rotates the first coordinates of each head of each token by its position (half-split pairs, minus the angle), as
    /// many as the tables have; the rest stay.
    ///
    /// `x` is `[tokens, heads * d]`; positions count from 0 in every row.
    fn rope<T: Recorder<Self>>(x: Matrix<Self, T>, tables: &Rc<RopeTables>, rows: HeadRows) -> Matrix<Self, T>;

    /// Softmax of `scale * scores` over the keys a query may see, zero elsewhere; the query of row `r` stands at
    /// `r % seq_len`.
    fn causal_softmax<T: Recorder<Self>>(scores: Scores<Self, T>, scale: f32) -> Scores<Self, T>;

    /// Takes a parameter's gradient out of the store; zeros if the loss does not touch it.
    fn take_gradient(gradients: &mut Gradients<f32, Self>, leaf: &Vector<Self>) -> Result<Vec<f32>, Self::Err>;
}
