//! XSA: what attention's output has along the query's own value is taken out.
//!
//! `y = m - (m . u) u` for each query head's output m, with `u = v / max(|v|, 1e-12)` of its token's value.

use super::buffer::Buffer;
use super::vectorized;
use crate::engine::lanes;
use crate::engine::network::Heads;

/// Least norm a value is divided by.
const LEAST_NORM: f32 = 1e-12;

/// `1 / max(|v|, 1e-12)`.
#[inline(always)]
fn inverse_norm(v: &[f32]) -> f32 {
    1.0 / lanes::dot(v, v).sqrt().max(LEAST_NORM)
}

/// Writes `v` as long as one.
#[inline(always)]
fn direction(v: &[f32], inverse: f32, u: &mut [f32]) {
    u.iter_mut().zip(v).for_each(|(u, v)| *u = v * inverse);
}

/// `y = m - along * u`.
#[inline(always)]
fn without(m: &[f32], along: f32, u: &[f32], y: &mut [f32]) {
    for ((y, m), u) in y.iter_mut().zip(m).zip(u) {
        *y = m - along * u;
    }
}

/// Values of the tokens that are queries, one head of keys and values after another.
fn values_of_queries(heads: Heads, v: &[f32]) -> impl Iterator<Item = &[f32]> {
    let token = heads.kv_heads * heads.width;
    let rows = v.chunks_exact(heads.seq_len * token);
    rows.flat_map(move |row| row[heads.first_query * token..].chunks_exact(heads.width))
}

pub(super) fn exclude(heads: Heads, mixed: &[f32], v: &[f32]) -> Buffer {
    let (width, group) = (heads.width, heads.heads / heads.kv_heads * heads.width);
    let mut y = Buffer::unset(mixed.len());
    let mut u = vec![0.0; width];
    vectorized(
        #[inline(always)]
        || {
            let groups = mixed.chunks_exact(group).zip(y.chunks_exact_mut(group));
            for (v, (mixed, y)) in values_of_queries(heads, v).zip(groups) {
                direction(v, inverse_norm(v), &mut u);
                for (m, y) in mixed.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                    without(m, lanes::dot(m, &u), &u, y);
                }
            }
        },
    );
    y
}

/// Turns `grad` into the gradient of `mixed`; the gradient of `v`. All queries are present.
///
/// With g the gradient of y: `g - (g . u) u` for m, and for u the sum over the group of `-(g . u) m - (m . u) g`, of which
/// v gets what is across it, over its norm.
pub(super) fn exclude_grad(heads: Heads, mixed: &[f32], v: &[f32], grad: &mut [f32]) -> Buffer {
    let (width, group) = (heads.width, heads.heads / heads.kv_heads * heads.width);
    let mut grad_v = Buffer::zeros(v.len());
    let mut u = vec![0.0; width];
    vectorized(
        #[inline(always)]
        || {
            let groups = mixed.chunks_exact(group).zip(grad.chunks_exact_mut(group));
            let values = v.chunks_exact(width).zip(grad_v.chunks_exact_mut(width));
            for ((v, grad_v), (mixed, grad)) in values.zip(groups) {
                let inverse = inverse_norm(v);
                direction(v, inverse, &mut u);
                for (m, grad) in mixed.chunks_exact(width).zip(grad.chunks_exact_mut(width)) {
                    let (m_along, grad_along) = (lanes::dot(m, &u), lanes::dot(grad, &u));
                    for i in 0..width {
                        grad_v[i] -= grad_along * m[i] + m_along * grad[i];
                        grad[i] -= grad_along * u[i];
                    }
                }
                // A value too short to be divided by its norm has a constant divisor.
                let along = if inverse * LEAST_NORM < 1.0 { lanes::dot(grad_v, &u) } else { 0.0 };
                grad_v.iter_mut().zip(&u).for_each(|(grad, u)| *grad = (*grad - along * u) * inverse);
            }
        },
    );
    grad_v
}

#[cfg(test)]
mod tests {
    use super::super::differences::{close, gradients, noise};
    use super::*;

    const HEADS: Heads = Heads { seq_len: 3, heads: 4, kv_heads: 2, width: 6, first_query: 0 };

    fn formula(heads: Heads, mixed: &[f64], v: &[f64]) -> Vec<f64> {
        let (width, group) = (heads.width, heads.heads / heads.kv_heads);
        let mut y = mixed.to_vec();
        for (head, y) in y.chunks_mut(width).enumerate() {
            let v = &v[head / group * width..][..width];
            let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
            let along: f64 = y.iter().zip(v).map(|(y, v)| y * v / norm).sum();
            y.iter_mut().zip(v).for_each(|(y, v)| *y -= along * v / norm);
        }
        y
    }

    #[test]
    fn nothing_is_left_along_the_own_value() {
        let (mixed, mut v) = (noise(2 * 3 * 4 * 6, "mixed"), noise(2 * 3 * 2 * 6, "v"));
        // A value of zeros excludes nothing.
        v[..6].fill(0.0);
        let y = exclude(HEADS, &mixed, &v);
        for (head, y) in y.chunks(6).enumerate() {
            let v = &v[head / 2 * 6..][..6];
            assert!(lanes::dot(y, v).abs() < 1e-5 * lanes::dot(v, v).max(1.0));
        }
        assert_eq!(y[..12], mixed[..12]);
        // Of the later queries alone.
        let late = Heads { first_query: 2, ..HEADS };
        let picked: Vec<f32> = mixed.chunks(3 * 24).flat_map(|row| row[2 * 24..].to_vec()).collect();
        let expected: Vec<f32> = y.chunks(3 * 24).flat_map(|row| row[2 * 24..].to_vec()).collect();
        assert_eq!(exclude(late, &picked, &v)[..], expected[..]);
    }

    #[test]
    fn gradients_are_those_of_the_formula() {
        let (mixed, v, grad) = (noise(3 * 24, "mixed"), noise(3 * 12, "v"), noise(3 * 24, "grad"));
        let expected = gradients(&[&mixed, &v], &grad, |p| formula(HEADS, &p[0], &p[1]));
        let mut grad_mixed = grad.clone();
        let grad_v = exclude_grad(HEADS, &mixed, &v, &mut grad_mixed);
        close(&grad_mixed, &expected[0], 1e-5);
        close(&grad_v, &expected[1], 1e-5);
    }
}
