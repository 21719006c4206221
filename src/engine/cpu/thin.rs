//! Products that a blocked kernel would only slow down: of one row, of one column, of inner side one, and of few values.
//!
//! Their bits are part of what scores and artifacts are compared by, so each sum's order and rounding is fixed: what
//! they are is said where they are made.

use pulp::{Simd, WithSimd};

use super::arch;
use super::matrix::{Matrix, MatrixMut};
use crate::engine::network::WriteMode;

/// Multiplications up to which a product counts as small.
const SMALL: usize = 16 * 16 * 16;

/// Inner values up to which a small product's first term is rounded by itself, not added to zero: only the sign of a
/// sum of negative zeros differs.
const SHORT: usize = 16;

/// Inner values summed before they are added to the result, where rows of the right factor are not contiguous.
const DEPTH: usize = 64;

/// Rows of results in registers at once.
const ROWS: usize = 4;

/// `out (+)= factor * a b` where the product is thin or small; false where it is neither and nothing was done.
pub(super) fn product(a: Matrix<'_>, b: Matrix<'_>, mode: WriteMode, factor: f32, out: &mut MatrixMut<'_>) -> bool {
    let (rows, inner, columns) = (a.rows(), a.columns(), b.columns());
    let step = out.stride();
    let ((a_row, a_column), (b_row, b_column)) = (a.strides(), b.strides());
    let (left, right) = (a.elements(), b.elements());
    let out = out.elements();
    let scaled = Scaled { mode, factor };
    if columns == 1 {
        if step == 1 && a_row == 1 {
            let lines = Lines { values: left, stride: a_column, len: rows, count: inner };
            arch().dispatch(Combination { lines, coefficients: right, every: b_row, scaled, out });
            return true;
        }
        if b_row == 1 && a_column == 1 {
            let lines = Lines { values: left, stride: a_row, len: inner, count: rows };
            arch().dispatch(Dots { lines, vector: right, scaled, out, step });
            return true;
        }
    }
    if rows == 1 {
        if b_column == 1 {
            let lines = Lines { values: right, stride: b_row, len: columns, count: inner };
            arch().dispatch(Combination { lines, coefficients: left, every: a_column, scaled, out });
            return true;
        }
        if a_column == 1 && b_row == 1 {
            let lines = Lines { values: right, stride: b_column, len: inner, count: columns };
            arch().dispatch(Dots { lines, vector: left, scaled, out, step: 1 });
            return true;
        }
    }
    if inner == 1 && b_column == 1 {
        arch().dispatch(Outer { coefficients: left, every: a_row, vector: right, scaled, out, step });
        return true;
    }
    if rows.saturating_mul(columns).saturating_mul(inner) <= SMALL {
        arch().dispatch(Small { a, b, scaled, out, step });
        return true;
    }
    false
}

/// How a sum goes into the result.
#[derive(Clone, Copy)]
struct Scaled {
    mode: WriteMode,
    factor: f32,
}

/// Contiguous runs of `len` values, `count` of them.
#[derive(Clone, Copy)]
struct Lines<'a> {
    values: &'a [f32],
    stride: usize,
    len: usize,
    count: usize,
}

impl<'a> Lines<'a> {
    #[inline(always)]
    fn get(self, index: usize) -> &'a [f32] {
        &self.values[index * self.stride..][..self.len]
    }
}

/// `out (+)= sum of line_j * (factor * coefficient_j)`: fused multiply-adds in the order of `j`, to what is there or to
/// zero.
struct Combination<'a> {
    lines: Lines<'a>,
    coefficients: &'a [f32],
    every: usize,
    scaled: Scaled,
    out: &'a mut [f32],
}

impl WithSimd for Combination<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let out = &mut self.out[..self.lines.len];
        if self.scaled.mode == WriteMode::Overwrite {
            out.fill(0.0);
        }
        for j in 0..self.lines.count {
            let coefficient = self.coefficients[j * self.every] * self.scaled.factor;
            add_scaled(simd, out, self.lines.get(j), coefficient);
        }
    }
}

/// `out_i += line_i * coefficient`, fused.
#[inline(always)]
fn add_scaled<S: Simd>(simd: S, out: &mut [f32], line: &[f32], coefficient: f32) {
    let coefficient = simd.splat_f32s(coefficient);
    let (to, to_rest) = S::as_mut_simd_f32s(out);
    let (from, from_rest) = S::as_simd_f32s(line);
    for (to, from) in to.iter_mut().zip(from) {
        *to = simd.mul_add_e_f32s(*from, coefficient, *to);
    }
    if !to_rest.is_empty() {
        let (x, y) = (simd.partial_load_f32s(from_rest), simd.partial_load_f32s(to_rest));
        simd.partial_store_f32s(to_rest, simd.mul_add_e_f32s(x, coefficient, y));
    }
}

/// `out_i (+)= factor * (line_i . vector)`: four vectors of fused sums, taken in turn, added in pairs and then across;
/// product with the factor and addition are rounded each.
struct Dots<'a> {
    lines: Lines<'a>,
    vector: &'a [f32],
    scaled: Scaled,
    out: &'a mut [f32],
    step: usize,
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for i in 0..self.lines.count {
            let value = self.scaled.factor * dot(simd, self.lines.get(i), self.vector);
            let to = &mut self.out[i * self.step];
            *to = match self.scaled.mode {
                WriteMode::Overwrite => value,
                WriteMode::Accumulate => *to + value,
            };
        }
    }
}

