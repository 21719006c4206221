//! Which scale a row of integers gets: the grid of candidates, and the choice by squared error.

use std::ops::RangeInclusive;

use half::f16;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantile_of_sorted;

/// Quantiles of |w| tried by [`ScaleSearch::Percentiles`], largest first: the five of PR #414's "GPTQ-lite", as the
/// READMEs of PRs #1311 and #979 list them.
pub(super) const PERCENTILES: [f32; 5] = [1.0, 0.99999, 0.9999, 0.9995, 0.999];
/// [`ScaleSearch::Mse`] adds these hundredths of the row's largest magnitude. Below a half, Gaussian and
/// Laplace rows lose more to clipping than to rounding even in five bits.
const RATIOS: RangeInclusive<u8> = 50..=100;
/// Lower bound of a row's scale before it is rounded to f16 (PR #286).
const MIN_SCALE: f32 = 1e-12;
/// Smallest normal f16, 2^-14: the lower bound of a matrix row's scale after rounding (PR #286).
const MIN_NORMAL_HALF: f16 = f16::MIN_POSITIVE;
/// Weights whose errors are added before a candidate may be given up.
const CHUNK: usize = 64;

/// How the scale of each row of an integer tensor is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScaleSearch {
    /// From the row's largest magnitude, or its clip quantile (PR #286).
    #[default]
    Max,
    /// The least squared error over five clip quantiles: 1, 0.99999, 0.9999, 0.9995, 0.999 (PR #414, "GPTQ-lite").
    Percentiles,
    /// The least squared error over those five and over 1.00, 0.99, ... 0.50 of the row's largest magnitude.
    Mse,
}

impl ScaleSearch {
    /// Every way, in the order of the manifest's schema.
    pub const ALL: [ScaleSearch; 3] = [ScaleSearch::Max, ScaleSearch::Percentiles, ScaleSearch::Mse];

    /// Magnitudes to try clipping a row at. `sorted` are its magnitudes, ascending.
    pub(crate) fn clips(self, sorted: &[f32]) -> Vec<f32> {
        let max = sorted.last().copied().unwrap_or(0.0);
        let percentiles = PERCENTILES.iter().map(|&q| quantile_of_sorted(sorted, q));
        match self {
            ScaleSearch::Max => Vec::new(),
            ScaleSearch::Percentiles => percentiles.collect(),
            ScaleSearch::Mse => {
                percentiles.chain(RATIOS.rev().map(|percent| max * (f32::from(percent) / 100.0))).collect()
            }
        }
    }
}

impl std::fmt::Display for ScaleSearch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            ScaleSearch::Max => "max",
            ScaleSearch::Percentiles => "percentiles",
            ScaleSearch::Mse => "mse",
        })
    }
}

/// One way to turn a row into integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowScale {
    /// Magnitudes above are set to this first; infinite for none.
    pub clip: f32,
    /// What weights are divided by.
    pub divisor: f32,
    /// What the file keeps and integers are multiplied with.
    pub stored: f16,
}

impl RowScale {
    /// The scale that maps `clip` to the integer `limit`, rounded to f16 *before* it divides.
    pub fn symmetric(clip: f32, limit: i8, is_matrix: bool) -> Self {
        let stored = f16::from_f32((clip / f32::from(limit)).max(MIN_SCALE));
        // Only the per-row form has this second bound; without it a scale of zero is possible.
        let stored = if is_matrix { stored.max(MIN_NORMAL_HALF) } else { stored };
        RowScale { clip: f32::INFINITY, divisor: stored.to_f32(), stored }
    }

    /// The integer that stands for a weight.
    pub fn symbol(&self, value: f32, range: &RangeInclusive<i8>) -> i8 {
        let (low, high) = (f32::from(*range.start()), f32::from(*range.end()));
        (value.clamp(-self.clip, self.clip) / self.divisor).round_ties_even().clamp(low, high) as i8
    }

    /// Sum of squared differences between weights and what they decode to, added in f64 in the row's order;
    /// `None` as soon as it is certain to be more than `bound`.
    fn squared_error(&self, values: &[f32], range: &RangeInclusive<i8>, bound: f64) -> Option<f64> {
        let mut sum = 0.0f64;
        let stored = self.stored.to_f32();
        for chunk in values.chunks(CHUNK) {
            for &value in chunk {
                let error = f64::from(value) - f64::from(f32::from(self.symbol(value, range)) * stored);
                sum += error * error;
            }
            // A scale beyond f16 decodes to NaN, which no bound accepts.
            if sum.is_nan() || sum > bound {
                return None;
            }
        }
        Some(sum)
    }

