//! Root-mean-square normalization.

use super::buffer::Buffer;
use super::vectorized;
use crate::engine::lanes;
use crate::engine::network::Norm;

/// Added to the mean square before its root: single-precision epsilon, PyTorch's default.
const EPSILON: f32 = f32::EPSILON;

/// `1 / sqrt(mean(x^2) + eps)`.
#[inline(always)]
pub(super) fn inverse_rms(x: &[f32]) -> f32 {
    1.0 / (lanes::dot(x, x) / x.len() as f32 + EPSILON).sqrt()
}

/// Adds the gradient through one normalized row: `(g - x * (x . g) * inverse^2 / n) * (inverse * factor)`.
#[inline(always)]
pub(super) fn row_grad(x: &[f32], inverse: f32, factor: f32, grad_y: &[f32], grad_x: &mut [f32]) {
    let pull = lanes::dot(x, grad_y) * inverse * inverse / x.len() as f32;
    let inverse = inverse * factor;
    for ((grad_x, grad_y), x) in grad_x.iter_mut().zip(grad_y).zip(x) {
        *grad_x += (grad_y - x * pull) * inverse;
    }
}

pub(super) fn rms_norm(x: &[f32], Norm { width, factor }: Norm) -> Buffer {
    let mut y = Buffer::unset(x.len());
    vectorized(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                let inverse = inverse_rms(x) * factor;
                y.iter_mut().zip(x).for_each(|(y, x)| *y = x * inverse);
            }
        },
    );
    y
}

pub(super) fn rms_norm_grad(x: &[f32], grad_y: &[f32], Norm { width, factor }: Norm, grad_x: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            let rows = x.chunks_exact(width).zip(grad_y.chunks_exact(width));
            for ((x, grad_y), grad_x) in rows.zip(grad_x.chunks_exact_mut(width)) {
                row_grad(x, inverse_rms(x), factor, grad_y, grad_x);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::differences::{close, gradients, noise};
    use super::*;

    #[test]
    fn gradients_are_those_of_the_formula() {
        let (rows, width) = (3, 37);
        let [x, grad] = ["x", "grad"].map(|name| noise(rows * width, name));
        for factor in [1.0, 0.57] {
            let formula = |p: &[Vec<f64>]| -> Vec<f64> {
                let normed = |row: &[f64]| -> Vec<f64> {
                    let mean = row.iter().map(|x| x * x).sum::<f64>() / width as f64 + f64::from(EPSILON);
                    row.iter().map(|x| f64::from(factor) * x / mean.sqrt()).collect()
                };
                p[0].chunks(width).flat_map(normed).collect()
            };
            let norm = Norm { width, factor };
            let exact = x.iter().map(|&x| f64::from(x)).collect();
            close(&rms_norm(&x, norm), &formula(&[exact]), 1e-6);
            let mut grad_x = vec![0.0; x.len()];
            rms_norm_grad(&x, &grad, norm, &mut grad_x);
            close(&grad_x, &gradients(&[&x], &grad, formula)[0], 1e-5);
        }
    }
}
