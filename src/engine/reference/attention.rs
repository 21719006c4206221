//! Causal grouped-query attention with normalized, rotated and gained queries.

use dfdx::prelude::*;

use super::activations::Probe;
use super::block::Context;
use super::hardware::{Hardware, HeadRows};
use super::head_gate::head_gates;
use super::linear::linear;
use super::own_value::{Layout, without_own_value};
use super::value_embedding::add_to_values;
use super::weights::BlockWeights;
use super::{Matrix, Recorder, index};
use crate::model::BlockRecipe;

/// Attention of `[tokens, D]` within rows of `seq_len` tokens, output projection included.
pub(super) fn attention<D: Hardware, T: Recorder<D>>(
    weights: &BlockWeights<D>,
    context: &Context<'_, D>,
    recipe: &BlockRecipe,
    x: Matrix<D, T>,
    probe: &mut Probe<'_>,
) -> Matrix<D, T> {
    let &Context { config, tables, seq_len, .. } = context;
    let (tokens, dim) = *x.shape();
    let (batch, d) = (tokens / seq_len, config.head_dim());
    let (heads, kv_heads) = (config.num_heads, config.num_kv_heads);
    let group = heads / kv_heads;
    let normalize = |x: Matrix<D, T>, heads: usize| {
        let x = D::rms_norm(x.reshape_like(&(tokens * heads, d)));
        D::rope(x.reshape_like(&(tokens, heads * d)), tables, HeadRows { seq_len, width: d })
    };

    let gate = config.attention_gate.as_ref().zip(weights.attn_gate.as_ref());
    let gates = gate.map(|(gate, weights)| head_gates(gate, weights, x.with_empty_tape()));
    let q = normalize(linear(x.with_empty_tape(), &weights.c_q), heads).reshape_like(&(tokens, heads, d));
    let q = q * weights.q_gain.clone().broadcast_like::<_, Axes2<0, 2>>(&(tokens, heads, d));
    let k = normalize(linear(x.with_empty_tape(), &weights.c_k), kv_heads);
    let mut v = linear(x, &weights.c_v);
    if let Some((scale, embedding)) = context.value_embedding(recipe) {
        v = add_to_values(scale, embedding, v);
    }
    // Also as rows of one head, for what is taken out of the output again.
    let own = recipe.excludes_own_value.then(|| v.with_empty_tape().reshape_like(&(tokens * kv_heads, d)));

    // The queries of a group stand under one another, so that one product per key/value head serves them all
    // and keys and values are never copied.
    let q = swapped(q.reshape_like(&(tokens * heads, d)), batch, seq_len, heads);
    let q = q.reshape_like(&(batch, kv_heads, group * seq_len, d));
    probe.see("q_roped_gained", &q);
    let k = k.reshape_like(&(batch, seq_len, kv_heads, d)).permute::<_, Axes4<0, 2, 1, 3>>();
    probe.see("k_roped", &k);
    let v = v.reshape_like(&(batch, seq_len, kv_heads, d)).permute::<_, Axes4<0, 2, 1, 3>>();
    probe.see("v", &v);

    let weights_by_key = D::causal_softmax(q.matmul(k.permute::<_, Axes4<0, 1, 3, 2>>()), 1.0 / (d as f32).sqrt());
    let mut mixed = weights_by_key.matmul(v);
    probe.see("sdpa_out", &mixed);
    if let Some(own) = own {
        let (shape, layout) = (*mixed.shape(), Layout { batch, seq_len, kv_heads, group });
        mixed = without_own_value(layout, mixed.reshape_like(&(tokens * heads, d)), own).reshape_like(&shape);
    }
    let mut mixed = swapped(mixed.reshape_like(&(tokens * heads, d)), batch, heads, seq_len);
    if let Some(gates) = gates {
        let (shape, rows) = (*mixed.shape(), tokens * heads);
        mixed = mixed.reshape_like(&(rows, d)) * gates.reshape_like(&(rows,)).broadcast_like::<_, Axis<1>>(&(rows, d));
        mixed = mixed.reshape_like(&shape);
    }
    linear(mixed.reshape_like(&(tokens, dim)), &weights.attn_proj)
}

/// `[batch, n, m, width]` in the order of `[batch, m, n, width]`, both as rows.
///
/// Rows are gathered, because a permuted tensor is made contiguous on a GPU by a kernel that dfdx compiles there.
fn swapped<D: Hardware, T: Recorder<D>>(x: Matrix<D, T>, batch: usize, n: usize, m: usize) -> Matrix<D, T> {
    let rows = (0..batch * n * m).map(|row| row / (n * m) * (n * m) + row % n * m + row / n % m).collect();
    let rows = index(x.device(), rows);
    x.gather(rows)
}
