//! A matrix as integers with one scale a row, and the weights it is made from.

use std::ops::RangeInclusive;

use half::f16;
use rayon::prelude::*;

use super::RowScale;

/// Why a matrix cannot be held as integers with f16 scales.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MatrixError {
    /// The number of values is no multiple of the number of columns.
    #[error("{values} values do not fill rows of {columns} columns")]
    Shape {
        /// Values given.
        values: usize,
        /// Columns asked for.
        columns: usize,
    },
    /// NaN or infinity.
    #[error("the matrix holds {value} at element {index}: the weights are damaged or training diverged")]
    NotFinite {
        /// Row-major index.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A row whose scale is beyond half precision.
    #[error("row {row} asks for the scale {scale}, too large for f16 (largest: 65504)")]
    ScaleTooLarge {
        /// The row.
        row: usize,
        /// The scale before it is rounded.
        scale: f32,
    },
}

/// A matrix of finite weights, row by row; each row is one output of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightMatrix<'a> {
    values: &'a [f32],
    columns: usize,
}

impl<'a> WeightMatrix<'a> {
    /// `values` are `[rows, columns]`, row-major.
    pub fn new(values: &'a [f32], columns: usize) -> Result<Self, MatrixError> {
        if columns == 0 || !values.len().is_multiple_of(columns) {
            return Err(MatrixError::Shape { values: values.len(), columns });
        }
        match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            Some((index, &value)) => Err(MatrixError::NotFinite { index, value }),
            None => Ok(WeightMatrix { values, columns }),
        }
    }

    /// Values in a row; at least 1.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    /// All values, row-major.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// A scale for every row, rounded to f16.
    pub(super) fn scales(&self, of_row: impl Fn(usize, &[f32]) -> f32 + Sync) -> Result<Vec<f16>, MatrixError> {
        let scales: Vec<f32> =
            self.values.par_chunks(self.columns).enumerate().map(|(row, values)| of_row(row, values)).collect();
        round_scales(&scales)
    }
}

/// Scales as the file keeps them.
fn round_scales(scales: &[f32]) -> Result<Vec<f16>, MatrixError> {
    let round = |(row, &scale): (usize, &f32)| {
        let stored = f16::from_f32(scale);
        stored.is_finite().then_some(stored).ok_or(MatrixError::ScaleTooLarge { row, scale })
    };
    scales.iter().enumerate().map(round).collect()
}

/// Integers and scales that decode to `symbol * scale`, in single precision.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerMatrix {
    /// `[rows, columns]`, row-major.
    pub symbols: Vec<i8>,
    /// One for each row. Zero where a row is too small for any f16: it decodes to zeros.
    pub scales: Vec<f16>,
}

impl IntegerMatrix {
    /// The nearest of the integers `-limit..=limit`, given a scale for each row.
    pub fn nearest(weights: WeightMatrix, scales: Vec<f16>, limit: i8) -> Self {
        let range = symmetric_range(limit);
        let rows = weights.values().par_chunks(weights.columns()).zip(&scales);
        let row = |(values, &scale): (&[f32], &f16)| -> Vec<i8> {
            let scale = stored_scale(scale);
            values.iter().map(|&value| scale.symbol(value, &range)).collect()
        };
        IntegerMatrix { symbols: rows.flat_map_iter(row).collect(), scales }
    }
}

/// The symbols `-limit..=limit`.
pub(super) fn symmetric_range(limit: i8) -> RangeInclusive<i8> {
    -limit.max(0)..=limit.max(0)
}

/// Divides by what the file keeps and clips nothing but what lies beyond the range.
pub(super) fn stored_scale(stored: f16) -> RowScale {
    RowScale { clip: f32::INFINITY, divisor: stored.to_f32(), stored }
}

/// The square of what decoding a symbol misses, added up over a row in double precision.
pub(super) fn squared_error(values: &[f32], symbols: &[i8], scale: f32) -> f64 {
    let errors = values.iter().zip(symbols).map(|(value, &symbol)| value - f32::from(symbol) * scale);
    errors.map(|error| f64::from(error * error)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_rows_of_finite_values_are_a_matrix() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let matrix = WeightMatrix::new(&values, 3).unwrap();
        assert_eq!((matrix.rows(), matrix.columns(), matrix.values()), (2, 3, &values[..]));
        for columns in [0, 4] {
            assert_eq!(WeightMatrix::new(&values, columns), Err(MatrixError::Shape { values: 6, columns }));
        }
        for value in [f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(WeightMatrix::new(&[0.0, value], 1), Err(MatrixError::NotFinite { index: 1, value }));
        }
        assert!(matches!(WeightMatrix::new(&[f32::NAN], 1), Err(MatrixError::NotFinite { index: 0, .. })));
    }

    #[test]
    fn a_scale_beyond_half_precision_is_an_error() {
        // 65519 rounds to the largest half, 65520 to infinity.
        assert_eq!(round_scales(&[0.1, 65519.0]).unwrap()[1], f16::MAX);
        assert_eq!(round_scales(&[0.1, 65520.0]), Err(MatrixError::ScaleTooLarge { row: 1, scale: 65520.0 }));
    }

    #[test]
    fn symbols_are_the_nearest_within_the_limit() {
        // Halves of a step go to the even neighbor; a scale of zero gives zeros where weights are zero.
        let values = [0.25, 0.75, -9.0, 0.0, 0.0, 0.0];
        let weights = WeightMatrix::new(&values, 3).unwrap();
        let found = IntegerMatrix::nearest(weights, vec![f16::from_f32(0.5), f16::ZERO], 15);
        assert_eq!(found.symbols, [0, 2, -15, 0, 0, 0]);
    }

    #[test]
    fn the_error_is_that_of_the_decoded_row() {
        // 0.5 x 3 = 1.5 misses 2 by a half, 0.5 x -31 = -15.5 misses -16.5 by one.
        assert_eq!(squared_error(&[2.0, -16.5], &[3, -31], 0.5), 1.25);
    }
}
