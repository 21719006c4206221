//! Causal attention with bfloat16 products.
//!
//! As PyTorch's own kernel has it: scores and softmax in single precision, weights rounded to bfloat16 before they are
//! divided by their sum, that sum over the weights before rounding.

use super::tiles::{Block, DEPTH, PANEL, Right, Rows, SIDE, Tile, narrow, pack_left, place_row, zeros};
use super::{Unit, nearest};
use crate::engine::cpu::buffer::Buffer;
use crate::engine::cpu::exponential::exp;
use crate::engine::cpu::vectorized;
use crate::engine::lanes;
use crate::engine::network::Heads;

/// Attention's output `[queries, heads * width]`, rounded, and the logarithm of each softmax denominator.
pub(in crate::engine::cpu) fn attention(heads: Heads, [q, k, v]: [&Buffer; 3]) -> (Buffer, Buffer) {
    let Heads { seq_len, width, first_query, .. } = heads;
    let (queries, group) = (heads.queries(), heads.heads / heads.kv_heads);
    let (stride, kv_stride) = (heads.heads * width, heads.kv_heads * width);
    let rows = k.len() / (seq_len * kv_stride);
    let scale = heads.score_scale();
    let (mut mixed, mut lse) = (Buffer::unset(q.len()), Buffer::unset(q.len() / width));
    let (mut keys, mut values) = (Right::zeros(seq_len, width), Right::zeros(width, seq_len));
    let mut query = zeros(2 * width.div_ceil(DEPTH));
    let mut weights = zeros(2 * seq_len.div_ceil(DEPTH));
    let mut scores = Buffer::unset(PANEL * seq_len.next_multiple_of(PANEL));
    let (unit, mut block) = (Unit::new(), Block::zeros());
    for (row, kv_head) in (0..rows).flat_map(|row| (0..heads.kv_heads).map(move |kv_head| (row, kv_head))) {
        let lie = |values| Rows { values, count: seq_len, width, stride: kv_stride };
        let place = row * seq_len * kv_stride + kv_head * width;
        keys.fill(lie(&k[place..]));
        values.fill_transposed(lie(&v[place..]));
        for head in kv_head * group..(kv_head + 1) * group {
            for start in (0..queries).step_by(PANEL) {
                let first = row * queries + start;
                let (count, seen) = (PANEL.min(queries - start), first_query + start + 1);
                let place = first * stride + head * width;
                pack_left(Rows { values: &q[place..], count, width, stride }, 0, &mut query);
                let panels = (seen + count - 1).div_ceil(PANEL);
                let scores = &mut scores[..PANEL * panels * PANEL];
                for panel in 0..panels {
                    unit.block(halves(&query), keys.panel(panel), &mut block);
                    place_scores(&block, panel, panels, scale, scores);
                }
                let weights = &mut weights[..2 * panels];
                let mut sums = [(0.0, 1.0); PANEL];
                softmax(scores, panels * PANEL, seen, count, weights, &mut sums);
                for (i, (largest, sum)) in sums[..count].iter().enumerate() {
                    lse[(first + i) * heads.heads + head] = largest + libm::logf(*sum);
                }
                for panel in 0..width.div_ceil(PANEL) {
                    let columns = panel * PANEL..width.min((panel + 1) * PANEL);
                    unit.block(halves(weights), values.panel(panel).map(|run| &run[..panels]), &mut block);
                    let out = &mut mixed[place + columns.start..];
                    place_mixed(&block, &sums[..count], columns.len(), stride, out);
                }
            }
        }
    }
    (mixed, lse)
}

/// The runs of the two halves of a panel of rows.
fn halves(tiles: &[Tile]) -> [&[Tile]; 2] {
    let (top, bottom) = tiles.split_at(tiles.len() / 2);
    [top, bottom]
}

fn place_scores(block: &Block, panel: usize, panels: usize, scale: f32, scores: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            for (row, scores) in block.rows().zip(scores.chunks_exact_mut(panels * PANEL)) {
                let scores = &mut scores[panel * PANEL..][..PANEL];
                scores.iter_mut().zip(row).for_each(|(score, product)| *score = product * scale);
            }
        },
    );
}

fn place_mixed(block: &Block, sums: &[(f32, f32)], columns: usize, stride: usize, out: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            for (i, (row, (_, sum))) in block.rows().zip(sums).enumerate() {
                let inverse = 1.0 / sum;
                let out = &mut out[i * stride..][..columns];
                out.iter_mut().zip(row).for_each(|(out, value)| *out = nearest(value * inverse));
            }
        },
    );
}

/// Turns scores into weights, not yet divided by their sum; gives each row's largest score and that sum.
///
/// The first row sees `seen` keys and each one more than the last. Rows from `count` on are nobody's.
fn softmax(
    scores: &mut [f32],
    keys: usize,
    seen: usize,
    count: usize,
    weights: &mut [Tile],
    sums: &mut [(f32, f32); PANEL],
) {
    let steps = weights.len() / 2;
    let mut operands = vec![0; keys];
    vectorized(
        #[inline(always)]
        || {
            for (i, (scores, sum)) in scores.chunks_exact_mut(keys).zip(sums).enumerate() {
                let run = &mut weights[i / SIDE * steps..][..steps];
                let place = i % SIDE * (DEPTH / 2);
                if i >= count {
                    run.iter_mut().for_each(|tile| tile.0[place..place + DEPTH / 2].fill(0));
                    continue;
                }
                let (visible, hidden) = scores.split_at_mut(seen + i);
                let largest = lanes::max(visible);
                visible.iter_mut().for_each(|score| *score = exp(*score - largest));
                hidden.fill(0.0);
                *sum = (largest, lanes::sum(visible));
                narrow(scores, &mut operands);
                place_row(&operands, run, place);
            }
        },
    );
}
