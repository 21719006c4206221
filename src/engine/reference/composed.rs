//! The operations of [`fused`](super::fused) made of dfdx's own, for a device whose memory the processor does not see.
//!
//! They keep to what dfdx's CUDA device brings compiled. What it would compile where it runs (concatenating, making
//! permuted tensors contiguous) needs headers at the paths of the machine that built it.

use dfdx::prelude::*;

use super::hardware::{Hardware, HeadRows, RMS_EPSILON};
use super::linear::row_sums;
use super::{Matrix, Recorder, Scores, Vector, index};
use crate::model::RopeTables;

/// Added to a score once for every position that the key is ahead of the query: `e` to such a power is 0.
const AHEAD: f32 = -1e9;

#[cfg(feature = "dfdx-cuda")]
impl Hardware for Cuda {
    fn rms_norm<T: Recorder<Self>>(x: Matrix<Self, T>) -> Matrix<Self, T> {
        rms_norm(x)
    }

    fn rope<T: Recorder<Self>>(
        x: Matrix<Self, T>,
        tables: &std::rc::Rc<RopeTables>,
        rows: HeadRows,
    ) -> Matrix<Self, T> {
        rope(x, tables, rows)
    }

    fn causal_softmax<T: Recorder<Self>>(scores: Scores<Self, T>, scale: f32) -> Scores<Self, T> {
        causal_softmax(scores, scale)
    }

    fn take_gradient(gradients: &mut Gradients<f32, Self>, leaf: &Vector<Self>) -> Result<Vec<f32>, Self::Err> {
        // A tensor without elements cannot be read.
        if leaf.shape().num_elements() == 0 {
            return Ok(Vec::new());
        }
        gradients.try_alloc_for(leaf)?;
        Ok(gradients.get(leaf).as_vec())
    }
}

/// See [`Hardware::rms_norm`].
pub(super) fn rms_norm<D: Hardware, T: Recorder<D>>(x: Matrix<D, T>) -> Matrix<D, T> {
    let shape @ (_, width) = *x.shape();
    let mean_square = row_sums(x.with_empty_tape().square()) / width as f32 + RMS_EPSILON;
    x / mean_square.sqrt().broadcast_like::<_, Axis<1>>(&shape)
}

/// See [`Hardware::rope`].
pub(super) fn rope<D: Hardware, T: Recorder<D>>(x: Matrix<D, T>, tables: &RopeTables, rows: HeadRows) -> Matrix<D, T> {
    let HeadRows { seq_len, width: head } = rows;
    let shape @ (tokens, width) = *x.shape();
    let (half, heads) = (tables.half, tokens * width / head);
    // Each coordinate as `x cos + partner sin`: the first half of the rotated ones gains from the second, the second loses to
    // the first, and the rest is its own partner with an angle of 0.
    let by_coordinate = |position: usize, c: usize| match c {
        _ if c < half => (tables.cos[position * half + c], tables.sin[position * half + c]),
        _ if c < 2 * half => (tables.cos[position * half + c - half], -tables.sin[position * half + c - half]),
        _ => (1.0, 0.0),
    };
    let partner = |c: usize| match c {
        _ if c < half => c + half,
        _ if c < 2 * half => c - half,
        _ => c,
    };
    let places = || (0..seq_len).flat_map(|position| (0..head).map(move |c| (position, c)));
    let by_head = (tokens / seq_len, seq_len, width / head, head);
    let dev = x.device().clone();
    let table = |values: Vec<f32>| -> Tensor<(usize, usize, usize, usize), f32, D> {
        let table: Matrix<D> = dev.tensor_from_vec(values, (seq_len, head));
        table.broadcast_like::<_, Axes2<0, 2>>(&by_head)
    };
    let cos = table(places().map(|(position, c)| by_coordinate(position, c).0).collect());
    let sin = table(places().map(|(position, c)| by_coordinate(position, c).1).collect());
    let other = (0..heads).flat_map(|row| (0..head).map(move |c| row * head + partner(c))).collect();
    let other: Matrix<D, T> = x.with_empty_tape().reshape_like(&(tokens * width, 1)).gather(index(&dev, other));
    (x.reshape_like(&by_head) * cos + other.reshape_like(&by_head) * sin).reshape_like(&shape)
}

/// See [`Hardware::causal_softmax`].
pub(super) fn causal_softmax<D: Hardware, T: Recorder<D>>(scores: Scores<D, T>, scale: f32) -> Scores<D, T> {
    let shape = *scores.shape();
    let (rows, seq_len) = (shape.0 * shape.1 * shape.2, shape.3);
    let (by_row, by_query) = ((rows, seq_len), (rows / seq_len, seq_len, seq_len));
    let position = |dev: &D| -> Vector<D> { dev.tensor_from_vec((0..seq_len).map(|i| i as f32).collect(), (seq_len,)) };
    let dev = scores.device().clone();
    let key = position(&dev).broadcast_like::<_, Axis<0>>(&(seq_len, seq_len));
    let query = position(&dev).broadcast_like::<_, Axis<1>>(&(seq_len, seq_len));
    let hidden = ((key - query).relu() * AHEAD).broadcast_like::<_, Axis<0>>(&by_query);

    let (scores, tape) = (scores.reshape_like(&by_query) + hidden).reshape_like(&by_row).split_tape();
    // What is subtracted from all scores of a query changes nothing, so no gradient goes through it.
    let largest = scores.clone().max::<(usize,), Axis<1>>().broadcast_like::<_, Axis<1>>(&by_row);
    let weights = ((scores.put_tape(tape) - largest) * scale).exp();
    let sums = row_sums(weights.with_empty_tape()).broadcast_like::<_, Axis<1>>(&by_row);
    (weights / sums).reshape_like(&shape)
}
