//! What AMX's `tdpbf16ps` computes, on any processor.
//!
//! Intel SDM, volume 2: for each result, one sum over the even inner values of a tile and one over the odd ones, both
//! fused multiply-adds from zero in order; then their sum, then that added to what was there. Each step rounds to
//! nearest even; subnormals count as zero, but none arise here (`tiles::SMALLEST`).

use pulp::{Simd, WithSimd};

use super::tiles::{Block, PANEL, SIDE, Tile};
use crate::engine::cpu::arch;

/// Rows of results in registers at once: with both chains and the sums, twelve vectors.
const ROWS: usize = 4;

/// Products of two runs of rows with two runs of columns, each pair of runs summed from its first tile on.
pub(super) fn block(left: [&[Tile]; 2], right: [&[Tile]; 2], out: &mut Block) {
    arch().dispatch(Products { left, right, out });
}

struct Products<'a> {
    left: [&'a [Tile]; 2],
    right: [&'a [Tile]; 2],
    out: &'a mut Block,
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (i, left) in self.left.into_iter().enumerate() {
            for (j, right) in self.right.into_iter().enumerate() {
                // Vectors are as wide as a tile's row of pairs, or divide it.
                for column in (0..SIDE).step_by(S::F32_LANES) {
                    for row in (0..SIDE).step_by(ROWS) {
                        let sums = sums(simd, left, right, row, column);
                        for (m, sums) in sums.into_iter().enumerate() {
                            let place = (i * SIDE + row + m) * PANEL + j * SIDE + column;
                            let (to, _) = S::as_mut_simd_f32s(&mut self.out.0[place..place + S::F32_LANES]);
                            to[0] = sums;
                        }
                    }
                }
            }
        }
    }
}

/// A vector of columns of some rows.
#[inline(always)]
fn sums<S: Simd>(simd: S, left: &[Tile], right: &[Tile], row: usize, column: usize) -> [S::f32s; ROWS] {
    let zero = simd.splat_f32s(0.0);
    let odd_half = simd.splat_u32s(0xffff_0000);
    let mut sums = [zero; ROWS];
    for (left, right) in left.iter().zip(right) {
        let (mut even, mut odd) = ([zero; ROWS], [zero; ROWS]);
        let rows: [&[u32; SIDE]; ROWS] = std::array::from_fn(|m| &left.0.as_chunks::<SIDE>().0[row + m]);
        for (k, pairs) in right.0.as_chunks::<SIDE>().0.iter().enumerate() {
            let pairs = S::as_simd_u32s(&pairs[column..column + S::F32_LANES]).0[0];
            let first = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(pairs, simd.splat_u32s(16)));
            let second = simd.transmute_f32s_u32s(simd.and_u32s(pairs, odd_half));
            for m in 0..ROWS {
                let pair = rows[m][k];
                let (a, b) = (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000));
                even[m] = simd.mul_add_f32s(simd.splat_f32s(a), first, even[m]);
                odd[m] = simd.mul_add_f32s(simd.splat_f32s(b), second, odd[m]);
            }
        }
        for m in 0..ROWS {
            sums[m] = simd.add_f32s(sums[m], simd.add_f32s(even[m], odd[m]));
        }
    }
    sums
}
