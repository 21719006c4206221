//! Heads before attention: normalized, rotated, gained.

use super::buffer::Buffer;
use super::norm::{inverse_rms, row_grad};
use super::{CpuKernels, vectorized};
use crate::engine::lanes;
use crate::engine::network::QkNormRope;

/// A head's cosines and sines at its position, and its gain.
#[inline(always)]
fn at<'a>(shape: &QkNormRope<'a, CpuKernels>, token: usize, head: usize) -> (&'a [f32], &'a [f32], f32) {
    let (tables, half) = (shape.tables, shape.tables.half);
    let position = shape.first + token % shape.tokens_per_row;
    let row = position * half..(position + 1) * half;
    (&tables.cos[row.clone()], &tables.sin[row], shape.gain.map_or(1.0, |gain| gain[head]))
}

/// `y = factor * rotation * x`, with the opposite rotation for `direction` -1. What has no angles is not rotated.
#[inline(always)]
fn rotate(x: &[f32], cos: &[f32], sin: &[f32], factor: f32, direction: f32, y: &mut [f32]) {
    let half = cos.len();
    let ((x, passed), (y, to)) = (x.split_at(2 * half), y.split_at_mut(2 * half));
    to.iter_mut().zip(passed).for_each(|(to, x)| *to = x * factor);
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
                row_grad(x, inverse, 1.0, &grad_normed, grad_x);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::differences::{close, gradients, noise};
    use super::*;
    use crate::model::{ModelConfig, RopeTables};

    #[test]
    fn gradients_are_those_of_the_formula() {
        let (tokens, heads, width) = (4, 2, 10);
        let [x, grad] = ["x", "grad"].map(|name| noise(tokens * heads * width, name));
        let gain = Buffer::copy_of(&[1.5, -0.4]);
        for rope_dims in [0, 4] {
            let config =
                ModelConfig { model_dim: width, num_heads: 1, num_kv_heads: 1, rope_dims, ..Default::default() };
            let tables = &RopeTables::new(&config, tokens + 2);
            let half = config.rotated_dims() / 2;
            let shape = QkNormRope { heads, width, tokens_per_row: tokens, first: 2, gain: Some(&gain), tables };
            let formula = |p: &[Vec<f64>]| -> Vec<f64> {
                let head = |(i, x): (usize, &[f64])| -> Vec<f64> {
                    let mean = x.iter().map(|x| x * x).sum::<f64>() / width as f64 + f64::from(f32::EPSILON);
                    let normed: Vec<f64> = x.iter().map(|x| p[1][i % heads] * x / mean.sqrt()).collect();
                    let mut y = normed.clone();
                    for j in 0..half {
                        let angle = (i / heads + 2) as f64 * 10_000f64.powf(-(j as f64) / half as f64);
                        y[j] = normed[j] * angle.cos() + normed[j + half] * angle.sin();
                        y[j + half] = normed[j + half] * angle.cos() - normed[j] * angle.sin();
                    }
                    y
                };
                p[0].chunks(width).enumerate().flat_map(head).collect()
            };
            let exact = [&x[..], &gain].map(|values| values.iter().map(|&x| f64::from(x)).collect());
            close(&qk_norm_rope(&x, shape), &formula(&exact), 1e-6);
            let expected = gradients(&[&x, &gain.to_vec()], &grad, formula);
            let (mut grad_x, mut grad_gain) = (vec![7.0; x.len()], Buffer::zeros(heads));
            qk_norm_rope_grad(&x, shape, &grad, &mut grad_x, Some(&mut grad_gain));
            close(&grad_x, &expected[0], 1e-5);
            close(&grad_gain, &expected[1], 1e-5);
        }
    }
}
