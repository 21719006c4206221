//! GPTQ: each column is rounded, and what that misses is made up for by the columns still to come (PRs #1019, #1218,
//! #1394).

use half::f16;
use rayon::prelude::*;

use super::clip_search::{ClipSearch, clip_candidates, least_of};
use super::integer_matrix::{IntegerMatrix, MatrixError, WeightMatrix, squared_error, stored_scale, symmetric_range};
use super::inverse_factor::{BadPivot, add_products, inverse_factor};

/// Share of the mean of the Hessian's diagonal that is added to the diagonal.
pub const DAMPING: f64 = 0.01;
/// Columns after which what they missed is passed on to all later ones.
const COLUMNS_AT_A_TIME: usize = 128;
/// Rows a task rounds together, so that they share what they load of the factor.
const ROWS_AT_A_TIME: usize = 16;
/// Later columns adjusted at a time: with 128 rows of the factor 128 KiB.
const TILE: usize = 256;

/// Why a matrix cannot be rounded with a Hessian.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GptqError {
    /// The weights, or their scales.
    #[error(transparent)]
    Matrix(#[from] MatrixError),
    /// The Hessian is not square, or not as wide as the matrix.
    #[error("a Hessian of {values} values does not fit a matrix of {columns} columns")]
    HessianShape {
        /// Values of the Hessian.
        values: usize,
        /// Columns of the matrix.
        columns: usize,
    },
    /// Not one scale a row.
    #[error("{scales} scales for {rows} rows")]
    Scales {
        /// Scales given.
        scales: usize,
        /// Rows of the matrix.
        rows: usize,
    },
    /// The Cholesky factor does not exist, damped as it is.
    #[error("the Hessian is not positive definite at column {column}: {pivot} is left of its diagonal")]
    NotPositiveDefinite {
        /// The column.
        column: usize,
        /// What is left of the diagonal there.
        pivot: f64,
    },
}

/// A Hessian made ready for every matrix that has the same input.
#[derive(Clone, Debug)]
pub struct Gptq {
    columns: usize,
    /// Columns by their diagonal, largest first; of equals the first.
    order: Vec<usize>,
    /// Columns that no input reaches.
    dead: Vec<bool>,
    /// The damped diagonal, in the order of the columns.
    curvature: Vec<f32>,
    /// Upper `[columns, columns]` in `order`; its square is the inverse of the damped Hessian.
    factor: Vec<f32>,
}

impl Gptq {
    /// `hessian` is `[columns, columns]`, symmetric: the sum of `x x^T` over the inputs, at any scale.
    ///
    /// A column with 0 on the diagonal is dead: its diagonal becomes 1 and its weights count as zero. Then 1 % of the mean
    /// of the diagonal is added to the diagonal.
    pub fn new(hessian: &[f32], columns: usize) -> Result<Self, GptqError> {
        if columns == 0 || Some(hessian.len()) != columns.checked_mul(columns) {
            return Err(GptqError::HessianShape { values: hessian.len(), columns });
        }
        let diagonal: Vec<f32> = hessian.iter().step_by(columns + 1).copied().collect();
        let dead: Vec<bool> = diagonal.iter().map(|&h| h == 0.0).collect();
        let alive = diagonal.iter().map(|&h| if h == 0.0 { 1.0 } else { h });
        let sum: f64 = alive.clone().map(f64::from).sum();
        let damping = DAMPING as f32 * (sum / columns as f64) as f32;
        let curvature: Vec<f32> = alive.map(|h| h + damping).collect();
        let mut order: Vec<usize> = (0..columns).collect();
        order.sort_by(|&a, &b| curvature[b].total_cmp(&curvature[a]));
        let lower = |row: usize, column: usize| {
            let (row, column) = (order[row], order[column]);
            f64::from(if row == column { curvature[row] } else { hessian[row * columns + column] })
        };
        let not_positive = |BadPivot { at, value }| GptqError::NotPositiveDefinite { column: order[at], pivot: value };
        let factor = inverse_factor(columns, lower).map_err(not_positive)?;
        Ok(Gptq { columns, order, dead, curvature, factor })
    }

    /// The damped diagonal of the Hessian, in the order of the columns: what
    /// [`curvature_scales`](super::curvature_scales) weighs rows by.
    pub fn curvature(&self) -> &[f32] {
        &self.curvature
    }

    /// Rounds once for each quantile of [`clip_search`](super::clip_search()), and keeps the one that
    /// has the least mean squared error against the weights; of equals the first.
    ///
    /// Scales come from the weights as they are; in the error, weights of dead columns are zero.
    pub fn clip_search(&self, weights: WeightMatrix, limit: i8) -> Result<ClipSearch, GptqError> {
        let ordered = self.ordered(weights)?;
        let candidates = clip_candidates(weights, limit)?;
        let mut found =
            least_of(candidates, weights.values().len(), |scales| self.round_ordered(&ordered, scales, limit))?;
        found.matrix.symbols = self.in_place(&found.matrix.symbols);
        Ok(found)
    }

