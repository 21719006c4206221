//! One clip quantile for a whole matrix: the one whose integers miss the weights least (PRs #414, #549).

use half::f16;
use rayon::prelude::*;

use super::integer_matrix::{IntegerMatrix, MatrixError, WeightMatrix, squared_error, stored_scale, symmetric_range};
use super::quantile::{quantile_of_sorted, sorted_magnitudes};
use super::scale_search::PERCENTILES;

/// Integers, the quantile that the rows are clipped at, and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipSearch {
    /// Integers and scales.
    pub matrix: IntegerMatrix,
    /// The quantile of |w| in each row that the largest symbol stands for.
    pub quantile: f32,
    /// Mean over the whole matrix of the squared difference between weights and decoded values.
    pub mean_squared_error: f32,
}

/// The scales that one quantile gives.
pub(super) struct ClipCandidate {
    pub quantile: f32,
    /// One for each row.
    pub scales: Vec<f16>,
}

/// Holds a matrix in the integers `-limit..=limit` with the quantile, of 0.999, 0.9995, 0.9999, 0.99999 and 1, that
/// has the least mean squared error; of equals the first.
///
/// A row's scale is the quantile of its magnitudes over `limit`, and `1 / limit` at least, rounded to f16 before it
/// divides.
pub fn clip_search(weights: WeightMatrix, limit: i8) -> Result<ClipSearch, MatrixError> {
    least_of(clip_candidates(weights, limit)?, weights.values().len(), |scales| {
        let range = symmetric_range(limit);
        let rows = weights.values().par_chunks(weights.columns()).zip(scales);
        let rounded = rows.map(|(values, &scale)| {
            let scale = stored_scale(scale);
            let symbols: Vec<i8> = values.iter().map(|&value| scale.symbol(value, &range)).collect();
            let error = squared_error(values, &symbols, scale.divisor);
            (symbols, error)
        });
        rounded.collect()
    })
}

/// The five candidates, smallest quantile first.
pub(super) fn clip_candidates(weights: WeightMatrix, limit: i8) -> Result<Vec<ClipCandidate>, MatrixError> {
    let limit = f32::from(limit.max(1));
    let quantiles = PERCENTILES.iter().rev();
    let sorted: Vec<Vec<f32>> = weights.values().par_chunks(weights.columns()).map(sorted_magnitudes).collect();
    let candidate = |&quantile: &f32| {
        let scale = |row: usize, _: &[f32]| {
            let clip = sorted.get(row).map_or(0.0, |sorted| quantile_of_sorted(sorted, quantile));
            (clip / limit).max(1.0 / limit)
        };
        Ok(ClipCandidate { quantile, scales: weights.scales(scale)? })
    };
    quantiles.map(candidate).collect()
}

/// Tries every candidate with `round`, which returns each row's symbols and squared error, and keeps the first with
/// the strictly least mean over `elements`.
///
/// The mean is rounded to single precision before it is compared, as it is in the scripts.
pub(super) fn least_of(
    candidates: Vec<ClipCandidate>,
    elements: usize,
    round: impl Fn(&[f16]) -> Vec<(Vec<i8>, f64)>,
) -> Result<ClipSearch, MatrixError> {
    let mut best: Option<ClipSearch> = None;
    for ClipCandidate { quantile, scales } in candidates {
        let rows = round(&scales);
        let sum: f64 = rows.iter().map(|(_, error)| error).sum();
        let mean_squared_error = (sum / elements.max(1) as f64) as f32;
        if best.as_ref().is_none_or(|best| mean_squared_error < best.mean_squared_error) {
            let symbols = rows.into_iter().flat_map(|(symbols, _)| symbols).collect();
            best = Some(ClipSearch { matrix: IntegerMatrix { symbols, scales }, quantile, mean_squared_error });
        }
    }
    // There are always five.
    best.ok_or(MatrixError::Shape { values: 0, columns: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(values: &[f32], columns: usize) -> ClipSearch {
        clip_search(WeightMatrix::new(values, columns).unwrap(), 31).unwrap()
    }

    #[test]
    fn rows_below_one_get_the_least_scale_and_ties_go_to_the_smallest_quantile() {
        // f16(1 / 31) = 0.03225708; zero decodes exactly with every candidate.
        let found = search(&[0.0; 8], 4);
        assert_eq!((found.quantile, found.mean_squared_error), (0.999, 0.0));
        assert_eq!(found.matrix.scales.iter().map(|scale| scale.to_f32()).collect::<Vec<_>>(), [0.032_257_08; 2]);
        assert_eq!(found.matrix.symbols, [0; 8]);
        // Halves of a step go to the even neighbour.
        let step = 0.032_257_08;
        assert_eq!(search(&[0.5 * step, 1.5 * step, -2.5 * step, 0.99], 4).matrix.symbols, [0, 2, -2, 31]);
    }

    #[test]
    fn a_matrix_of_its_own_symbols_decodes_exactly_without_clipping() {
        // With a scale of 2, which the largest magnitude gives back.
        let values: Vec<f32> = (-31..=31).map(|symbol| 2.0 * symbol as f32).collect();
        let found = search(&values, 63);
        assert_eq!((found.mean_squared_error, found.matrix.scales[0].to_f32()), (0.0, 2.0));
        assert_eq!(found.matrix.symbols, (-31..=31).collect::<Vec<i8>>());
    }

    #[test]
    fn the_whole_matrix_shares_one_quantile() {
        // Of 1001 values the quantile 0.999 is the second largest: 31, a scale of 1, at which only 32 is missed, by 1.
        // All wider scales miss the others.
        let mut near: Vec<f32> = (0..1001).map(|i| if i % 2 == 0 { 31.0 } else { 29.0 }).collect();
        near[0] = 32.0;
        let alone = search(&near, 1001);
        assert_eq!((alone.quantile, alone.matrix.scales[0].to_f32()), (0.999, 1.0));
        assert_eq!(alone.mean_squared_error, 1.0 / 1001.0);
        // Zeros and 62: exact at the largest magnitude, and missed by 61 at 0.999, where the scale is the least one.
        let mut far = vec![0.0; 1001];
        far[500] = 62.0;
        let both = search(&[near, far].concat(), 1001);
        assert_eq!(both.quantile, 1.0);
        assert_eq!(both.matrix.scales.iter().map(|scale| scale.to_f32()).collect::<Vec<_>>(), [1.032_226_6, 2.0]);
    }

    #[test]
    fn a_scale_beyond_half_precision_is_named() {
        let values = [1.0, 3e6];
        let error = clip_search(WeightMatrix::new(&values, 1).unwrap(), 31);
        assert!(matches!(error, Err(MatrixError::ScaleTooLarge { row: 1, .. })), "{error:?}");
    }
}
