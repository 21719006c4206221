//! From the scores of a block of queries to weights, and back.

use super::exponential::exp;
use crate::engine::lanes;

/// Queries in a block: at 2,048 keys its scores take half a MiB.
pub(super) const BLOCK: usize = 64;

/// Turns the scores of one query into weights, 0 beyond the keys it has `seen`; the logarithm of their denominator.
#[inline(always)]
pub(super) fn softmax(row: &mut [f32], seen: usize) -> f32 {
    let (seen, unseen) = row.split_at_mut(seen);
    let largest = lanes::max(seen);
    seen.iter_mut().for_each(|score| *score = exp(*score - largest));
    let sum = lanes::sum(seen);
    let inverse = 1.0 / sum;
    seen.iter_mut().for_each(|score| *score *= inverse);
    unseen.fill(0.0);
    largest + libm::logf(sum)
}

/// Turns one query's scores into weights again and the gradients of weights into those of scores.
///
/// `out` and its gradient are the query's: the mean of the gradient under the weights is their product.
#[inline(always)]
pub(super) fn softmax_grad(
    weights: &mut [f32],
    grads: &mut [f32],
    seen: usize,
    lse: f32,
    (out, grad_out): (&[f32], &[f32]),
) {
    let mean = lanes::dot(out, grad_out);
    for (weight, grad) in weights[..seen].iter_mut().zip(&mut grads[..seen]) {
        *weight = exp(*weight - lse);
        *grad = *weight * (*grad - mean);
    }
    weights[seen..].fill(0.0);
    grads[seen..].fill(0.0);
}