#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [simd.splat_f32s(0.0); 4];
    let (a_whole, a_rest) = S::as_simd_f32s(a);
    let (b_whole, b_rest) = S::as_simd_f32s(b);
    let (a_fours, a_few) = a_whole.as_chunks::<4>();
    let (b_fours, b_few) = b_whole.as_chunks::<4>();
    for (a, b) in a_fours.iter().zip(b_fours) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum = simd.mul_add_e_f32s(*a, *b, *sum);
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(a_few.iter().zip(b_few)) {
        *sum = simd.mul_add_e_f32s(*a, *b, *sum);
    }
    if !a_rest.is_empty() {
        let (a, b) = (simd.partial_load_f32s(a_rest), simd.partial_load_f32s(b_rest));
        let sum = &mut sums[a_few.len()];
        *sum = simd.mul_add_e_f32s(a, b, *sum);
    }
    let pairs = [simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3])];
    simd.reduce_sum_f32s(simd.add_f32s(pairs[0], pairs[1]))
}

/// `out row i (+)= (factor * coefficient_i) * vector`, fused where something is there already.
struct Outer<'a> {
    coefficients: &'a [f32],
    every: usize,
    vector: &'a [f32],
    scaled: Scaled,
    out: &'a mut [f32],
    step: usize,
}

impl WithSimd for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.vector.len();
        for (i, row) in self.out.chunks_mut(self.step).enumerate() {
            let coefficient = self.scaled.factor * self.coefficients[i * self.every];
            let row = &mut row[..width];
            match self.scaled.mode {
                WriteMode::Accumulate => add_scaled(simd, row, self.vector, coefficient),
                WriteMode::Overwrite => row.iter_mut().zip(self.vector).for_each(|(to, from)| *to = from * coefficient),
            }
        }
    }
}

/// `out (+)= factor * a b`, every result a chain of fused multiply-adds in the order of the inner side, which is then
/// multiplied by the factor or, fused, added to what is there.
struct Small<'a> {
    a: Matrix<'a>,
    b: Matrix<'a>,
    scaled: Scaled,
    out: &'a mut [f32],
    step: usize,
}

impl WithSimd for Small<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Small { a, b, scaled, out, step } = self;
        let (inner, columns) = (a.columns(), b.columns());
        let (b_row, b_column) = b.strides();
        // A result of stride one is one column, which is read as the left factor's.
        let is_direct = if step > 1 { b_column == 1 } else { a.strides().0 == 1 };
        let mut packed = [0.0; SMALL];
        let right = match b_column == 1 {
            true => Lines { values: b.elements(), stride: b_row, len: columns, count: inner },
            false => {
                for (k, line) in packed[..inner * columns].chunks_mut(columns).enumerate() {
                    line.iter_mut().enumerate().for_each(|(j, to)| *to = b.elements()[k * b_row + j * b_column]);
                }
                Lines { values: &packed, stride: columns, len: columns, count: inner }
            }
        };
        let work = Work { a, right, scaled, depth: if is_direct { inner } else { DEPTH } };
        let whole = a.rows() / ROWS * ROWS;
        for column in (0..columns).step_by(S::F32_LANES) {
            for row in (0..whole).step_by(ROWS) {
                work.block::<S, ROWS>(simd, row, column, out, step);
            }
            for row in whole..a.rows() {
                work.block::<S, 1>(simd, row, column, out, step);
            }
        }
    }
}

struct Work<'a> {
    a: Matrix<'a>,
    right: Lines<'a>,
    scaled: Scaled,
    depth: usize,
}

impl Work<'_> {
    /// A vector of columns of some rows.
    #[inline(always)]
    fn block<S: Simd, const N: usize>(&self, simd: S, row: usize, column: usize, out: &mut [f32], step: usize) {
        let columns = column..self.right.len.min(column + S::F32_LANES);
        let (inner, (a_row, a_column), left) = (self.right.count, self.a.strides(), self.a.elements());
        let factor = simd.splat_f32s(self.scaled.factor);
        for start in (0..inner).step_by(self.depth) {
            let mut sums = [simd.splat_f32s(0.0); N];
            for k in start..inner.min(start + self.depth) {
                let right = simd.partial_load_f32s(&self.right.get(k)[columns.clone()]);
                for (m, sum) in sums.iter_mut().enumerate() {
                    let left = simd.splat_f32s(left[(row + m) * a_row + k * a_column]);
                    *sum = match k == 0 && inner <= SHORT {
                        true => simd.mul_f32s(left, right),
                        false => simd.mul_add_e_f32s(left, right, *sum),
                    };
                }
            }
            for (m, sum) in sums.into_iter().enumerate() {
                let to = &mut out[(row + m) * step..][columns.clone()];
                let result = match self.scaled.mode == WriteMode::Overwrite && start == 0 {
                    true => simd.mul_f32s(factor, sum),
                    false => simd.mul_add_e_f32s(factor, sum, simd.partial_load_f32s(to)),
                };
                simd.partial_store_f32s(to, result);
            }
        }
    }
}

#[cfg(test)]
mod tests;
