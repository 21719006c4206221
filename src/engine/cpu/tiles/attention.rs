//! Causal attention on tiles: keys and values are packed once for all query heads of their group.

use super::pack::Packed;
use super::product::multiply;
use super::unit::{SIDE, Tiles};
use crate::engine::cpu::buffer::Buffer;
use crate::engine::cpu::matrix::{MatrixMut, strided, strided_mut};
use crate::engine::cpu::softmax::{BLOCK, softmax, softmax_grad};
use crate::engine::cpu::vectorized;
use crate::engine::network::{Heads, WriteMode};

/// Where one query head's block of queries lies.
struct Place {
    /// First query, counted from `first_query`.
    start: usize,
    /// Queries in it.
    len: usize,
    /// Keys its last query sees.
    keys: usize,
    /// Offset of its first query in the activations.
    query: usize,
    /// Offset of its first logarithm.
    lse: usize,
}

/// Every key/value head of every row with the offset of its first key, and each of its query heads.
fn groups(heads: Heads, rows: usize) -> impl Iterator<Item = (usize, impl Iterator<Item = (usize, usize)>)> {
    let group = heads.heads / heads.kv_heads;
    (0..rows).flat_map(move |row| {
        (0..heads.kv_heads).map(move |kv| {
            let key = (row * heads.seq_len * heads.kv_heads + kv) * heads.width;
            (key, (kv * group..(kv + 1) * group).map(move |head| (row, head)))
        })
    })
}

/// Blocks of queries of one head in one row.
fn places(heads: Heads, row: usize, head: usize) -> impl Iterator<Item = Place> {
    let queries = heads.queries();
    (0..queries).step_by(BLOCK).map(move |start| {
        let len = BLOCK.min(queries - start);
        let lse = (row * queries + start) * heads.heads + head;
        Place { start, len, keys: heads.first_query + start + len, query: lse * heads.width, lse }
    })
}

/// As `cpu::attention`; nothing where there are no tiles.
pub fn attention(heads: Heads, [q, k, v]: [&Buffer; 3]) -> Option<(Buffer, Buffer)> {
    let tiles = Tiles::start()?;
    let rows = k.len() / (heads.seq_len * heads.kv_heads * heads.width);
    let (stride, kv_stride, width) = (heads.heads * heads.width, heads.kv_heads * heads.width, heads.width);
    let scale = heads.score_scale();
    let mut mixed = Buffer::unset(q.len());
    let mut lse = Buffer::unset(q.len() / width);
    let across = heads.seq_len.next_multiple_of(SIDE);
    let mut scores = Buffer::unset(BLOCK * across);
    for (key, query_heads) in groups(heads, rows) {
        let keys = Packed::right(strided(&k[key..], heads.seq_len, width, kv_stride).transpose(), 1.0);
        let values = Packed::right(strided(&v[key..], heads.seq_len, width, kv_stride), 1.0);
        for b in query_heads.flat_map(|(row, head)| places(heads, row, head)) {
            let query = Packed::left(strided(&q[b.query..], b.len, width, stride), scale);
            let out = MatrixMut::new(&mut scores, b.len, b.keys, across);
            multiply(&tiles, (&query, 0..query.steps()), (&keys, 0..keys.steps()), WriteMode::Overwrite, out);
            vectorized(
                #[inline(always)]
                || {
                    for (i, row) in scores.chunks_exact_mut(across).take(b.len).enumerate() {
                        let seen = heads.first_query + b.start + i + 1;
                        lse[b.lse + i * heads.heads] = softmax(&mut row[..b.keys], seen);
                    }
                },
            );
            let weights = Packed::left(strided(&scores, b.len, b.keys, across), 1.0);
            let out = strided_mut(&mut mixed[b.query..], b.len, width, stride);
            let steps = weights.steps();
            multiply(&tiles, (&weights, 0..steps), (&values, 0..steps), WriteMode::Overwrite, out);
        }
    }
    Some((mixed, lse))
}

