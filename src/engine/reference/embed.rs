//! From token ids to the residual stream: embedding, bigram, norm and smear.

use dfdx::prelude::*;

use super::activations::Probe;
use super::hardware::Hardware;
use super::linear::linear;
use super::weights::Weights;
use super::{Matrix, Recorder, Vector, index};
use crate::data::BEGIN_ID;
use crate::model::{ModelConfig, bigram_rows};

/// The residual stream at the first block, `[tokens, D]`. The tape starts here.
pub(super) fn embed<D: Hardware, T: Recorder<D>>(
    config: &ModelConfig,
    weights: &Weights<D>,
    inputs: &[u16],
    seq_len: usize,
    tape: T,
    probe: &mut Probe<'_>,
) -> Matrix<D, T> {
    let dev = weights.tok_emb.device();
    let ids: Vec<usize> = inputs.iter().map(|&id| usize::from(id)).collect();
    let mut x: Matrix<D, T> = weights.tok_emb.clone().put_tape(tape).gather(index(dev, ids));
    probe.see("tok_emb_out", &x);
    if let Some(bigram) = &weights.bigram {
        let rows = inputs.chunks(seq_len).flat_map(|row| bigram_rows(row, config.bigram_vocab_size)).collect();
        let mut h: Matrix<D, T> = bigram.table.retaped::<T>().gather(index(dev, rows));
        if let Some(projection) = &bigram.projection {
            h = linear(h, projection);
        }
        let shape = *h.shape();
        let h = h * bigram.scale.clone().broadcast_like::<_, Axes2<0, 1>>(&shape);
        probe.see("bigram_out", &h);
        x = x + h;
    }
    let normed = D::rms_norm(x);
    probe.see("after_input_rmsnorm", &normed);
    let x0 = match &weights.smear_gate {
        Some(gate) => {
            let begins = |i: usize| config.smear_stops_at_begin && inputs.get(i) == Some(&BEGIN_ID);
            smear(normed, gate, |i| i.is_multiple_of(seq_len) || begins(i))
        }
        None => normed,
    };
    probe.see("x0_after_smear", &x0);
    x0
}

/// Mixes each position with the one before it: `(1 - g) * a[t] + g * a[t - 1]`, `g = sigmoid(gate)`, where none counts as
/// first.
fn smear<D: Hardware, T: Recorder<D>>(
    a: Matrix<D, T>,
    gate: &Vector<D>,
    is_first: impl Fn(usize) -> bool,
) -> Matrix<D, T> {
    let shape @ (tokens, _) = *a.shape();
    let dev = a.device().clone();
    // The first position of a window has none before it: it reads itself, times zero. A row of zeros would have to be
    // concatenated, on a GPU by a kernel that dfdx compiles there.
    let before = (0..tokens).map(|i| if is_first(i) { i } else { i - 1 }).collect();
    let exists = (0..tokens).map(|i| if is_first(i) { 0.0 } else { 1.0 }).collect();
    let exists: Vector<D> = dev.tensor_from_vec(exists, (tokens,));
    let previous: Matrix<D, T> = a.with_empty_tape().gather(index(&dev, before));
    let previous = previous * exists.broadcast_like::<_, Axis<1>>(&shape);
    let gate = gate.retaped::<T>().sigmoid();
    let keep = gate.with_empty_tape().negate() + 1.0;
    a * keep.broadcast_like::<_, Axis<0>>(&shape) + previous * gate.broadcast_like::<_, Axis<0>>(&shape)
}
