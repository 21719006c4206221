//! Matrices cut into tiles of bfloat16, as AMX loads them.
//!
//! A tile is 16 rows of 64 bytes. Of a left operand, a row is 32 inner values of one row of the matrix; of a right
//! one, it is one pair of inner values in each of 16 columns. What a matrix lacks to whole panels is zeros.

use super::super::vectorised;
use super::nearest;

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

/// The value as an operand: the bits of its bfloat16 in the upper half.
#[inline(always)]
fn operand(x: f32) -> u32 {
    let bits = if x.is_nan() { f32::NAN.to_bits() } else { nearest(x).to_bits() };
    if x.abs() < SMALLEST { 0 } else { bits }
}

/// Two operands.
#[inline(always)]
pub(super) fn pair(first: f32, second: f32) -> u32 {
    operand(first) >> 16 | operand(second) & 0xffff_0000
}

/// Pairs of one row of up to [`DEPTH`] inner values.
#[inline(always)]
fn pairs(values: &[f32]) -> [u32; PAIRS] {
    let mut whole = [0.0; DEPTH];
    let values = if let Ok(values) = <&[f32; DEPTH]>::try_from(values) {
        values
    } else {
        whole[..values.len()].copy_from_slice(values);
        &whole
    };
    std::array::from_fn(|i| pair(values[2 * i], values[2 * i + 1]))
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
    vectorised(
        #[inline(always)]
        || {
            for i in 0..PANEL {
                let run = &mut tiles[i / SIDE * steps..][..steps];
                let place = i % SIDE * PAIRS;
                if start + i < x.count {
                    for (values, tile) in x.row(start + i).chunks(DEPTH).zip(run) {
                        tile.0[place..place + PAIRS].copy_from_slice(&pairs(values));
                    }
                } else {
                    run.iter_mut().for_each(|tile| tile.0[place..place + PAIRS].fill(0));
                }
            }
        },
    );
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
    /// Room for an operand of these sides.
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
        vectorised(
            #[inline(always)]
            || {
                for column in 0..rows.count {
                    let run = &mut self.tiles[column / SIDE * steps..][..steps];
                    for (values, tile) in rows.row(column).chunks(DEPTH).zip(run) {
                        for (pair, at) in
                            pairs(values).into_iter().zip(tile.0[column % SIDE..].iter_mut().step_by(SIDE))
                        {
                            *at = pair;
                        }
                    }
                }
            },
        );
    }

    /// Packs one column of values a column: row `k` of them holds inner value `k` of every column.
    pub fn fill_transposed(&mut self, rows: Rows<'_>) {
        let steps = self.inner.div_ceil(DEPTH);
        let none = vec![0.0; rows.width];
        vectorised(
            #[inline(always)]
            || {
                for k in (0..rows.count).step_by(2) {
                    let first = rows.row(k);
                    let second = if k + 1 < rows.count { rows.row(k + 1) } else { &none };
                    for (run, (first, second)) in first.chunks(SIDE).zip(second.chunks(SIDE)).enumerate() {
                        let tile = &mut self.tiles[run * steps + k / DEPTH];
                        let at = &mut tile.0[k % DEPTH / 2 * SIDE..][..SIDE];
                        for ((at, &first), &second) in at.iter_mut().zip(first).zip(second) {
                            *at = pair(first, second);
                        }
                    }
                }
            },
        );
    }
}
