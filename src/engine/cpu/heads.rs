//! Heads before attention: normalized, rotated, gained.

use super::buffer::Buffer;
use super::norm::{inverse_rms, row_grad};
use super::{CpuKernels, vectorized};
use crate::engine::lanes;
use crate::engine::network::QkNormRope;

/// A head's cosines and sines at its position, and its gain.
#[inline(always)]
fn at<'a>(shape: &QkNormRope<'a, CpuKernels>, token: usize, head: usize) -> (&'a [f32], &'a [f32], f32) {
    let (tables, half) = (shape.tables, shape.width / 2);
    let position = shape.first + token % shape.tokens_per_row;
    let row = position * half..(position + 1) * half;
    (&tables.cos[row.clone()], &tables.sin[row], shape.gain.map_or(1.0, |gain| gain[head]))
}

/// `y = factor * rotation * x`, with the opposite rotation for `direction` -1.
#[inline(always)]
fn rotate(x: &[f32], cos: &[f32], sin: &[f32], factor: f32, direction: f32, y: &mut [f32]) {
    let half = cos.len();
    let ((x1, x2), (y1, y2)) = (x.split_at(half), y.split_at_mut(half));
    for ((((x1, x2), (y1, y2)), cos), sin) in x1.iter().zip(x2).zip(y1.iter_mut().zip(y2)).zip(cos).zip(sin) {
        let (x1, x2, sin) = (x1 * factor, x2 * factor, sin * direction);
        *y1 = x1 * cos + x2 * sin;
        *y2 = x2 * cos - x1 * sin;
    }
}

pub(super) fn qk_norm_rope(x: &[f32], shape: QkNormRope<'_, CpuKernels>) -> Buffer {
    let mut y = Buffer::unset(x.len());
    vectorized(
        #[inline(always)]
        || {
            for (i, (x, y)) in x.chunks_exact(shape.width).zip(y.chunks_exact_mut(shape.width)).enumerate() {
                let (cos, sin, gain) = at(&shape, i / shape.heads, i % shape.heads);
                rotate(x, cos, sin, inverse_rms(x) * gain, 1.0, y);
            }
        },
    );
    y
}

/// Replaces `grad_x`, adds to `grad_gain`.
pub(super) fn qk_norm_rope_grad(
    x: &[f32],
    shape: QkNormRope<'_, CpuKernels>,
    grad_y: &[f32],
    grad_x: &mut [f32],
    mut grad_gain: Option<&mut Buffer>,
) {
    let width = shape.width;
    let mut grad_normed = vec![0.0; width];
    vectorized(
        #[inline(always)]
        || {
            let rows = x.chunks_exact(width).zip(grad_y.chunks_exact(width)).zip(grad_x.chunks_exact_mut(width));
            for (i, ((x, grad_y), grad_x)) in rows.enumerate() {
                let head = i % shape.heads;
                let (cos, sin, gain) = at(&shape, i / shape.heads, head);
                let inverse = inverse_rms(x);
                // Through the rotation; what is left is gain * normed.
                rotate(grad_y, cos, sin, 1.0, -1.0, &mut grad_normed);
                if let Some(grad_gain) = grad_gain.as_deref_mut() {
                    grad_gain[head] += lanes::dot(x, &grad_normed) * inverse;
                }
                grad_normed.iter_mut().for_each(|grad| *grad *= gain);
                grad_x.fill(0.0);
                row_grad(x, inverse, &grad_normed, grad_x);
            }
        },
    );
}
