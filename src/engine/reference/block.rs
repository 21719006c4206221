//! One transformer block.

use std::rc::Rc;

use dfdx::prelude::*;

use super::activations::Probe;
use super::attention::attention;
use super::hardware::Hardware;
use super::linear::{channels, linear, row, scaled};
use super::weights::BlockWeights;
use super::{Matrix, Recorder};
use crate::model::{ModelConfig, RopeTables};

/// Mixes in the network's input `x0`, then adds attention and MLP, each scaled by channel.
pub(super) fn block<D: Hardware, T: Recorder<D>>(
    config: &ModelConfig,
    weights: &BlockWeights<D>,
    tables: &Rc<RopeTables>,
    x: Matrix<D, T>,
    x0: &Matrix<D>,
    seq_len: usize,
    probe: &mut Probe<'_>,
) -> Matrix<D, T> {
    probe.see("in", &x);
    let from_input = scaled(row::<D, T>(&weights.resid_mix, 1), x0);
    let x = channels(x, row::<D, T>(&weights.resid_mix, 0)) + from_input;
    let attended = attention(config, weights, tables, D::rms_norm(x.with_empty_tape()), seq_len, probe);
    probe.see("attn_out", &attended);
    let x = x + channels(attended, weights.attn_scale.retaped::<T>());
    let hidden = linear(D::rms_norm(x.with_empty_tape()), &weights.fc).relu().square();
    let output = linear(hidden, &weights.mlp_proj);
    probe.see("mlp_out", &output);
    let x = x + channels(output, weights.mlp_scale.retaped::<T>());
    probe.see("out", &x);
    x
}
