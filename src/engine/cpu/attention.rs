//! Causal attention, a block of queries at a time.
//!
//! A block's scores against all the keys it can see fit in a core's cache, so each is made, normalized and used
//! in one go; the whole square of scores never exists. Keys and values are read where they lie, by every query
//! head of their group.

use super::buffer::Buffer;
use super::matmul::product;
use super::matrix::{strided, strided_mut};
use super::softmax::{BLOCK, softmax, softmax_grad};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::tiles;
use super::vectorized;
use crate::engine::network::{Heads, WriteMode};

/// One block of queries of one head in one row of the batch, as offsets into the activations.
struct Block {
    /// First query, counted from `first_query`.
    start: usize,
    /// Queries in it.
    len: usize,
    /// Keys its last query sees.
    keys: usize,
    query: usize,
    key: usize,
    lse: usize,
}

/// Every block, in a fixed order.
fn blocks(heads: Heads, rows: usize) -> impl Iterator<Item = Block> {
    let (queries, group) = (heads.queries(), heads.heads / heads.kv_heads);
    let width = heads.width;
    (0..rows).flat_map(move |row| {
        (0..heads.heads).flat_map(move |head| {
            (0..queries).step_by(BLOCK).map(move |start| {
                let len = BLOCK.min(queries - start);
                let first = row * queries + start;
                Block {
                    start,
                    len,
                    keys: heads.first_query + start + len,
                    query: (first * heads.heads + head) * width,
                    key: (row * heads.seq_len * heads.kv_heads + head / group) * width,
                    lse: first * heads.heads + head,
                }
            })
        })
    })
}

/// Attention's output `[queries, heads * width]` and the logarithm of each softmax denominator `[queries, heads]`.
pub(super) fn attention(heads: Heads, [q, k, v]: [&Buffer; 3]) -> (Buffer, Buffer) {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if let Some(result) = tiles::attention(heads, [q, k, v]) {
        return result;
    }
    let rows = k.len() / (heads.seq_len * heads.kv_heads * heads.width);
    let (stride, kv_stride, width) = (heads.heads * heads.width, heads.kv_heads * heads.width, heads.width);
    let scale = heads.score_scale();
    let mut mixed = Buffer::unset(q.len());
    let mut lse = Buffer::unset(q.len() / width);
    let mut scores = Buffer::unset(BLOCK * heads.seq_len);
    for b in blocks(heads, rows) {
        let query = strided(&q[b.query..], b.len, width, stride);
        let (key, value) =
            (strided(&k[b.key..], b.keys, width, kv_stride), strided(&v[b.key..], b.keys, width, kv_stride));
        let scores = &mut scores[..b.len * b.keys];
        product(query, key.transpose(), WriteMode::Overwrite, scale, strided_mut(scores, b.len, b.keys, b.keys));
        vectorized(
            #[inline(always)]
            || {
                for (i, row) in scores.chunks_exact_mut(b.keys).enumerate() {
                    lse[b.lse + i * heads.heads] = softmax(row, heads.first_query + b.start + i + 1);
                }
            },
        );
        let out = strided_mut(&mut mixed[b.query..], b.len, width, stride);
        product(strided(scores, b.len, b.keys, b.keys), value, WriteMode::Overwrite, 1.0, out);
    }
    (mixed, lse)
}

/// Gradients of queries, keys and values. All queries of a row must be present.
pub(super) fn attention_grad(
    heads: Heads,
    [q, k, v]: [&Buffer; 3],
    [mixed, lse]: [&Buffer; 2],
    grad: &[f32],
) -> [Buffer; 3] {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if let Some(result) = tiles::attention_grad(heads, [q, k, v], [mixed, lse], grad) {
        return result;
    }
    let rows = k.len() / (heads.seq_len * heads.kv_heads * heads.width);
    let (stride, kv_stride, width) = (heads.heads * heads.width, heads.kv_heads * heads.width, heads.width);
    let scale = heads.score_scale();
    let [mut grad_q, mut grad_k, mut grad_v] = [Buffer::unset(q.len()), Buffer::zeros(k.len()), Buffer::zeros(v.len())];
    let mut weights = Buffer::unset(BLOCK * heads.seq_len);
    let mut grad_weights = Buffer::unset(BLOCK * heads.seq_len);
    for b in blocks(heads, rows) {
        let query = strided(&q[b.query..], b.len, width, stride);
        let grad_out = strided(&grad[b.query..], b.len, width, stride);
        let (key, value) =
            (strided(&k[b.key..], b.keys, width, kv_stride), strided(&v[b.key..], b.keys, width, kv_stride));
        let (weights, grad_weights) = (&mut weights[..b.len * b.keys], &mut grad_weights[..b.len * b.keys]);
        product(query, key.transpose(), WriteMode::Overwrite, scale, strided_mut(weights, b.len, b.keys, b.keys));
        product(
            grad_out,
            value.transpose(),
            WriteMode::Overwrite,
            1.0,
            strided_mut(grad_weights, b.len, b.keys, b.keys),
        );
        vectorized(
            #[inline(always)]
            || {
                let both = weights.chunks_exact_mut(b.keys).zip(grad_weights.chunks_exact_mut(b.keys));
                for (i, (weights, grads)) in both.enumerate() {
                    let token = b.query + i * stride..b.query + i * stride + width;
                    let lse = lse[b.lse + i * heads.heads];
                    let seen = heads.first_query + b.start + i + 1;
                    softmax_grad(weights, grads, seen, lse, (&mixed[token.clone()], &grad[token]));
                }
            },
        );
        let weights = strided(weights, b.len, b.keys, b.keys);
        let grads = strided(grad_weights, b.len, b.keys, b.keys);
        product(grads, key, WriteMode::Overwrite, scale, strided_mut(&mut grad_q[b.query..], b.len, width, stride));
        let out = strided_mut(&mut grad_k[b.key..], b.keys, width, kv_stride);
        product(grads.transpose(), query, WriteMode::Accumulate, scale, out);
        let out = strided_mut(&mut grad_v[b.key..], b.keys, width, kv_stride);
        product(weights.transpose(), grad_out, WriteMode::Accumulate, 1.0, out);
    }
    [grad_q, grad_k, grad_v]
}
