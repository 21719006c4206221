//! Heads weighed by a gate: `y_h = a sigmoid(s w_h . x[..n]) m_h` for each head's output m of a token with input x.

use super::buffer::Buffer;
use super::elementwise::sigmoid_of;
use super::vectorized;
use crate::engine::lanes;
use crate::engine::network::GateShape;

/// `sigmoid(slope * w . x)`.
#[inline(always)]
fn share(shape: GateShape, w: &[f32], x: &[f32]) -> f32 {
    sigmoid_of(shape.slope * lanes::dot(w, &x[..shape.window]))
}

pub(super) fn gate(shape: GateShape, x: &[f32], weights: &[f32], mixed: &[f32]) -> Buffer {
    let (width, heads) = (shape.width, shape.heads);
    let mut y = Buffer::unset(mixed.len());
    vectorized(
        #[inline(always)]
        || {
            let tokens = mixed.chunks_exact(heads * width).zip(y.chunks_exact_mut(heads * width));
            for ((mixed, y), x) in tokens.zip(x.chunks_exact(shape.inputs)) {
                let outputs = mixed.chunks_exact(width).zip(y.chunks_exact_mut(width));
                for ((m, y), w) in outputs.zip(weights.chunks_exact(shape.window)) {
                    let gate = shape.factor * share(shape, w, x);
                    y.iter_mut().zip(m).for_each(|(y, m)| *y = gate * m);
                }
            }
        },
    );
    y
}

/// Turns `grad` into the gradient of `mixed`; the gradient of each gate's argument `w_h . x[..n]`, `[tokens, heads]`.
pub(super) fn gate_grad(shape: GateShape, x: &[f32], weights: &[f32], mixed: &[f32], grad: &mut [f32]) -> Buffer {
    let (width, heads) = (shape.width, shape.heads);
    let mut along = Buffer::unset(mixed.len() / width);
    vectorized(
        #[inline(always)]
        || {
            let tokens = mixed.chunks_exact(heads * width).zip(grad.chunks_exact_mut(heads * width));
            let tokens = tokens.zip(along.chunks_exact_mut(heads)).zip(x.chunks_exact(shape.inputs));
            for (((mixed, grad), along), x) in tokens {
                let outputs = mixed.chunks_exact(width).zip(grad.chunks_exact_mut(width)).zip(along);
                for (((m, grad), along), w) in outputs.zip(weights.chunks_exact(shape.window)) {
                    let share = share(shape, w, x);
                    *along = lanes::dot(grad, m) * shape.factor * shape.slope * share * (1.0 - share);
                    let gate = shape.factor * share;
                    grad.iter_mut().for_each(|grad| *grad *= gate);
                }
            }
        },
    );
    along
}

/// Adds the gradients of inputs and weights, given those of the gates' arguments.
pub(super) fn gate_input_grad(
    shape: GateShape,
    [along, x, weights]: [&[f32]; 3],
    grad_x: &mut [f32],
    grad_weights: &mut [f32],
) {
    vectorized(
        #[inline(always)]
        || {
            let tokens = along.chunks_exact(shape.heads).zip(x.chunks_exact(shape.inputs));
            for ((along, x), grad_x) in tokens.zip(grad_x.chunks_exact_mut(shape.inputs)) {
                let rows = weights.chunks_exact(shape.window).zip(grad_weights.chunks_exact_mut(shape.window));
                for ((w, grad_w), along) in rows.zip(along) {
                    for i in 0..shape.window {
                        grad_x[i] += along * w[i];
                        grad_w[i] += along * x[i];
                    }
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::differences::{close, gradients, noise};
    use super::*;

    const SHAPE: GateShape = GateShape { inputs: 7, window: 3, heads: 2, width: 5, factor: 2.0, slope: 0.5 };
    const TOKENS: usize = 4;

    fn formula(p: &[Vec<f64>]) -> Vec<f64> {
        let [x, w, mixed] = p else { panic!() };
        let gate = |head: usize| {
            let (token, h) = (head / SHAPE.heads, head % SHAPE.heads);
            let z: f64 = (0..SHAPE.window).map(|i| w[h * SHAPE.window + i] * x[token * SHAPE.inputs + i]).sum();
            f64::from(SHAPE.factor) / (1.0 + (-f64::from(SHAPE.slope) * z).exp())
        };
        mixed.iter().enumerate().map(|(i, m)| gate(i / SHAPE.width) * m).collect()
    }

    #[test]
    fn outputs_and_gradients_are_those_of_the_formula() {
        let x = noise(TOKENS * SHAPE.inputs, "x");
        let (w, mixed) = (noise(SHAPE.heads * SHAPE.window, "w"), noise(TOKENS * SHAPE.heads * SHAPE.width, "mixed"));
        let grad = noise(mixed.len(), "grad");
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
        close(&gate(SHAPE, &x, &w, &mixed), &formula(&[wide(&x), wide(&w), wide(&mixed)]), 1e-6);
        let expected = gradients(&[&x, &w, &mixed], &grad, formula);
        let mut grad_mixed = grad.clone();
        let along = gate_grad(SHAPE, &x, &w, &mixed, &mut grad_mixed);
        let (mut grad_x, mut grad_w) = (vec![0.0; x.len()], vec![0.0; w.len()]);
        gate_input_grad(SHAPE, [&along, &x, &w], &mut grad_x, &mut grad_w);
        close(&grad_x, &expected[0], 1e-5);
        close(&grad_w, &expected[1], 1e-5);
        close(&grad_mixed, &expected[2], 1e-5);
        // Weights of zero with a factor of two leave everything as it is.
        assert_eq!(gate(SHAPE, &x, &[0.0; 6], &mixed)[..], mixed[..]);
    }
}