    /// Rounds to the integers `-limit..=limit` with the given scales, one for each row.
    pub fn round(&self, weights: WeightMatrix, scales: Vec<f16>, limit: i8) -> Result<IntegerMatrix, GptqError> {
        if scales.len() != weights.rows() {
            return Err(GptqError::Scales { scales: scales.len(), rows: weights.rows() });
        }
        let rows = self.round_ordered(&self.ordered(weights)?, &scales, limit);
        let symbols: Vec<i8> = rows.into_iter().flat_map(|(symbols, _)| symbols).collect();
        Ok(IntegerMatrix { symbols: self.in_place(&symbols), scales })
    }

    /// The weights with their columns in order, dead ones zero.
    fn ordered(&self, weights: WeightMatrix) -> Result<Vec<f32>, GptqError> {
        if weights.columns() != self.columns {
            return Err(GptqError::HessianShape { values: self.factor.len(), columns: weights.columns() });
        }
        let row = |values: &[f32]| -> Vec<f32> {
            self.order.iter().map(|&column| if self.dead[column] { 0.0 } else { values[column] }).collect()
        };
        Ok(weights.values().chunks(self.columns).flat_map(row).collect())
    }

    /// Symbols with their columns where they belong.
    fn in_place(&self, ordered: &[i8]) -> Vec<i8> {
        let mut symbols = vec![0; ordered.len()];
        for (to, from) in symbols.chunks_mut(self.columns).zip(ordered.chunks(self.columns)) {
            for (&column, &symbol) in self.order.iter().zip(from) {
                to[column] = symbol;
            }
        }
        symbols
    }

    /// Each row's symbols, and their squared error against the weights as they were before any compensation.
    fn round_ordered(&self, ordered: &[f32], scales: &[f16], limit: i8) -> Vec<(Vec<i8>, f64)> {
        let tasks = ordered.par_chunks(ROWS_AT_A_TIME * self.columns).zip(scales.par_chunks(ROWS_AT_A_TIME));
        let rounded = tasks.map(|(values, scales)| {
            let rows = values.chunks(self.columns).zip(self.round_rows(values, scales, limit)).zip(scales);
            let with_error = |((values, symbols), scale): ((&[f32], Vec<i8>), &f16)| {
                let error = squared_error(values, &symbols, scale.to_f32());
                (symbols, error)
            };
            rows.map(with_error).collect::<Vec<_>>()
        });
        rounded.flatten_iter().collect()
    }

    /// Symbols of a few rows.
    fn round_rows(&self, values: &[f32], scales: &[f16], limit: i8) -> Vec<Vec<i8>> {
        let (n, range) = (self.columns, symmetric_range(limit));
        let mut left = values.to_vec();
        let mut symbols = vec![Vec::with_capacity(n); scales.len()];
        let mut missed = vec![Vec::with_capacity(COLUMNS_AT_A_TIME); scales.len()];
        for start in (0..n).step_by(COLUMNS_AT_A_TIME) {
            let end = n.min(start + COLUMNS_AT_A_TIME);
            for (((left, &scale), symbols), missed) in left.chunks_mut(n).zip(scales).zip(&mut symbols).zip(&mut missed)
            {
                let scale = stored_scale(scale);
                missed.clear();
                for column in start..end {
                    let value = left[column];
                    let symbol = scale.symbol(value, &range);
                    let factor = &self.factor[column * n..][column..end];
                    let error = (value - f32::from(symbol) * scale.divisor) / factor[0];
                    for (later, factor) in left[column + 1..end].iter_mut().zip(&factor[1..]) {
                        *later -= error * factor;
                    }
                    symbols.push(symbol);
                    missed.push(-error);
                }
            }
            for from in (end..n).step_by(TILE) {
                let to = n.min(from + TILE);
                for (left, missed) in left.chunks_mut(n).zip(&missed) {
                    add_products(&mut left[from..to], missed, |k| &self.factor[(start + k) * n..][from..to]);
                }
            }
        }
        symbols
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::clip_search;

    fn ones(rows: usize) -> Vec<f16> {
        vec![f16::ONE; rows]
    }

    fn weights(values: &[f32], columns: usize) -> WeightMatrix<'_> {
        WeightMatrix::new(values, columns).unwrap()
    }

    /// Neighbouring inputs that go together, of several sizes: `r^|i - j|` times a size for either.
    fn correlated(n: usize) -> Vec<f32> {
        let size = |i: usize| 1.0 + (i * 7 % 11) as f32 / 4.0;
        let at = |i: usize, j: usize| 0.9f32.powi(i.abs_diff(j) as i32) * size(i) * size(j);
        (0..n * n).map(|k| at(k / n, k % n)).collect()
    }

