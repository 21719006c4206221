//! Products of matrices on tiles.

use std::ops::Range;

use super::pack::Packed;
use super::unit::{SIDE, Tiles};
use crate::engine::cpu::matrix::{Matrix, MatrixMut};
use crate::engine::network::WriteMode;

/// Rows of the left factor packed at once: with `INNER` of them 384 KiB, which stay in a core's second cache.
const ROWS: usize = 128;
/// Length of the inner side packed at once.
const INNER: usize = 512;
/// Packing costs as much as this many multiplications of each packed value save. Measured: 0.35 ns and more a value
/// packed, 1/180 ns against 1/350 ns an operation.
const WORTH_PACKING: usize = 100;

/// Whether tiles are there and faster than vectors for a product of these dims.
pub fn pays(rows: usize, inner: usize, columns: usize) -> bool {
    inner >= SIDE && rows * columns > WORTH_PACKING * (rows + columns) && super::available()
}

/// `out (+)= factor * a b`; false, and nothing done, where there are no tiles.
pub fn product(a: Matrix<'_>, b: Matrix<'_>, mode: WriteMode, factor: f32, out: &mut MatrixMut<'_>) -> bool {
    let Some(tiles) = Tiles::start() else { return false };
    let (rows, columns, stride) = (out.rows(), out.columns(), out.stride());
    for start in (0..a.columns()).step_by(INNER) {
        let inner = start..(start + INNER).min(a.columns());
        let right = Packed::right(b.part(inner.clone(), 0..columns), 1.0);
        let mode = if start == 0 { mode } else { WriteMode::Accumulate };
        for top in (0..rows).step_by(ROWS) {
            let height = ROWS.min(rows - top);
            let left = Packed::left(a.part(top..top + height, inner.clone()), factor);
            let out = MatrixMut::new(&mut out.values()[top * stride..], height, columns, stride);
            multiply(&tiles, (&left, 0..left.steps()), (&right, 0..right.steps()), mode, out);
        }
    }
    true
}

/// `out (+)= left right` over those blocks of the inner side, from the first rows of the one and columns of the other.
pub fn multiply(
    tiles: &Tiles,
    (left, left_steps): (&Packed, Range<usize>),
    (right, right_steps): (&Packed, Range<usize>),
    mode: WriteMode,
    mut out: MatrixMut<'_>,
) {
    let (rows, columns, stride) = (out.rows(), out.columns(), out.stride());
    let values = out.values();
    for column in (0..columns).step_by(SIDE) {
        let right = right.panel(column / SIDE, right_steps.clone());
        for row in (0..rows).step_by(SIDE) {
            let left = left.panel(row / SIDE, left_steps.clone());
            let (height, width) = (SIDE.min(rows - row), SIDE.min(columns - column));
            let corner = &mut values[row * stride + column..];
            if height == SIDE && width == SIDE && stride >= SIDE {
                tiles.multiply(left, right, mode, corner, stride);
                continue;
            }
            // At an edge: a whole block beside, and its part that exists back.
            let mut block = [0.0; SIDE * SIDE];
            tiles.multiply(left, right, WriteMode::Overwrite, &mut block, SIDE);
            for (line, block) in corner.chunks_mut(stride).zip(block.chunks_exact(SIDE)).take(height) {
                match mode {
                    WriteMode::Overwrite => line[..width].copy_from_slice(&block[..width]),
                    WriteMode::Accumulate => line[..width].iter_mut().zip(block).for_each(|(sum, value)| *sum += value),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cpu::matrix::{strided, strided_mut};

    fn values(n: usize, seed: u32) -> Vec<f32> {
        let value = |i: u32| i.wrapping_mul(2_654_435_761).wrapping_add(seed).wrapping_mul(2_246_822_519) as i32;
        (0..n as u32).map(|i| value(i) as f32 / i32::MAX as f32).collect()
    }

    /// Relative errors, in the 2-norm, of tiles and of fused single-precision sums against double precision.
    fn errors(m: usize, k: usize, n: usize, a_transposed: bool, b_transposed: bool, mode: WriteMode) -> (f64, f64) {
        let (extra, factor) = (5, 0.125);
        let (a_stride, b_stride) = (if a_transposed { m } else { k } + extra, if b_transposed { k } else { n } + extra);
        let (a, b) = (values(a_stride * m.max(k), 1), values(b_stride * k.max(n), 2));
        let at = |i: usize, l: usize| a[if a_transposed { l * a_stride + i } else { i * a_stride + l }];
        let bt = |l: usize, j: usize| b[if b_transposed { j * b_stride + l } else { l * b_stride + j }];
        let left = if a_transposed { strided(&a, k, m, a_stride).transpose() } else { strided(&a, m, k, a_stride) };
        let right = if b_transposed { strided(&b, n, k, b_stride).transpose() } else { strided(&b, k, n, b_stride) };
        let mut out = vec![0.5; m * (n + extra)];
        let start = if mode == WriteMode::Accumulate { 0.5 } else { 0.0 };
        assert!(product(left, right, mode, factor, &mut strided_mut(&mut out, m, n, n + extra)));
        let (mut ours, mut single, mut whole) = (0.0, 0.0, 0.0);
        for i in 0..m {
            for j in 0..n {
                let products = (0..k).map(|l| f64::from(at(i, l)) * f64::from(bt(l, j)) * f64::from(factor));
                let expected = start + products.sum::<f64>();
                let fused = (0..k).fold(start as f32, |sum, l| (at(i, l) * factor).mul_add(bt(l, j), sum));
                ours += (f64::from(out[i * (n + extra) + j]) - expected).powi(2);
                single += (f64::from(fused) - expected).powi(2);
                whole += expected * expected;
            }
        }
        assert!((0..m).all(|i| out[i * (n + extra) + n..(i + 1) * (n + extra)].iter().all(|&gap| gap == 0.5)));
        ((ours / whole).sqrt(), (single / whole).sqrt())
    }

    mod needs_amx {
        use super::*;
        use crate::engine::cpu::tiles::available;

        #[test]
        #[ignore = "needs AMX"]
        fn as_exact_as_single_precision() {
            assert!(available(), "a processor with AMX");
            for (m, k, n) in [(32, 32, 32), (1, 1, 1), (33, 31, 65), (130, 700, 40), (7, 1200, 95), (64, 96, 20)] {
                for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
                    for mode in [WriteMode::Overwrite, WriteMode::Accumulate] {
                        let (ours, single) = errors(m, k, n, a, b, mode);
                        // Of short sums only the final rounding is left: 2^-24 relative to a value.
                        assert!(ours <= single.max(1e-7), "{m} x {k} x {n} {a} {b} {mode:?}: {ours:e}, {single:e}");
                    }
                }
            }
        }

        #[test]
        #[ignore = "needs AMX"]
        fn damage_is_not_hidden() {
            assert!(available(), "a processor with AMX");
            for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
                let (a, b, mut out) = ([bad; 32 * 32], [2.0; 32 * 32], [0.0; 32 * 32]);
                let right = strided(&b, 32, 32, 32);
                product(
                    strided(&a, 32, 32, 32),
                    right,
                    WriteMode::Overwrite,
                    1.0,
                    &mut strided_mut(&mut out, 32, 32, 32),
                );
                assert!(out.iter().all(|value| !value.is_finite()), "{bad} gave {}", out[0]);
            }
        }
    }
}
