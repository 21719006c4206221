//! From token ids to the residual stream: embedding, bigram, norm and smear.

use dfdx::prelude::*;

use super::activations::Probe;
use super::block::linear;
use super::fused::rms_norm;
use super::weights::Weights;
use super::{Matrix, Recorder};
use crate::model::{ModelConfig, bigram_rows};

/// The residual stream at the first block, `[tokens, D]`. The tape starts here.
pub(super) fn embed<T: Recorder>(
    config: &ModelConfig,
    weights: &Weights,
    inputs: &[u16],
    seq_len: usize,
    tape: T,
    probe: &mut Probe<'_>,
) -> Matrix<T> {
    let dev = weights.tok_emb.device();
    let ids: Vec<usize> = inputs.iter().map(|&id| usize::from(id)).collect();
    let mut x: Matrix<T> = weights.tok_emb.clone().put_tape(tape).gather(index(dev, ids));
    probe.see("tok_emb_out", &x);
    if let Some(bigram) = &weights.bigram {
        let rows = inputs.chunks(seq_len).flat_map(|row| bigram_rows(row, config.bigram_vocab_size)).collect();
        let mut h: Matrix<T> = bigram.table.retaped::<T>().gather(index(dev, rows));
        if let Some(projection) = &bigram.projection {
            h = linear(h, projection);
        }
        let shape = *h.shape();
        let h = h * bigram.scale.clone().broadcast_like::<_, Axes2<0, 1>>(&shape);
        probe.see("bigram_out", &h);
        x = x + h;
    }
    let normed = rms_norm(x);
    probe.see("after_input_rmsnorm", &normed);
    let x0 = smear(normed, weights, seq_len);
    probe.see("x0_after_smear", &x0);
    x0
}

/// Mixes each position with the one before it: `(1 - g) * a[t] + g * a[t - 1]`, `g = sigmoid(gate)`, `a[-1] = 0`.
fn smear<T: Recorder>(a: Matrix<T>, weights: &Weights, seq_len: usize) -> Matrix<T> {
    let shape @ (tokens, dim) = *a.shape();
    let dev = a.device().clone();
    // Row `tokens` of the extended matrix is the zero before every window.
    let before = (0..tokens).map(|i| if i % seq_len == 0 { tokens } else { i - 1 }).collect();
    let zero: Matrix = dev.zeros_like(&(1, dim));
    let previous: Matrix<T> = (a.with_empty_tape(), zero).concat_along(Axis::<0>).gather(index(&dev, before));
    let gate = weights.smear_gate.retaped::<T>().sigmoid();
    let keep = gate.with_empty_tape().negate() + 1.0;
    a * keep.broadcast_like::<_, Axis<0>>(&shape) + previous * gate.broadcast_like::<_, Axis<0>>(&shape)
}

/// Row numbers as a tensor.
fn index(dev: &Cpu, rows: Vec<usize>) -> Tensor<(usize,), usize, Cpu> {
    let len = rows.len();
    dev.tensor_from_vec(rows, (len,))
}
