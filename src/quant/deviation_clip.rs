//! Scales from the standard deviation of a row instead of its extremes (PR #1394), and from the curvature as well
//! (PR #1412).

use half::f16;

use super::integer_matrix::{MatrixError, WeightMatrix};

/// Lower bound of a scale before it is rounded to f16, which makes it zero (PR #1394).
const MIN_SCALE: f32 = 1e-10;
/// Lower bound of the curvature of a column (PR #1412).
const MIN_CURVATURE: f32 = 1e-8;

/// Scales that map `deviations` standard deviations of a row to the integer `limit`.
pub fn deviation_scales(weights: WeightMatrix, deviations: f32, limit: i8) -> Result<Vec<f16>, MatrixError> {
    let limit = f32::from(limit.max(1));
    weights.scales(|_, values| (deviations * standard_deviation(values) / limit).max(MIN_SCALE))
}

/// [`deviation_scales`], wider by `strength` times how much more than the average row a row weighs in the loss:
/// `1 + strength * (importance - 1)`.
///
/// The importance of a row is the mean of |w| times the curvature of its column, over that of the average row.
/// `curvature` is the damped diagonal of the Hessian in the order of the columns.
pub fn curvature_scales(
    weights: WeightMatrix,
    curvature: &[f32],
    deviations: f32,
    limit: i8,
    strength: f32,
) -> Result<Vec<f16>, MatrixError> {
    if curvature.len() != weights.columns() {
        return Err(MatrixError::Shape { values: curvature.len(), columns: weights.columns() });
    }
    let curvature: Vec<f64> = curvature.iter().map(|&h| f64::from(h.max(MIN_CURVATURE))).collect();
    let mean = mean(&curvature);
    let importance = |values: &[f32]| {
        let terms = values.iter().zip(&curvature).map(|(&w, h)| f64::from(w.abs()) * (h / mean));
        terms.sum::<f64>() / values.len().max(1) as f64
    };
    let importances: Vec<f64> = weights.values().chunks(weights.columns()).map(importance).collect();
    let average = self::mean(&importances);
    let limit = f32::from(limit.max(1));
    weights.scales(|row, values| {
        // Where all weights are zero, all rows are alike.
        let relative = if average > 0.0 { (importances[row] / average) as f32 } else { 1.0 };
        (deviations * standard_deviation(values) * (1.0 + strength * (relative - 1.0)) / limit).max(MIN_SCALE)
    })
}

/// The unbiased standard deviation (divided by n - 1), as `torch.std`; 0 for a single value.
fn standard_deviation(values: &[f32]) -> f32 {
    let count = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count.max(1.0);
    let squares: f64 = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum();
    (squares / (count - 1.0).max(1.0)).sqrt() as f32
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(scales: Vec<f16>) -> Vec<f32> {
        scales.into_iter().map(f16::to_f32).collect()
    }

    #[test]
    fn the_deviation_is_the_unbiased_one() {
        // Squares 9 + 1 + 1 + 9 = 20 around the mean of 4, over 3.
        assert_eq!(standard_deviation(&[1.0, 3.0, 5.0, 7.0]), (20.0f64 / 3.0).sqrt() as f32);
        assert_eq!(standard_deviation(&[5.0]), 0.0);
    }

    #[test]
    fn a_scale_is_so_many_deviations_over_the_limit() {
        // Deviations of 1 and 2: 15.5 / 31 and 31 / 31. A constant row has the scale 0.
        let values = [-1.0, 0.0, 1.0, 1.0, 3.0, 5.0, 7.0, 7.0, 7.0];
        let weights = WeightMatrix::new(&values, 3).unwrap();
        assert_eq!(floats(deviation_scales(weights, 15.5, 31).unwrap()), [0.5, 1.0, 0.0]);
        let error = deviation_scales(weights, 3e6, 31);
        assert!(matches!(error, Err(MatrixError::ScaleTooLarge { row: 0, .. })), "{error:?}");
    }

    #[test]
    fn rows_that_weigh_more_get_wider_scales() {
        // Deviations 1 and 2. Curvature 3 and 1, mean 2: the rows weigh (0 x 1.5 + sqrt 2 x 0.5) / 2 and
        // (sqrt 8 x 1.5 + 0) / 2, that is 1 : 6, or 2/7 and 12/7 of the average.
        let (one, two) = (2f32.sqrt(), 8f32.sqrt());
        let values = [0.0, one, two, 0.0];
        let weights = WeightMatrix::new(&values, 2).unwrap();
        let found = floats(curvature_scales(weights, &[3.0, 1.0], 31.0, 31, 0.7).unwrap());
        // 1 + 0.7 (2/7 - 1) = 0.5, and 1 + 0.7 (12/7 - 1) = 1.5 of 2.
        assert_eq!(found, [0.5, 3.0]);
        // Without strength, or where all columns and rows are alike, it is the plain rule.
        let plain = deviation_scales(weights, 31.0, 31).unwrap();
        assert_eq!(curvature_scales(weights, &[3.0, 1.0], 31.0, 31, 0.0).unwrap(), plain);
        let zeros = WeightMatrix::new(&[0.0; 4], 2).unwrap();
        assert_eq!(floats(curvature_scales(zeros, &[0.0, 0.0], 31.0, 31, 0.7).unwrap()), [0.0, 0.0]);
        let error = curvature_scales(weights, &[1.0], 31.0, 31, 0.7);
        assert_eq!(error, Err(MatrixError::Shape { values: 1, columns: 2 }));
    }
}
