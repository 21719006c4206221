//! Operations that look at each activation once.

use super::buffer::Buffer;
use super::exponential::exp;
use super::{CpuKernels, vectorized};
use crate::data::BEGIN_ID;
use crate::engine::network::Smear;

pub(super) fn add(x: &[f32], sum: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x),
    );
}

/// `x += weights * y` by channel.
pub(super) fn add_scaled(y: &[f32], weights: &[f32], x: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact_mut(weights.len()).zip(y.chunks_exact(weights.len())) {
                x.iter_mut().zip(y).zip(weights).for_each(|((x, y), w)| *x += w * y);
            }
        },
    );
}

/// Replaces `grad_y`, adds to `grad_weights`.
pub(super) fn add_scaled_grad(
    y: &[f32],
    weights: &[f32],
    grad_x: &[f32],
    grad_y: &mut [f32],
    grad_weights: &mut [f32],
) {
    let width = weights.len();
    vectorized(
        #[inline(always)]
        || {
            let rows = y.chunks_exact(width).zip(grad_x.chunks_exact(width));
            for ((y, grad_x), grad_y) in rows.zip(grad_y.chunks_exact_mut(width)) {
                for i in 0..width {
                    grad_y[i] = weights[i] * grad_x[i];
                    grad_weights[i] += y[i] * grad_x[i];
                }
            }
        },
    );
}

pub(super) fn mix(x: &[f32], x0: &[f32], mix: &[f32]) -> Buffer {
    let width = mix.len() / 2;
    let (keep, from_input) = mix.split_at(width);
    let mut y = Buffer::unset(x.len());
    vectorized(
        #[inline(always)]
        || {
            let rows = x.chunks_exact(width).zip(x0.chunks_exact(width));
            for ((x, x0), y) in rows.zip(y.chunks_exact_mut(width)) {
                for i in 0..width {
                    y[i] = keep[i] * x[i] + from_input[i] * x0[i];
                }
            }
        },
    );
    y
}

/// Turns `grad` into the gradient of `x`, adds to the others.
pub(super) fn mix_grad(
    x: &[f32],
    x0: &[f32],
    mix: &[f32],
    grad: &mut [f32],
    grad_x0: &mut [f32],
    grad_mix: &mut [f32],
) {
    let width = mix.len() / 2;
    let ((keep, from_input), (grad_keep, grad_from)) = (mix.split_at(width), grad_mix.split_at_mut(width));
    vectorized(
        #[inline(always)]
        || {
            let rows = x.chunks_exact(width).zip(x0.chunks_exact(width));
            let grads = grad.chunks_exact_mut(width).zip(grad_x0.chunks_exact_mut(width));
            for ((x, x0), (grad, grad_x0)) in rows.zip(grads) {
                for i in 0..width {
                    grad_keep[i] += grad[i] * x[i];
                    grad_from[i] += grad[i] * x0[i];
                    grad_x0[i] += from_input[i] * grad[i];
                    grad[i] *= keep[i];
                }
            }
        },
    );
}

