//! Activations weighed by parameters of one value: the value embedding, and the merging of two lanes.

use super::buffer::Buffer;
use super::vectorized;
use crate::engine::lanes;

/// Values multiplied at once; their products are summed in single precision, such sums in double precision.
const PIECE: usize = 4096;

/// `x . y`.
fn dot(x: &[f32], y: &[f32]) -> f64 {
    vectorized(
        #[inline(always)]
        || x.chunks(PIECE).zip(y.chunks(PIECE)).map(|(x, y)| f64::from(lanes::dot(x, y))).sum(),
    )
}

/// `x += factor * y`.
pub(super) fn add_scaled(y: &[f32], factor: f32, x: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || x.iter_mut().zip(y).for_each(|(x, y)| *x += factor * y),
    );
}

/// Of `v += a b e`: adds to the gradients of `e`, a and b.
pub(super) fn add_scaled_grad(
    e: &[f32],
    [a, b]: [f32; 2],
    grad_v: &[f32],
    grad_e: &mut [f32],
    [grad_a, grad_b]: [&mut f32; 2],
) {
    add_scaled(grad_v, a * b, grad_e);
    let along = dot(e, grad_v);
    *grad_a += (along * f64::from(b)) as f32;
    *grad_b += (along * f64::from(a)) as f32;
}

/// `m x + (1 - m) y`.
pub(super) fn merge([x, y]: [&[f32]; 2], m: f32) -> Buffer {
    let mut merged = Buffer::unset(x.len());
    vectorized(
        #[inline(always)]
        || {
            for ((merged, x), y) in merged.iter_mut().zip(x).zip(y) {
                *merged = m * x + (1.0 - m) * y;
            }
        },
    );
    merged
}

/// Gradients of `x` and `y`; adds to that of m.
pub(super) fn merge_grad([x, y]: [&[f32]; 2], m: f32, grad: &[f32], grad_m: &mut f32) -> [Buffer; 2] {
    let mut grads = [m, 1.0 - m].map(|share| (share, Buffer::unset(grad.len())));
    for (share, to) in &mut grads {
        let share = *share;
        vectorized(
            #[inline(always)]
            || to.iter_mut().zip(grad).for_each(|(to, grad)| *to = share * grad),
        );
    }
    *grad_m += (dot(x, grad) - dot(y, grad)) as f32;
    grads.map(|(_, grad)| grad)
}

#[cfg(test)]
mod tests {
    use super::super::differences::{close, gradients, noise};
    use super::*;

    #[test]
    fn a_value_embedding_has_the_gradients_of_its_formula() {
        let n = 101;
        let [e, v, grad] = ["e", "v", "grad"].map(|name| noise(n, name));
        let (a, b) = (0.3, -1.7);
        let formula = |p: &[Vec<f64>]| (0..n).map(|i| p[1][i] + p[2][0] * p[3][0] * p[0][i]).collect::<Vec<_>>();
        let expected = gradients(&[&e, &v, &vec![a], &vec![b]], &grad, formula);
        let (mut grad_e, mut grad_a, mut grad_b) = (vec![0.0; n], 0.0, 0.0);
        add_scaled_grad(&e, [a, b], &grad, &mut grad_e, [&mut grad_a, &mut grad_b]);
        close(&grad_e, &expected[0], 1e-6);
        close(&[grad_a], &expected[2], 1e-5);
        close(&[grad_b], &expected[3], 1e-5);
        let mut sum = v.clone();
        add_scaled(&e, a * b, &mut sum);
        assert!(sum.iter().zip(e.iter().zip(&v)).all(|(sum, (e, v))| (sum - (v - 0.51 * e)).abs() < 1e-6));
    }

    #[test]
    fn merged_lanes_have_the_gradients_of_their_formula() {
        let n = 53;
        let [x, y, grad] = ["x", "y", "grad"].map(|name| noise(n, name));
        let formula =
            |p: &[Vec<f64>]| -> Vec<f64> { (0..n).map(|i| p[2][0] * p[0][i] + (1.0 - p[2][0]) * p[1][i]).collect() };
        let expected = gradients(&[&x, &y, &vec![0.3]], &grad, formula);
        let mut grad_m = 0.0;
        let [grad_x, grad_y] = merge_grad([&x, &y], 0.3, &grad, &mut grad_m);
        close(&grad_x, &expected[0], 1e-6);
        close(&grad_y, &expected[1], 1e-6);
        close(&[grad_m], &expected[2], 1e-5);
        let merged = merge([&x, &y], 0.25);
        assert!((0..n).all(|i| (merged[i] - (0.25 * x[i] + 0.75 * y[i])).abs() < 1e-6));
    }
}
