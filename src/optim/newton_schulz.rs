//! Newton-Schulz iteration: the nearest (semi-)orthogonal matrix, approximately, by products alone.
//!
//! Quintic with the coefficients of Keller Jordan's Muon (kellerjordan.github.io/posts/muon), which push
//! all singular values into about 0.7..1.2 in five steps. Model specification of PR #286, section 4.

use half::bf16;

use super::matmul::{MatrixView, product};
use crate::manifest::OrthogonalizerPrecision;

/// Coefficients of x, x^3 and x^5.
pub(crate) const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];
/// Added to the Frobenius norm before dividing by it.
const NORM_EPS: f32 = 1e-7;

/// Rounding after each operation.
#[derive(Clone, Copy)]
pub(super) struct Rounding(OrthogonalizerPrecision);

impl Rounding {
    pub(super) fn new(precision: OrthogonalizerPrecision) -> Self {
        Rounding(precision)
    }

    /// The value as the chosen precision holds it (ties to even).
    pub(super) fn round(self, value: f32) -> f32 {
        match self.0 {
            OrthogonalizerPrecision::Bf16 => bf16::from_f32(value).to_f32(),
            OrthogonalizerPrecision::F32 => value,
        }
    }

    fn map(self, mut values: Vec<f32>) -> Vec<f32> {
        match self.0 {
            OrthogonalizerPrecision::Bf16 => values.iter_mut().for_each(|value| *value = self.round(*value)),
            OrthogonalizerPrecision::F32 => {}
        }
        values
    }
}

/// Orthogonalizes a row-major `rows` x `columns` matrix.
///
/// With [`OrthogonalizerPrecision::Bf16`] every operation is rounded to bfloat16 where eager PyTorch
/// rounds: products accumulate in single precision and round once, `b * A + (c * A) @ A` rounds each of
/// its four results. The numbers are those of PyTorch on a CPU up to the order of accumulation.
///
/// # Panics
/// When the number of values is not `rows * columns`: a defect of the caller.
pub fn orthogonalize(
    matrix: &[f32],
    rows: usize,
    columns: usize,
    steps: u32,
    precision: OrthogonalizerPrecision,
) -> Vec<f32> {
    let rounding = Rounding::new(precision);
    let round = |value| rounding.round(value);
    let mut x = rounding.map(matrix.to_vec());
    let norm = round(frobenius(&x) as f32);
    let divisor = round(norm + NORM_EPS);
    x.iter_mut().for_each(|value| *value = round(*value / divisor));

    // The Gram matrix is taken over the shorter side.
    let transposed = rows > columns;
    let (short, long) = if transposed { (columns, rows) } else { (rows, columns) };
    if transposed {
        x = transpose(&x, rows, columns);
    }
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..steps {
        let view = MatrixView::new(&x, short, long);
        let gram = rounding.map(product(view, view.transposed()));
        let scaled: Vec<f32> = gram.iter().map(|value| round(c * value)).collect();
        let square = product(MatrixView::new(&scaled, short, short), MatrixView::new(&gram, short, short));
        let polynomial: Vec<f32> =
            gram.iter().zip(&square).map(|(gram, square)| round(round(b * gram) + round(*square))).collect();
        let correction = product(MatrixView::new(&polynomial, short, short), view);
        x.iter_mut().zip(&correction).for_each(|(x, correction)| *x = round(round(a * *x) + round(*correction)));
    }
    if transposed { transpose(&x, short, long) } else { x }
}

/// L2 norm of all values, summed in double precision in memory order.
fn frobenius(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}

/// Row-major `rows` x `columns` to row-major `columns` x `rows`.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for column in 0..columns {
        out.extend((0..rows).map(|row| values[row * columns + column]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scalar iteration that each singular value follows.
    fn quintic(mut sigma: f64, steps: u32) -> f64 {
        let [a, b, c] = COEFFICIENTS.map(f64::from);
        for _ in 0..steps {
            sigma = a * sigma + b * sigma.powi(3) + c * sigma.powi(5);
        }
        sigma
    }

    #[test]
    fn singular_values_of_a_diagonal_matrix_follow_the_scalar_polynomial() {
        let sigma = [3.0f32, 1.0, 0.25, 0.01];
        for (rows, columns) in [(4, 4), (4, 6), (6, 4)] {
            let mut matrix = vec![0.0; rows * columns];
            sigma.iter().enumerate().for_each(|(i, value)| matrix[i * columns + i] = *value);
            let norm = sigma.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            let out = orthogonalize(&matrix, rows, columns, 5, OrthogonalizerPrecision::F32);
            for row in 0..rows {
                for column in 0..columns {
                    let expected = if row == column { quintic(f64::from(sigma[row]) / norm, 5) } else { 0.0 };
                    let found = f64::from(out[row * columns + column]);
                    assert!((found - expected).abs() < 2e-5, "[{row},{column}] {found} for {expected}");
                }
            }
        }
    }

    #[test]
    fn zero_stays_zero_and_bf16_results_are_bf16_values() {
        assert_eq!(orthogonalize(&[0.0; 6], 2, 3, 5, OrthogonalizerPrecision::Bf16), vec![0.0; 6]);
        let matrix: Vec<f32> = (0..15).map(|i| ((i * 29 % 17) as f32 - 8.0) / 7.0).collect();
        let out = orthogonalize(&matrix, 5, 3, 5, OrthogonalizerPrecision::Bf16);
        assert!(out.iter().all(|value| bf16::from_f32(*value).to_f32() == *value));
    }
}
