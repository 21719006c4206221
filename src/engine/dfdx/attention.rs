//! Causal grouped-query attention with normalised, rotated and gained queries.

use std::rc::Rc;

use dfdx::prelude::*;

use super::activations::Probe;
use super::block::linear;
use super::fused::{causal_softmax, rms_norm, rope};
use super::weights::BlockWeights;
use super::{Matrix, Recorder};
use crate::model::{ModelConfig, RopeTables};

/// Attention of `[tokens, D]` within rows of `seq_len` tokens, output projection included.
pub(super) fn attention<T: Recorder>(
    config: &ModelConfig,
    weights: &BlockWeights,
    tables: &Rc<RopeTables>,
    x: Matrix<T>,
    seq_len: usize,
    probe: &mut Probe<'_>,
) -> Matrix<T> {
    let (tokens, dim) = *x.shape();
    let (batch, d) = (tokens / seq_len, config.head_dim());
    let (heads, kv_heads) = (config.num_heads, config.num_kv_heads);
    let group = heads / kv_heads;
    let normalise = |x: Matrix<T>, heads: usize| {
        let x = rms_norm(x.reshape_like(&(tokens * heads, d)));
        rope(x.reshape_like(&(tokens, heads * d)), tables, seq_len)
    };

    let q = normalise(linear(x.with_empty_tape(), &weights.c_q), heads).reshape_like(&(tokens, heads, d));
    let q = q * weights.q_gain.clone().broadcast_like::<_, Axes2<0, 2>>(&(tokens, heads, d));
    let k = normalise(linear(x.with_empty_tape(), &weights.c_k), kv_heads);
    let v = linear(x, &weights.c_v);

    // The queries of a group stand under one another, so that one product per key/value head serves them all
    // and keys and values are never copied.
    let q = q.reshape_like(&(batch, seq_len, kv_heads, group, d));
    let q = q.permute::<_, Axes5<0, 2, 3, 1, 4>>().reshape_like(&(batch, kv_heads, group * seq_len, d));
    probe.see("q_roped_gained", &q);
    let k = k.reshape_like(&(batch, seq_len, kv_heads, d)).permute::<_, Axes4<0, 2, 1, 3>>();
    probe.see("k_roped", &k);
    let v = v.reshape_like(&(batch, seq_len, kv_heads, d)).permute::<_, Axes4<0, 2, 1, 3>>();
    probe.see("v", &v);

    let weights_by_key = causal_softmax(q.matmul(k.permute::<_, Axes4<0, 1, 3, 2>>()), 1.0 / (d as f32).sqrt());
    let mixed = weights_by_key.matmul(v);
    probe.see("sdpa_out", &mixed);
    let mixed = mixed.reshape_like(&(batch, kv_heads, group, seq_len, d));
    let mixed = mixed.permute::<_, Axes5<0, 3, 1, 2, 4>>().reshape_like(&(tokens, dim));
    linear(mixed, &weights.attn_proj)
}