/// `sigmoid(gate)`.
pub(super) fn sigmoid(gate: &[f32]) -> Vec<f32> {
    gate.iter().map(|&gate| sigmoid_of(gate)).collect()
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid_of(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Whether each token takes nothing from the one before.
fn begins(smear: Smear<'_, CpuKernels>) -> impl Fn(usize) -> bool {
    move |token| smear.begins.is_some_and(|ids| ids.get(token) == Some(&u32::from(BEGIN_ID)))
}

pub(super) fn smear(a: &[f32], smear: Smear<'_, CpuKernels>) -> Buffer {
    let (width, gate, seq_len) = (smear.gate.len(), sigmoid(smear.gate), smear.seq_len);
    let begins = begins(smear);
    let mut y = Buffer::unset(a.len());
    vectorized(
        #[inline(always)]
        || {
            let rows = a.chunks_exact(seq_len * width).zip(y.chunks_exact_mut(seq_len * width));
            for (row, (a, y)) in rows.enumerate() {
                for (y, a) in y.chunks_exact_mut(width).zip(a.chunks_exact(width)) {
                    (0..width).for_each(|i| y[i] = (1.0 - gate[i]) * a[i]);
                }
                let later = y.chunks_exact_mut(width).skip(1).zip(a.chunks_exact(width));
                for (_, (y, before)) in later.enumerate().filter(|(t, _)| !begins(row * seq_len + t + 1)) {
                    (0..width).for_each(|i| y[i] += gate[i] * before[i]);
                }
            }
        },
    );
    y
}

/// Adds to `grad_a` and `grad_gate`.
pub(super) fn smear_grad(
    a: &[f32],
    smear: Smear<'_, CpuKernels>,
    grad_y: &[f32],
    grad_a: &mut [f32],
    grad_gate: &mut [f32],
) {
    let (width, gate, seq_len) = (smear.gate.len(), sigmoid(smear.gate), smear.seq_len);
    let begins = begins(smear);
    let mut grad_sigmoid = vec![0.0f32; width];
    vectorized(
        #[inline(always)]
        || {
            let row = seq_len * width;
            let rows = a.chunks_exact(row).zip(grad_y.chunks_exact(row)).zip(grad_a.chunks_exact_mut(row));
            for (at, ((a, grad_y), grad_a)) in rows.enumerate() {
                for ((a, grad_y), grad_a) in
                    a.chunks_exact(width).zip(grad_y.chunks_exact(width)).zip(grad_a.chunks_exact_mut(width))
                {
                    for i in 0..width {
                        grad_a[i] += (1.0 - gate[i]) * grad_y[i];
                        grad_sigmoid[i] -= a[i] * grad_y[i];
                    }
                }
                let later = a.chunks_exact(width).zip(grad_y.chunks_exact(width).skip(1));
                let later = later.zip(grad_a.chunks_exact_mut(width)).enumerate();
                for (_, ((before, grad_y), grad_a)) in later.filter(|(t, _)| !begins(at * seq_len + t + 1)) {
                    for i in 0..width {
                        grad_a[i] += gate[i] * grad_y[i];
                        grad_sigmoid[i] += before[i] * grad_y[i];
                    }
                }
            }
        },
    );
    for ((grad, sum), gate) in grad_gate.iter_mut().zip(grad_sigmoid).zip(gate) {
        *grad += sum * gate * (1.0 - gate);
    }
}

/// `(max(x, 0) + slope min(x, 0))^2`.
pub(super) fn leaky_relu_squared(x: &[f32], slope: f32) -> Buffer {
    // With no slope, nothing is multiplied by it.
    if slope == 0.0 { squared(x, |x| x.max(0.0)) } else { squared(x, |x| leaky(x, slope)) }
}

/// Turns the gradient of the square into that of its argument.
pub(super) fn leaky_relu_squared_grad(x: &[f32], slope: f32, grad: &mut [f32]) {
    if slope == 0.0 {
        multiply(grad, x, |x| 2.0 * x.max(0.0));
    } else {
        multiply(grad, x, |x| 2.0 * leaky(x, slope * slope));
    }
}

#[inline(always)]
fn leaky(x: f32, slope: f32) -> f32 {
    x.max(0.0) + slope * x.min(0.0)
}

#[inline(always)]
fn squared(x: &[f32], activation: impl Fn(f32) -> f32) -> Buffer {
    let mut y = Buffer::unset(x.len());
    vectorized(
        #[inline(always)]
        || {
            for (y, x) in y.iter_mut().zip(x) {
                let active = activation(*x);
                *y = active * active;
            }
        },
    );
    y
}

#[inline(always)]
fn multiply(grad: &mut [f32], x: &[f32], slope: impl Fn(f32) -> f32) {
    vectorized(
        #[inline(always)]
        || grad.iter_mut().zip(x).for_each(|(grad, x)| *grad *= slope(*x)),
    );
}

#[cfg(test)]
mod tests {
    use super::super::differences::{close, gradients, noise};
    use super::*;

    #[test]
    fn the_square_has_the_gradient_of_its_formula() {
        let [x, grad] = ["x", "grad"].map(|name| noise(101, name));
        for slope in [0.0, 0.5, -0.25] {
            let formula = |p: &[Vec<f64>]| -> Vec<f64> {
                p[0].iter().map(|&x| if x < 0.0 { (f64::from(slope) * x).powi(2) } else { x * x }).collect()
            };
            close(&leaky_relu_squared(&x, slope), &formula(&[x.iter().map(|&x| f64::from(x)).collect()]), 1e-6);
            let mut grad_x = grad.clone();
            leaky_relu_squared_grad(&x, slope, &mut grad_x);
            close(&grad_x, &gradients(&[&x], &grad, formula)[0], 1e-5);
        }
    }
}
