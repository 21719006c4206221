//! What AMX's `tdpbf16ps` computes, on any processor.
//!
//! Intel SDM, volume 2: for each result, one sum over the even inner values of a tile and one over the odd ones, both
//! fused multiply-adds from zero in order; then their sum, then that added to what was there. Each step rounds to
//! nearest even; subnormals count as zero, but none arise here (`tiles::SMALLEST`).

use super::super::arch;
use super::tiles::{Block, PANEL, SIDE, Tile};

/// Rows of results in registers at once.
const ROWS: usize = 4;

/// Products of two runs of rows with two runs of columns, each pair of runs summed from its first tile on.
pub(super) fn block(left: [&[Tile]; 2], right: [&[Tile]; 2], out: &mut Block) {
    let arch = arch();
    #[cfg(target_arch = "x86_64")]
    if let pulp::Arch::V4(_) = arch {
        return arch.dispatch(
            #[inline(always)]
            || lanes::<SIDE>(left, right, out),
        );
    }
    // Half as many columns at once, for half as wide registers.
    arch.dispatch(
        #[inline(always)]
        || lanes::<{ SIDE / 2 }>(left, right, out),
    );
}

/// The two values of a pair.
#[inline(always)]
fn values(pair: u32) -> (f32, f32) {
    (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000))
}

/// [`block`], so many columns at a time.
#[inline(always)]
fn lanes<const N: usize>(left: [&[Tile]; 2], right: [&[Tile]; 2], out: &mut Block) {
    for (i, left) in left.into_iter().enumerate() {
        for (j, right) in right.into_iter().enumerate() {
            for column in (0..SIDE).step_by(N) {
                for row in (0..SIDE).step_by(ROWS) {
                    let sums = products::<N>(left, right, row, column);
                    for (m, sums) in sums.iter().enumerate() {
                        let place = (i * SIDE + row + m) * PANEL + j * SIDE + column;
                        out.0[place..place + N].copy_from_slice(sums);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn products<const N: usize>(left: &[Tile], right: &[Tile], row: usize, column: usize) -> [[f32; N]; ROWS] {
    let mut sums = [[0.0f32; N]; ROWS];
    for (left, right) in left.iter().zip(right) {
        let (mut even, mut odd) = ([[0.0f32; N]; ROWS], [[0.0f32; N]; ROWS]);
        let left: &[u32] = &left.0[row * SIDE..][..ROWS * SIDE];
        for k in 0..SIDE {
            let pairs = &right.0[k * SIDE + column..][..N];
            for m in 0..ROWS {
                let (a, b) = values(left[m * SIDE + k]);
                for n in 0..N {
                    let (c, d) = values(pairs[n]);
                    even[m][n] = a.mul_add(c, even[m][n]);
                    odd[m][n] = b.mul_add(d, odd[m][n]);
                }
            }
        }
        for m in 0..ROWS {
            for n in 0..N {
                sums[m][n] += even[m][n] + odd[m][n];
            }
        }
    }
    sums
}