    /// Weights without any pattern: fractional parts of multiples of the golden ratio.
    fn scattered(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i as f64 * 0.618_033_988_75).fract() * 8.0 - 4.0) as f32).collect()
    }

    #[test]
    fn an_equal_input_makes_up_for_what_the_first_missed() {
        // Each rounds to 0 alone. The second is told of 0.4 / 1.01 and becomes 0.796; equals keep their order.
        let gptq = Gptq::new(&[1.0; 4], 2).unwrap();
        assert_eq!(gptq.round(weights(&[0.4, 0.4], 2), ones(1), 31).unwrap().symbols, [0, 1]);
        // The larger input goes first, wherever it stands: it stays at 0, and the smaller makes up for more than it
        // could have missed itself: 0.4 + 0.4 x 2 / 1.025.
        let gptq = Gptq::new(&[1.0, 2.0, 2.0, 4.0], 2).unwrap();
        assert_eq!(gptq.round(weights(&[0.4, 0.4], 2), ones(1), 31).unwrap().symbols, [1, 0]);
        assert_eq!(gptq.curvature(), [1.025, 4.025]);
    }

    #[test]
    fn independent_inputs_are_rounded_as_they_are() {
        let n = 200;
        let hessian: Vec<f32> = (0..n * n).map(|k| if k % (n + 1) == 0 { (k % 13 + 1) as f32 } else { 0.0 }).collect();
        let gptq = Gptq::new(&hessian, n).unwrap();
        let values = scattered(3 * n);
        let plain = clip_search(weights(&values, n), 31).unwrap();
        assert_eq!(gptq.clip_search(weights(&values, n), 31).unwrap(), plain);
        assert_eq!(gptq.round(weights(&values, n), plain.matrix.scales.clone(), 31).unwrap(), plain.matrix);
    }

    #[test]
    fn the_loss_that_the_hessian_measures_is_less_than_without() {
        let n = 300;
        let hessian = correlated(n);
        let gptq = Gptq::new(&hessian, n).unwrap();
        let values = scattered(2 * n);
        let plain: Vec<i8> = values.iter().map(|value| value.round_ties_even() as i8).collect();
        let found = gptq.round(weights(&values, n), ones(2), 31).unwrap().symbols;
        let loss = |symbols: &[i8]| -> f64 {
            let error: Vec<f64> = values.iter().zip(symbols).map(|(w, &q)| f64::from(*w) - f64::from(q)).collect();
            let row = |e: &[f64]| -> f64 { (0..n * n).map(|k| e[k / n] * f64::from(hessian[k]) * e[k % n]).sum() };
            error.chunks(n).map(row).sum()
        };
        assert!(loss(&found) < 0.5 * loss(&plain), "{} against {}", loss(&found), loss(&plain));
    }

    #[test]
    fn a_dead_column_becomes_zero_and_changes_no_other() {
        let gptq = Gptq::new(&[1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0], 3).unwrap();
        assert_eq!(gptq.round(weights(&[0.4, 9.0, 0.4], 3), ones(1), 31).unwrap().symbols, [0, 0, 1]);
        // Its weight sets the scale all the same, 9 / 9 with a limit of 9, and is missed by nothing.
        let found = gptq.clip_search(weights(&[0.0, 9.0, 0.0], 3), 9).unwrap();
        assert_eq!((found.matrix.symbols, found.mean_squared_error), (vec![0; 3], 0.0));
    }

    #[test]
    fn threads_change_nothing() {
        let n = 150;
        let values = scattered(40 * n);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Gptq::new(&correlated(n), n).unwrap().clip_search(weights(&values, n), 31).unwrap())
        };
        assert_eq!(on(1), on(3));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let shape = |values, columns| Some(GptqError::HessianShape { values, columns });
        assert_eq!(Gptq::new(&[1.0; 6], 2).err(), shape(6, 2));
        assert_eq!(Gptq::new(&[], 0).err(), shape(0, 0));
        let bad = Gptq::new(&[1.0, 2.0, 2.0, 1.0], 2).err();
        assert!(matches!(bad, Some(GptqError::NotPositiveDefinite { column: 0, .. })), "{bad:?}");
        let bad = Gptq::new(&[1.0, 0.0, 0.0, f32::NAN], 2).err();
        assert!(matches!(bad, Some(GptqError::NotPositiveDefinite { .. })), "{bad:?}");
        let gptq = Gptq::new(&[1.0], 1).unwrap();
        assert_eq!(gptq.round(weights(&[1.0, 2.0], 2), ones(1), 31).err(), shape(1, 2));
        let found = gptq.round(weights(&[1.0, 2.0], 1), ones(1), 31);
        assert_eq!(found, Err(GptqError::Scales { scales: 1, rows: 2 }));
    }
}