    /// The candidate with the least squared error; of equals the larger stored scale, then the earlier one.
    /// `first` stands when no other is better.
    pub fn best(first: RowScale, others: &[RowScale], values: &[f32], range: &RangeInclusive<i8>) -> RowScale {
        if others.is_empty() {
            return first;
        }
        let mut best = first;
        let mut least = first.squared_error(values, range, f64::INFINITY).unwrap_or(f64::INFINITY);
        for candidate in others {
            match candidate.squared_error(values, range, least) {
                Some(error) if error < least || (error == least && candidate.stored > best.stored) => {
                    (best, least) = (*candidate, error);
                }
                _ => {}
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_have_names() {
        assert_eq!(ScaleSearch::ALL.map(|search| search.to_string()), ["max", "percentiles", "mse"]);
        assert_eq!(format!("{:>4}", ScaleSearch::Mse), " mse");
    }

    #[test]
    fn a_scale_is_rounded_before_it_divides_and_never_zero_in_a_matrix() {
        // 10 / 15 in f16 is 0.66650390625.
        let scale = RowScale::symmetric(10.0, 15, true);
        assert_eq!((scale.clip, scale.divisor, scale.stored.to_f32()), (f32::INFINITY, 0.666_503_9, 0.666_503_9));
        // 2^-14 is the least normal half; 1e-12 is none at all.
        assert_eq!(RowScale::symmetric(0.0, 15, true).divisor, 2f32.powi(-14));
        assert_eq!(RowScale::symmetric(0.0, 15, false).divisor, 0.0);
        // Subnormal halves are multiples of 2^-24.
        assert_eq!(RowScale::symmetric(15.0 * 2f32.powi(-20), 15, false).divisor, 2f32.powi(-20));
    }

    #[test]
    fn symbols_are_clipped_rounded_to_even_and_held_in_their_range() {
        let scale = RowScale { clip: 3.0, divisor: 0.5, stored: f16::from_f32(0.5) };
        let symbols = [-9.0, -1.25, -0.25, 0.25, 0.75, 1.25, 9.0].map(|value| scale.symbol(value, &(-16..=15)));
        assert_eq!(symbols, [-6, -2, 0, 0, 2, 2, 6]);
        let open = RowScale { clip: f32::INFINITY, ..scale };
        assert_eq!([-9.0, 9.0].map(|value| open.symbol(value, &(-16..=15))), [-16, 15]);
    }

    #[test]
    fn the_error_is_that_of_the_decoded_values() {
        let scale = RowScale { clip: f32::INFINITY, divisor: 1.0, stored: f16::from_f32(1.0) };
        let error = |values: &[f32], bound| scale.squared_error(values, &(-16..=15), bound);
        // 0.25 and 0.5 below their integers, and 3 beyond the range: 1/16 + 1/4 + 9.
        assert_eq!(error(&[0.25, 2.5, 18.0], f64::INFINITY), Some(9.3125));
        assert_eq!(error(&[0.25, 2.5, 18.0], 9.3125), Some(9.3125));
        assert_eq!(error(&[0.25, 2.5, 18.0], 9.3), None);
        // Decoding multiplies with what is stored, whatever divided.
        let other = RowScale { stored: f16::from_f32(1.5), ..scale };
        assert_eq!(other.squared_error(&[2.0], &(-16..=15), f64::INFINITY), Some(1.0));
        let infinite = RowScale { stored: f16::INFINITY, ..scale };
        assert_eq!(infinite.squared_error(&[0.0], &(-16..=15), f64::INFINITY), None);
        // A candidate is given up after 64 values at the earliest.
        let late = [&[0.0; 64][..], &[0.5]].concat();
        assert_eq!((error(&late, 0.2), error(&late, 0.25)), (None, Some(0.25)));
    }

    #[test]
    fn the_least_error_wins_and_without_others_the_first_stands() {
        let scale = |stored| RowScale { clip: f32::INFINITY, divisor: stored, stored: f16::from_f32(stored) };
        let values = [1.0, 2.0, 3.0];
        let best = |first, others: &[RowScale]| RowScale::best(first, others, &values, &(-16..=15));
        assert_eq!(best(scale(0.7), &[]), scale(0.7));
        assert_eq!(best(scale(0.7), &[scale(0.6), scale(1.0), scale(0.9)]), scale(1.0));
        // 0.5 and 1 both hit exactly: the larger, whichever comes first.
        assert_eq!(best(scale(0.5), &[scale(1.0)]), scale(1.0));
        assert_eq!(best(scale(1.0), &[scale(0.5)]), scale(1.0));
    }

    #[test]
    fn equal_errors_go_to_the_larger_scale() {
        // Zeros decode without error at any scale.
        let scale = |stored| RowScale { clip: f32::INFINITY, divisor: stored, stored: f16::from_f32(stored) };
        let candidates = [scale(0.5), scale(2.0), scale(1.0)];
        assert_eq!(RowScale::best(scale(0.25), &candidates, &[0.0; 3], &(-16..=15)), candidates[1]);
        assert_eq!(RowScale::best(scale(4.0), &candidates, &[0.0; 3], &(-16..=15)), scale(4.0));
    }

    #[test]
    fn the_grids_are_the_documented_ones() {
        let sorted: Vec<f32> = (0..=1000).map(|i| 2.0 * i as f32).collect();
        let percentiles = ScaleSearch::Percentiles.clips(&sorted);
        let expected = [2000.0f32, 1999.98, 1999.8, 1999.0, 1998.0];
        assert!(percentiles.len() == 5 && percentiles.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3));
        let both = ScaleSearch::Mse.clips(&sorted);
        assert_eq!(both[..5], percentiles);
        assert_eq!((both.len(), both[5], both[6], both[55]), (56, 2000.0, 1980.0, 1000.0));
        assert!(ScaleSearch::Max.clips(&sorted).is_empty());
        assert_eq!(ScaleSearch::Mse.clips(&[]), [0.0; 56]);
    }
}
