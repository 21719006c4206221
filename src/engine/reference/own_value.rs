//! Attention's output without what points along the query's own value (XSA, PR 287).

use dfdx::prelude::*;

use super::hardware::Hardware;
use super::linear::row_sums;
use super::{Matrix, Recorder, index};

/// Square of the least length that a value is divided by: PyTorch's `normalize` with its default of 1e-12.
const LEAST_SQUARE: f32 = 1e-24;

/// Rows of a batch and the heads in them.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub batch: usize,
    pub seq_len: usize,
    pub kv_heads: usize,
    /// Query heads of a key/value head.
    pub group: usize,
}

/// `y - (y . u) u` for every query's output `y`, with `u = v / max(|v|, 1e-12)` of its own position and key/value head.
///
/// `mixed` is `[batch * kv heads * group * seq_len, d]`, `values` is `[batch * seq_len * kv heads, d]`.
pub(super) fn without_own_value<D: Hardware, T: Recorder<D>>(
    layout: Layout,
    mixed: Matrix<D, T>,
    values: Matrix<D, T>,
) -> Matrix<D, T> {
    let Layout { batch, seq_len, kv_heads, group } = layout;
    let shape = *values.shape();
    let square = row_sums(values.with_empty_tape().square()).clamp(LEAST_SQUARE, f32::MAX);
    let unit = values / square.sqrt().broadcast_like::<_, Axis<1>>(&shape);
    let of_query = |row: usize| {
        let (at, position) = (row / (group * seq_len), row % seq_len);
        (at / kv_heads * seq_len + position) * kv_heads + at % kv_heads
    };
    let rows = (0..batch * kv_heads * group * seq_len).map(of_query).collect();
    let rows = index(unit.device(), rows);
    let unit: Matrix<D, T> = unit.gather(rows);
    let shape = *mixed.shape();
    let along = row_sums(mixed.with_empty_tape() * unit.with_empty_tape()).broadcast_like::<_, Axis<1>>(&shape);
    mixed - unit * along
}
