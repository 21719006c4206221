//! Factors in the order tiles read them, every value split into three bfloat16 values.

use std::ops::Range;

use super::unit::{Block, PIECE_WORDS, PIECES, SIDE};
use crate::engine::cpu::buffer::Buffer;
use crate::engine::cpu::matrix::Matrix;
use crate::engine::cpu::vectorized;

/// Rows of a tile, and values of a vector.
const TILE: usize = SIDE / 2;
/// Single-precision values that take a block's room.
const BLOCK_VALUES: usize = size_of::<Block>() / size_of::<f32>();
/// Values before the first place a block may begin at.
const ALIGNMENT: usize = align_of::<Block>() / size_of::<f32>();

/// A square of a matrix, zero outside it.
type Square = [[f32; SIDE]; SIDE];

/// A left factor in panels of `SIDE` rows, or a right one in panels of `SIDE` columns.
pub struct Packed {
    values: Buffer,
    /// Blocks of a panel, along the inner side.
    steps: usize,
}

impl Packed {
    /// `factor * a`, to multiply from the left.
    pub fn left(a: Matrix<'_>, factor: f32) -> Self {
        let mut packed = Packed { values: Buffer::default(), steps: a.columns().div_ceil(SIDE) };
        packed.fill(
            a.rows().div_ceil(SIDE),
            #[inline(always)]
            |panel, step, block, square| {
                a.square(panel * SIDE, step * SIDE, square);
                for (row, values) in square.iter().enumerate() {
                    let (mut even, mut odd) = ([0.0; TILE], [0.0; TILE]);
                    for (i, [a, b]) in values.as_chunks().0.iter().enumerate() {
                        (even[i], odd[i]) = (*a, *b);
                    }
                    store(&even, &odd, factor, row / TILE, row % TILE, block);
                }
            },
        );
        packed
    }

    /// `factor * b`, to multiply from the right.
    pub fn right(b: Matrix<'_>, factor: f32) -> Self {
        let mut packed = Packed { values: Buffer::default(), steps: b.rows().div_ceil(SIDE) };
        packed.fill(
            b.columns().div_ceil(SIDE),
            #[inline(always)]
            |panel, step, block, square| {
                b.square(step * SIDE, panel * SIDE, square);
                for (pair, [even, odd]) in square.as_chunks().0.iter().enumerate() {
                    let halves = even.as_chunks().0.iter().zip(odd.as_chunks().0);
                    for (half, (even, odd)) in halves.enumerate() {
                        store(even, odd, factor, half, pair, block);
                    }
                }
            },
        );
        packed
    }

    #[inline(always)]
    fn fill(&mut self, panels: usize, make: impl Fn(usize, usize, &mut Block, &mut Square)) {
        let steps = self.steps;
        self.values = Buffer::unset(panels * steps * BLOCK_VALUES + ALIGNMENT);
        // SAFETY: every pattern of bits is a value of both types.
        let (_, blocks, _) = unsafe { self.values.align_to_mut::<Block>() };
        vectorized(
            #[inline(always)]
            || {
                let mut square = [[0.0; SIDE]; SIDE];
                for (i, block) in blocks[..panels * steps].iter_mut().enumerate() {
                    make(i / steps, i % steps, block, &mut square);
                }
            },
        );
    }

    /// Blocks of a panel.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Some blocks of one panel.
    pub fn panel(&self, panel: usize, steps: Range<usize>) -> &[Block] {
        // SAFETY: every pattern of bits is a value of both types.
        let (_, blocks, _) = unsafe { self.values.align_to::<Block>() };
        &blocks[panel * self.steps + steps.start..panel * self.steps + steps.end]
    }
}

/// The nearest bfloat16 value (halves away from zero), in the upper half of the word.
#[inline(always)]
fn nearest(x: f32) -> u32 {
    x.to_bits().wrapping_add(0x8000) & 0xffff_0000
}

/// Three bfloat16 values whose sum is `x`, largest first.
///
/// Each takes eight bits off what is left, so the third takes all there is; the differences are exact. Beyond the
/// largest bfloat16 value (3.39e38) the first is infinite and the sum not a number.
#[inline(always)]
fn split(x: f32) -> [u32; PIECES] {
    let high = nearest(x);
    let rest = x - f32::from_bits(high);
    let middle = nearest(rest);
    [high, middle, nearest(rest - f32::from_bits(middle))]
}

/// Writes a row of a tile, in each piece: words of a value and its neighbor along the inner side.
#[inline(always)]
fn store(even: &[f32; TILE], odd: &[f32; TILE], factor: f32, half: usize, row: usize, block: &mut Block) {
    let mut words = [[0; TILE]; PIECES];
    for i in 0..TILE {
        let (even, odd) = (split(even[i] * factor), split(odd[i] * factor));
        for piece in 0..PIECES {
            words[piece][i] = even[piece] >> 16 | odd[piece];
        }
    }
    for (piece, words) in words.iter().enumerate() {
        let start = piece * PIECE_WORDS + (half * TILE + row) * TILE;
        block.0[start..start + TILE].copy_from_slice(words);
    }
}

