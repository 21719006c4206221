//! Root-mean-square normalization.

use super::buffer::Buffer;
use super::vectorized;
use crate::engine::lanes;

/// Added to the mean square before its root: single-precision epsilon, PyTorch's default.
const EPSILON: f32 = f32::EPSILON;

/// `1 / sqrt(mean(x^2) + eps)`.
#[inline(always)]
pub(super) fn inverse_rms(x: &[f32]) -> f32 {
    1.0 / (lanes::dot(x, x) / x.len() as f32 + EPSILON).sqrt()
}

/// Adds the gradient through one normalized row: `(g - x * (x . g) * inverse^2 / n) * inverse`.
#[inline(always)]
pub(super) fn row_grad(x: &[f32], inverse: f32, grad_y: &[f32], grad_x: &mut [f32]) {
    let pull = lanes::dot(x, grad_y) * inverse * inverse / x.len() as f32;
    for ((grad_x, grad_y), x) in grad_x.iter_mut().zip(grad_y).zip(x) {
        *grad_x += (grad_y - x * pull) * inverse;
    }
}

pub(super) fn rms_norm(x: &[f32], width: usize) -> Buffer {
    let mut y = Buffer::unset(x.len());
    vectorized(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                let inverse = inverse_rms(x);
                y.iter_mut().zip(x).for_each(|(y, x)| *y = x * inverse);
            }
        },
    );
    y
}

pub(super) fn rms_norm_grad(x: &[f32], grad_y: &[f32], width: usize, grad_x: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            let rows = x.chunks_exact(width).zip(grad_y.chunks_exact(width));
            for ((x, grad_y), grad_x) in rows.zip(grad_x.chunks_exact_mut(width)) {
                row_grad(x, inverse_rms(x), grad_y, grad_x);
            }
        },
    );
}
