//! Softcapped logits and cross-entropy, some tokens at a time, so that the logits of a whole batch never exist.

use super::buffer::Buffer;
use super::exponential::{exp, tanh};
use super::matmul::product;
use super::matrix::{rows, rows_mut};
use super::{bf16, vectorized};
use crate::engine::network::{Linear, WriteMode};
use crate::engine::{Precision, lanes};

/// Tokens whose logits exist at once.
const TOKENS: usize = 128;

/// `z = cap * tanh(x W^T / cap)`, the product and the result rounded to that precision.
fn capped(dims: Linear, x: &[f32], head: &Buffer, cap: f32, z: &mut [f32], precision: Precision) {
    let tokens = x.len() / dims.inputs;
    match precision {
        Precision::F32 => {
            let (x, head) = (rows(x, tokens, dims.inputs), rows(head, dims.outputs, dims.inputs));
            product(x, head.transpose(), WriteMode::Overwrite, 1.0 / cap, rows_mut(z, tokens, dims.outputs));
        }
        Precision::Bf16 => {
            let head = head.packed(dims.outputs, dims.inputs);
            bf16::linear(Linear { tokens, ..dims }, x, head, 1.0 / cap, z);
        }
    }
    vectorized(
        #[inline(always)]
        || z.iter_mut().for_each(|z| *z = cap * tanh(*z)),
    );
    if precision == Precision::Bf16 {
        bf16::round(z);
    }
}

pub(super) fn logits(dims: Linear, x: &[f32], head: &Buffer, cap: f32, precision: Precision) -> Buffer {
    let mut z = Buffer::unset(dims.tokens * dims.outputs);
    capped(dims, x, head, cap, &mut z, precision);
    z
}

/// Turns a token's logits into `e^(z - max)`; returns its likelihood's negative logarithm and their sum.
#[inline(always)]
fn exponentials(z: &mut [f32], target: u32) -> (f32, f32) {
    let (largest, aimed) = (lanes::max(z), z[target as usize]);
    z.iter_mut().for_each(|z| *z = exp(*z - largest));
    let sum = lanes::sum(z);
    ((f64::from(largest) - f64::from(aimed) + libm::log(f64::from(sum))) as f32, sum)
}

pub(super) fn nll(dims: Linear, x: &[f32], head: &Buffer, cap: f32, targets: &[u32], precision: Precision) -> Buffer {
    let vocab = dims.outputs;
    let mut nll = Buffer::unset(targets.len());
    let mut z = Buffer::unset(TOKENS.min(dims.tokens) * vocab);
    let chunks = x.chunks(TOKENS * dims.inputs).zip(targets.chunks(TOKENS)).zip(nll.chunks_mut(TOKENS));
    for ((x, targets), nll) in chunks {
        let z = &mut z[..targets.len() * vocab];
        capped(dims, x, head, cap, z, precision);
        vectorized(
            #[inline(always)]
            || {
                for ((z, &target), nll) in z.chunks_exact_mut(vocab).zip(targets).zip(nll) {
                    *nll = exponentials(z, target).0;
                }
            },
        );
    }
    nll
}

#[allow(clippy::too_many_arguments)]
pub(super) fn nll_grad(
    dims: Linear,
    x: &[f32],
    head: &Buffer,
    cap: f32,
    targets: &[u32],
    weight: f32,
    grad_x: &mut [f32],
    grad_head: &mut [f32],
) -> Buffer {
    let (vocab, width) = (dims.outputs, dims.inputs);
    let mut nll = Buffer::unset(targets.len());
    let mut logits = Buffer::unset(TOKENS.min(dims.tokens) * vocab);
    let mut slopes = vec![0.0; vocab];
    let chunks = x.chunks(TOKENS * width).zip(grad_x.chunks_mut(TOKENS * width)).zip(targets.chunks(TOKENS));
    for (((x, grad_x), targets), nll) in chunks.zip(nll.chunks_mut(TOKENS)) {
        let z = &mut logits[..targets.len() * vocab];
        capped(dims, x, head, cap, z, Precision::F32);
        vectorized(
            #[inline(always)]
            || {
                for ((z, &target), nll) in z.chunks_exact_mut(vocab).zip(targets).zip(nll) {
                    // d(cap * tanh(u / cap)) / du = 1 - (z / cap)^2.
                    for (slope, z) in slopes.iter_mut().zip(z.iter()) {
                        let share = z / cap;
                        *slope = weight * (1.0 - share * share);
                    }
                    let (value, sum) = exponentials(z, target);
                    *nll = value;
                    let inverse = 1.0 / sum;
                    z.iter_mut().for_each(|z| *z *= inverse);
                    z[target as usize] -= 1.0;
                    z.iter_mut().zip(&slopes).for_each(|(z, slope)| *z *= slope);
                }
            },
        );
        let grad = rows(z, targets.len(), vocab);
        let head = rows(head, vocab, width);
        product(grad, head, WriteMode::Overwrite, 1.0, rows_mut(grad_x, targets.len(), width));
        let x = rows(x, targets.len(), width);
        product(grad.transpose(), x, WriteMode::Accumulate, 1.0, rows_mut(grad_head, vocab, width));
    }
    nll
}
