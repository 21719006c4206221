//! A skip weighed against the stream by a gate: `x = g x + (1 - g) w y` by channel, `g = sigmoid(gate)`.

use super::elementwise::sigmoid;
use super::vectorized;

pub(super) fn add(y: &[f32], weights: &[f32], gates: &[f32], x: &mut [f32]) {
    let (width, gates) = (weights.len(), sigmoid(gates));
    vectorized(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
                for i in 0..width {
                    x[i] = gates[i] * x[i] + (1.0 - gates[i]) * (weights[i] * y[i]);
                }
            }
        },
    );
}

/// Turns `grad` into the gradient of `x`, given as it was before; replaces `grad_y`, adds to the channels' gradients.
pub(super) fn add_grad(
    [x, y]: [&[f32]; 2],
    [weights, gates]: [&[f32]; 2],
    grad: &mut [f32],
    grad_y: &mut [f32],
    [grad_weights, grad_gates]: [&mut [f32]; 2],
) {
    let (width, gates) = (weights.len(), sigmoid(gates));
    let (mut by_weight, mut by_gate) = (vec![0.0f32; width], vec![0.0f32; width]);
    vectorized(
        #[inline(always)]
        || {
            let rows = x.chunks_exact(width).zip(y.chunks_exact(width));
            let grads = grad.chunks_exact_mut(width).zip(grad_y.chunks_exact_mut(width));
            for ((x, y), (grad, grad_y)) in rows.zip(grads) {
                for i in 0..width {
                    by_weight[i] += grad[i] * y[i];
                    by_gate[i] += grad[i] * (x[i] - weights[i] * y[i]);
                    grad_y[i] = (1.0 - gates[i]) * weights[i] * grad[i];
                    grad[i] *= gates[i];
                }
            }
        },
    );
    for i in 0..width {
        grad_weights[i] += (1.0 - gates[i]) * by_weight[i];
        grad_gates[i] += gates[i] * (1.0 - gates[i]) * by_gate[i];
    }
}

#[cfg(test)]
mod tests {
    use super::super::differences::{close, gradients, noise};
    use super::*;

    #[test]
    fn gradients_are_those_of_the_formula() {
        let (rows, width) = (5, 19);
        let [x, y, grad] = ["x", "y", "grad"].map(|name| noise(rows * width, name));
        let [weights, gates] = ["weights", "gates"].map(|name| noise(width, name));
        let formula = |p: &[Vec<f64>]| -> Vec<f64> {
            let at = |i: usize| {
                let g = 1.0 / (1.0 + (-p[3][i % width]).exp());
                g * p[0][i] + (1.0 - g) * p[2][i % width] * p[1][i]
            };
            (0..rows * width).map(at).collect()
        };
        let arguments = [&x, &y, &weights, &gates];
        let mut found = x.clone();
        add(&y, &weights, &gates, &mut found);
        close(&found, &formula(&arguments.map(|values| values.iter().map(|&v| f64::from(v)).collect())), 1e-6);

        let expected = gradients(&arguments, &grad, formula);
        let (mut grad_x, mut grad_y) = (grad.clone(), vec![7.0; x.len()]);
        let (mut grad_weights, mut grad_gates) = (vec![0.0; width], vec![0.0; width]);
        add_grad([&x, &y], [&weights, &gates], &mut grad_x, &mut grad_y, [&mut grad_weights, &mut grad_gates]);
        for (found, expected) in [grad_x, grad_y, grad_weights, grad_gates].iter().zip(&expected) {
            close(found, expected, 1e-5);
        }
    }
}