impl Matrix<'_> {
    /// The square that begins at a row and a column.
    #[inline(always)]
    fn square(&self, row: usize, column: usize, square: &mut Square) {
        let (values, stride) = (self.values(), self.stride());
        let ((first, outer), (start, inner)) = match self.is_transposed() {
            false => ((row, self.rows()), (column, self.columns())),
            true => ((column, self.columns()), (row, self.rows())),
        };
        let (height, width) = (SIDE.min(outer - first), SIDE.min(inner - start));
        if height < SIDE || width < SIDE {
            *square = [[0.0; SIDE]; SIDE];
        }
        let lines = values[first * stride + start..].chunks(stride).take(height);
        for (line, out) in lines.zip(square.iter_mut()) {
            match line.first_chunk::<SIDE>() {
                Some(line) if width == SIDE => *out = *line,
                _ => out[..width].copy_from_slice(&line[..width]),
            }
        }
        if self.is_transposed() {
            transpose(square);
        }
    }
}

/// Turns a square about its diagonal, by quarters that fit the registers.
#[inline(always)]
fn transpose(square: &mut Square) {
    let Some(v4) = pulp::x86::V4::try_new() else { return };
    for (i, j) in [(0, 0), (0, 1), (1, 1)] {
        let (a, b) = (transposed(v4, quarter(square, i, j)), transposed(v4, quarter(square, j, i)));
        for row in 0..TILE {
            square[j * TILE + row][i * TILE..(i + 1) * TILE].copy_from_slice(&a[row]);
            square[i * TILE + row][j * TILE..(j + 1) * TILE].copy_from_slice(&b[row]);
        }
    }
}

#[inline(always)]
fn quarter(square: &Square, i: usize, j: usize) -> [[f32; TILE]; TILE] {
    let mut quarter = [[0.0; TILE]; TILE];
    for (row, line) in quarter.iter_mut().enumerate() {
        line.copy_from_slice(&square[i * TILE + row][j * TILE..(j + 1) * TILE]);
    }
    quarter
}

/// In four stages: pairs of rows, fours of rows, halves, quarters.
#[inline(always)]
fn transposed(v4: pulp::x86::V4, rows: [[f32; TILE]; TILE]) -> [[f32; TILE]; TILE] {
    use std::arch::x86_64::{__m512, __m512d};
    let f = v4.avx512f;
    let mut pairs: [__m512d; TILE] = [f._mm512_setzero_pd(); TILE];
    for i in (0..TILE).step_by(2) {
        let (a, b): (__m512, __m512) = (pulp::cast(rows[i]), pulp::cast(rows[i + 1]));
        pairs[i] = pulp::cast(f._mm512_unpacklo_ps(a, b));
        pairs[i + 1] = pulp::cast(f._mm512_unpackhi_ps(a, b));
    }
    // Quarter q of fours[4 g + c] is rows 4 g to 4 g + 3 of column 4 q + c.
    let mut fours: [__m512; TILE] = [f._mm512_setzero_ps(); TILE];
    for i in (0..TILE).step_by(4) {
        fours[i] = pulp::cast(f._mm512_unpacklo_pd(pairs[i], pairs[i + 2]));
        fours[i + 1] = pulp::cast(f._mm512_unpackhi_pd(pairs[i], pairs[i + 2]));
        fours[i + 2] = pulp::cast(f._mm512_unpacklo_pd(pairs[i + 1], pairs[i + 3]));
        fours[i + 3] = pulp::cast(f._mm512_unpackhi_pd(pairs[i + 1], pairs[i + 3]));
    }
    /// Quarters 0 and 2 of both arguments, and 1 and 3.
    const EVEN: i32 = 0x88;
    const ODD: i32 = 0xdd;
    let mut columns = [[0.0; TILE]; TILE];
    for c in 0..4 {
        let [a, b, d, e] = [fours[c], fours[4 + c], fours[8 + c], fours[12 + c]];
        let (upper, lower) = (f._mm512_shuffle_f32x4::<EVEN>(a, b), f._mm512_shuffle_f32x4::<EVEN>(d, e));
        columns[c] = pulp::cast(f._mm512_shuffle_f32x4::<EVEN>(upper, lower));
        columns[8 + c] = pulp::cast(f._mm512_shuffle_f32x4::<ODD>(upper, lower));
        let (upper, lower) = (f._mm512_shuffle_f32x4::<ODD>(a, b), f._mm512_shuffle_f32x4::<ODD>(d, e));
        columns[4 + c] = pulp::cast(f._mm512_shuffle_f32x4::<EVEN>(upper, lower));
        columns[12 + c] = pulp::cast(f._mm512_shuffle_f32x4::<ODD>(upper, lower));
    }
    columns
}
