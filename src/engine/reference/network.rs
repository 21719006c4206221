//! The forward pass.

use std::rc::Rc;

use dfdx::prelude::*;

use super::activations::Probe;
use super::block::block;
use super::embed::embed;
use super::hardware::Hardware;
use super::linear::{linear, row, scaled};
use super::weights::Weights;
use super::{Matrix, Recorder, Vector, index};
use crate::model::{ModelConfig, RopeTables};

/// Softcapped logits `[tokens, V]` of rows of `seq_len` tokens.
pub(super) fn logits<D: Hardware, T: Recorder<D>>(
    config: &ModelConfig,
    weights: &Weights<D>,
    inputs: &[u16],
    seq_len: usize,
    tape: T,
    probe: &mut Probe<'_>,
) -> Matrix<D, T> {
    let tables = Rc::new(RopeTables::new(config, seq_len));
    let (x0, tape) = embed(config, weights, inputs, seq_len, tape, probe).split_tape();
    let mut x = x0.clone().put_tape(tape);
    let (encoder, decoder) = weights.blocks.split_at(config.num_layers / 2);

    // U-Net: decoder block j adds the output of encoder block E - 1 - j. With an odd number of layers the last
    // decoder block finds the stack empty.
    let mut outputs = Vec::new();
    for (i, weights) in encoder.iter().enumerate() {
        probe.fused_mix_rms_norm_rows(i);
        x = block(config, weights, &tables, x, &x0, seq_len, probe);
        let (output, tape) = x.split_tape();
        outputs.push(output.clone());
        x = output.put_tape(tape);
    }
    for (j, weights_of_block) in decoder.iter().enumerate() {
        if let Some(output) = outputs.pop() {
            x = x + scaled(row::<D, T>(&weights.skip_weights, j), &output);
        }
        probe.fused_mix_rms_norm_rows(encoder.len() + j);
        x = block(config, weights_of_block, &tables, x, &x0, seq_len, probe);
    }

    probe.leave_blocks();
    let normed = D::rms_norm(x);
    probe.see("final_norm_out", &normed);
    let cap = config.logit_softcap as f32;
    (linear(normed, &weights.head) / cap).tanh() * cap
}

/// Negative log-likelihood of each target, nats.
pub(super) fn nll<D: Hardware, T: Recorder<D>>(logits: Matrix<D, T>, targets: &[u16]) -> Vector<D, T> {
    let targets = index(logits.device(), targets.iter().map(|&id| usize::from(id)).collect());
    logits.log_softmax::<Axis<1>>().select(targets).negate()
}
