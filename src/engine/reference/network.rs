//! The forward pass.

use std::rc::Rc;

use dfdx::prelude::*;

use super::activations::Probe;
use super::block::{Context, Streams, block};
use super::embed::embed;
use super::hardware::Hardware;
use super::linear::linear;
use super::skip::add_skip;
use super::value_embedding::{scalar_times, value_embedding};
use super::weights::Weights;
use super::{Matrix, Recorder, Vector, index};
use crate::model::{Graph, ModelConfig, RopeTables};

/// Softcapped logits `[tokens, V]` of rows of `seq_len` tokens.
pub(super) fn logits<D: Hardware, T: Recorder<D>>(
    config: &ModelConfig,
    weights: &Weights<D>,
    inputs: &[u16],
    seq_len: usize,
    tape: T,
    probe: &mut Probe<'_>,
) -> Matrix<D, T> {
    let tables = &Rc::new(RopeTables::new(config, seq_len));
    let (x0, mut tape) = embed(config, weights, inputs, seq_len, tape, probe).split_tape();
    let values = value_embedding::<D, T>(weights, inputs).map(|(values, recorded)| {
        tape = std::mem::take(&mut tape).merge(recorded);
        values
    });
    let context = &Context { config, weights, tables, seq_len, x0: &x0, values: values.as_ref() };
    let graph = Graph::new(config);
    let split = graph.split();

    let mut outputs: Vec<Matrix<D>> = Vec::new();
    let mut streams = Streams { first: x0.clone().put_tape(tape), second: None };
    for (i, visit) in graph.visits.iter().enumerate() {
        if let Some(skip) = visit.skip
            && let Some(output) = outputs.get(skip.from)
        {
            streams.first = add_skip(weights, skip, streams.first, output);
        }
        if split == Some(i) {
            let (x, tape) = streams.first.split_tape();
            streams = Streams { second: Some(x.clone()), first: x.put_tape(tape) };
        }
        probe.fused_mix_rms_norm_rows(i);
        let Some(weights) = weights.blocks.get(visit.block) else { continue };
        streams = block(context, weights, &visit.recipe, streams, probe);
        if i < graph.encoder {
            let (output, tape) = streams.first.split_tape();
            outputs.push(output.clone());
            streams.first = output.put_tape(tape);
        }
    }
    let x = merged(weights, streams);

    probe.leave_blocks();
    let normed = D::rms_norm(x);
    probe.see("final_norm_out", &normed);
    let cap = config.logit_softcap as f32;
    (linear(normed, &weights.head) / cap).tanh() * cap
}

/// The stream, or `m` of the first and `1 - m` of the second.
fn merged<D: Hardware, T: Recorder<D>>(weights: &Weights<D>, streams: Streams<D, T>) -> Matrix<D, T> {
    let Streams { first, second } = streams;
    let (Some(second), Some(share)) = (second, &weights.lane_merge) else { return first };
    let shape = *first.shape();
    let rest = (share.retaped::<T>().negate() + 1.0).broadcast_like::<_, Axes2<0, 1>>(&shape);
    scalar_times(share, first) + rest * second
}

/// Negative log-likelihood of each target, nats.
pub(super) fn nll<D: Hardware, T: Recorder<D>>(logits: Matrix<D, T>, targets: &[u16]) -> Vector<D, T> {
    let targets = index(logits.device(), targets.iter().map(|&id| usize::from(id)).collect());
    logits.log_softmax::<Axis<1>>().select(targets).negate()
}
