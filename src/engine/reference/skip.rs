//! What a decoder block's input takes from an encoder block's output.

use dfdx::prelude::*;

use super::hardware::Hardware;
use super::linear::{channels, row, scaled};
use super::weights::Weights;
use super::{Matrix, Recorder};
use crate::model::SkipInput;

/// `x + w * skip` by channel; with a gate `g x + (1 - g) (w * skip)`, `g = sigmoid(gate)`.
pub(super) fn add_skip<D: Hardware, T: Recorder<D>>(
    weights: &Weights<D>,
    input: SkipInput,
    x: Matrix<D, T>,
    skip: &Matrix<D>,
) -> Matrix<D, T> {
    let Some(skip_weights) = &weights.skip_weights else { return x };
    let skip = scaled(row::<D, T>(skip_weights, input.row), skip);
    match weights.skip_gates.as_ref().filter(|_| input.gated) {
        None => x + skip,
        Some(gates) => {
            let gate = row::<D, T>(gates, input.row).sigmoid();
            let rest = gate.with_empty_tape().negate() + 1.0;
            channels(x, gate) + channels(skip, rest)
        }
    }
}
