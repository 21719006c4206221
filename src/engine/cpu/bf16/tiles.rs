//! Matrices cut into tiles of bfloat16, as AMX loads them.
//!
//! A tile is 16 rows of 64 bytes. Of a left operand, a row is 32 inner values of one row of the matrix; of a right
//! one, it is one pair of inner values in each of 16 columns. What a matrix lacks to whole panels is zeros.

use super::nearest;
use crate::engine::cpu::vectorized;

/// Rows of a tile, and columns of a right one.
pub(super) const SIDE: usize = 16;
/// Inner values a tile holds.
pub(super) const DEPTH: usize = 32;
/// Rows, and columns, of a block of results: two tiles each way.
pub(super) const PANEL: usize = 2 * SIDE;
/// Pairs of inner values a tile holds.
const PAIRS: usize = DEPTH / 2;
/// Smaller operands count as zero. Products of the others are multiples of 2^-126, and so is every sum of them: no
/// subnormal value arises, which AMX would make zero and other units would not.
const SMALLEST: f32 = f32::from_bits((127 - 56) << 23);

/// Pairs of bfloat16 values, the first of each in the low half.
#[repr(C, align(64))]
#[derive(Clone, Debug)]
pub(in crate::engine) struct Tile(pub [u32; SIDE * PAIRS]);

/// A block of single-precision results, [`PANEL`] by [`PANEL`].
#[repr(C, align(64))]
pub(super) struct Block(pub [f32; PANEL * PANEL]);

impl Block {
    pub fn zeros() -> Self {
        Block([0.0; PANEL * PANEL])
    }

    /// Its rows.
    #[inline(always)]
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.0.chunks_exact(PANEL)
    }
}

/// `len` tiles of zeros.
pub(super) fn zeros(len: usize) -> Vec<Tile> {
    vec![Tile([0; SIDE * PAIRS]); len]
}

/// The value as an operand, in bfloat16.
#[inline(always)]
fn operand(x: f32) -> u16 {
    let bits = if x.is_nan() { f32::NAN.to_bits() } else { nearest(x).to_bits() };
    if x.abs() < SMALLEST { 0 } else { (bits >> 16) as u16 }
}

/// Rounds a row to operands; what the row lacks stays as it is. One long loop, which the compiler vectorizes.
#[inline(always)]
pub(super) fn narrow(values: &[f32], operands: &mut [u16]) {
    operands.iter_mut().zip(values).for_each(|(narrow, value)| *narrow = operand(*value));
}

/// Operands of one row of a tile as pairs.
#[inline(always)]
pub(super) fn pairs(operands: &[u16]) -> impl Iterator<Item = u32> {
    operands.as_chunks::<2>().0.iter().map(|&[first, second]| u32::from(first) | u32::from(second) << 16)
}

/// Row-major values whose rows begin `stride` apart.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Rows<'a> {
    pub values: &'a [f32],
    pub count: usize,
    pub width: usize,
    pub stride: usize,
}

impl<'a> Rows<'a> {
    /// Rows without gaps.
    pub fn dense(values: &'a [f32], count: usize, width: usize) -> Self {
        Rows { values, count, width, stride: width }
    }

    #[inline(always)]
    fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.stride..][..self.width]
    }
}

/// Tiles of a left operand of one [`PANEL`] of rows, from row `start` on: two runs, one for each half.
pub(super) fn pack_left(x: Rows<'_>, start: usize, tiles: &mut [Tile]) {
    let steps = x.width.div_ceil(DEPTH);
    let mut operands = vec![0; steps * DEPTH];
    vectorized(
        #[inline(always)]
        || {
            for i in 0..PANEL {
                let run = &mut tiles[i / SIDE * steps..][..steps];
                let place = i % SIDE * PAIRS;
                if start + i < x.count {
                    narrow(x.row(start + i), &mut operands);
                    place_row(&operands, run, place);
                } else {
                    run.iter_mut().for_each(|tile| tile.0[place..place + PAIRS].fill(0));
                }
            }
        },
    );
}

/// Cuts a row of operands into the same row of every tile of a run.
#[inline(always)]
pub(super) fn place_row(operands: &[u16], run: &mut [Tile], place: usize) {
    for (operands, tile) in operands.as_chunks::<DEPTH>().0.iter().zip(run) {
        tile.0[place..place + PAIRS].iter_mut().zip(pairs(operands)).for_each(|(at, pair)| *at = pair);
    }
}

/// A right operand: `W` of `x W^T`, columns of the result by inner values.
#[derive(Debug)]
pub(in crate::engine) struct Right {
    /// One run of `steps` tiles for each [`SIDE`] columns, an even number of runs.
    tiles: Vec<Tile>,
    pub columns: usize,
    pub inner: usize,
}

impl Right {
    /// Room for an operand of these dims.
    pub fn zeros(columns: usize, inner: usize) -> Self {
        Right { tiles: zeros(columns.div_ceil(PANEL) * 2 * inner.div_ceil(DEPTH)), columns, inner }
    }

    /// Packs `[columns, inner]`.
    pub fn of(values: &[f32], columns: usize, inner: usize) -> Self {
        let mut right = Right::zeros(columns, inner);
        right.fill(Rows::dense(values, columns, inner));
        right
    }

    /// The two runs of tiles of a [`PANEL`] of columns.
    #[inline(always)]
    pub fn panel(&self, panel: usize) -> [&[Tile]; 2] {
        let steps = self.inner.div_ceil(DEPTH);
        [2 * panel, 2 * panel + 1].map(|run| &self.tiles[run * steps..][..steps])
    }

    /// Packs one row of values a column.
    pub fn fill(&mut self, rows: Rows<'_>) {
        let steps = self.inner.div_ceil(DEPTH);
        let mut operands = vec![0; steps * DEPTH];
        vectorized(
            #[inline(always)]
            || {
                for column in 0..rows.count {
                    let run = &mut self.tiles[column / SIDE * steps..][..steps];
                    narrow(rows.row(column), &mut operands);
                    for (operands, tile) in operands.as_chunks::<DEPTH>().0.iter().zip(run) {
                        let down = tile.0[column % SIDE..].iter_mut().step_by(SIDE);
                        down.zip(pairs(operands)).for_each(|(at, pair)| *at = pair);
                    }
                }
            },
        );
    }

    /// Packs one column of values a column: row `k` of them holds inner value `k` of every column.
    pub fn fill_transposed(&mut self, rows: Rows<'_>) {
        let steps = self.inner.div_ceil(DEPTH);
        let (mut first, mut second) = (vec![0; rows.width], vec![0; rows.width]);
        vectorized(
            #[inline(always)]
            || {
                for k in (0..rows.count).step_by(2) {
                    narrow(rows.row(k), &mut first);
                    if k + 1 < rows.count {
                        narrow(rows.row(k + 1), &mut second);
                    } else {
                        second.fill(0);
                    }
                    for (run, (first, second)) in first.chunks(SIDE).zip(second.chunks(SIDE)).enumerate() {
                        let tile = &mut self.tiles[run * steps + k / DEPTH];
                        let at = &mut tile.0[k % DEPTH / 2 * SIDE..][..SIDE];
                        for ((at, &first), &second) in at.iter_mut().zip(first).zip(second) {
                            *at = u32::from(first) | u32::from(second) << 16;
                        }
                    }
                }
            },
        );
    }
}