/// As `cpu::attention_grad`; nothing where there are no tiles.
///
/// The gradients of keys and values are made lying on their side, `[width, keys]`: so the blocks of weights are right
/// factors as they are.
pub fn attention_grad(
    heads: Heads,
    [q, k, v]: [&Buffer; 3],
    [mixed, lse]: [&Buffer; 2],
    grad: &[f32],
) -> Option<[Buffer; 3]> {
    let tiles = Tiles::start()?;
    let rows = k.len() / (heads.seq_len * heads.kv_heads * heads.width);
    let (stride, kv_stride, width) = (heads.heads * heads.width, heads.kv_heads * heads.width, heads.width);
    let scale = heads.score_scale();
    let [mut grad_q, mut grad_k, mut grad_v] = [Buffer::unset(q.len()), Buffer::unset(k.len()), Buffer::unset(v.len())];
    let (across, queries) = (heads.seq_len.next_multiple_of(SIDE), heads.queries());
    let (mut weights, mut grad_weights) = (Buffer::unset(BLOCK * across), Buffer::unset(BLOCK * across));
    for (key, query_heads) in groups(heads, rows) {
        let along = strided(&k[key..], heads.seq_len, width, kv_stride);
        let (keys, keys_across) = (Packed::right(along, scale), Packed::right(along.transpose(), 1.0));
        let values = Packed::right(strided(&v[key..], heads.seq_len, width, kv_stride).transpose(), 1.0);
        let (mut sum_k, mut sum_v) = (Buffer::zeros(width * across), Buffer::zeros(width * across));
        for (row, head) in query_heads {
            let first = (row * queries * heads.heads + head) * width;
            let query_lying = Packed::left(strided(&q[first..], queries, width, stride).transpose(), scale);
            let grad_lying = Packed::left(strided(&grad[first..], queries, width, stride).transpose(), 1.0);
            for b in places(heads, row, head) {
                let query = Packed::left(strided(&q[b.query..], b.len, width, stride), scale);
                let out = MatrixMut::new(&mut weights, b.len, b.keys, across);
                multiply(
                    &tiles,
                    (&query, 0..query.steps()),
                    (&keys_across, 0..query.steps()),
                    WriteMode::Overwrite,
                    out,
                );
                let grad_out = Packed::left(strided(&grad[b.query..], b.len, width, stride), 1.0);
                let out = MatrixMut::new(&mut grad_weights, b.len, b.keys, across);
                multiply(&tiles, (&grad_out, 0..query.steps()), (&values, 0..query.steps()), WriteMode::Overwrite, out);
                vectorized(
                    #[inline(always)]
                    || {
                        let both = weights.chunks_exact_mut(across).zip(grad_weights.chunks_exact_mut(across));
                        for (i, (weights, grads)) in both.take(b.len).enumerate() {
                            let token = b.query + i * stride..b.query + i * stride + width;
                            let seen = heads.first_query + b.start + i + 1;
                            let lse = lse[b.lse + i * heads.heads];
                            let out = (&mixed[token.clone()], &grad[token]);
                            softmax_grad(&mut weights[..b.keys], &mut grads[..b.keys], seen, lse, out);
                        }
                    },
                );
                let (weights, grads) =
                    (strided(&weights, b.len, b.keys, across), strided(&grad_weights, b.len, b.keys, across));
                let left = Packed::left(grads, 1.0);
                let out = strided_mut(&mut grad_q[b.query..], b.len, width, stride);
                multiply(&tiles, (&left, 0..left.steps()), (&keys, 0..left.steps()), WriteMode::Overwrite, out);
                let steps = b.start / SIDE..(b.start + b.len).div_ceil(SIDE);
                for (sum, left, right) in [(&mut sum_k, &query_lying, grads), (&mut sum_v, &grad_lying, weights)] {
                    let right = Packed::right(right, 1.0);
                    let out = MatrixMut::new(sum, width, b.keys, across);
                    multiply(&tiles, (left, steps.clone()), (&right, 0..right.steps()), WriteMode::Accumulate, out);
                }
            }
        }
        for (sum, out) in [(&sum_k, &mut grad_k), (&sum_v, &mut grad_v)] {
            for (position, token) in out[key..].chunks_mut(kv_stride).take(heads.seq_len).enumerate() {
                token[..width].iter_mut().zip(sum.chunks_exact(across)).for_each(|(out, row)| *out = row[position]);
            }
        }
    }
    Some([grad_q, grad_k, grad_v])
}
