//! Corrections of low rank: two small factors stored beside the integers of a matrix.
//!
//! In a file they are tensors like others, `NAME.low_rank.left` of `[R, rows]` and `NAME.low_rank.right` of
//! `[R, columns]`. Whoever reads the weights of a golf file gets NAME with their product added, and no factors.

use std::collections::{BTreeMap, BTreeSet};

use super::quantize::quantize_factor;
use super::{PackedTensor, QuantizeError};
use crate::model::HostTensor;
use crate::quant::{LowRank, leading_factors, limits};

/// Behind the name of a matrix: the factor with a column for each of its rows.
const LEFT: &str = ".low_rank.left";
/// The same with a column for each of its columns.
const RIGHT: &str = ".low_rank.right";

/// The factors of what rounding has missed of a matrix.
pub(crate) struct Correction {
    /// Left and right.
    pub factors: [PackedTensor; 2],
    /// Sum of the squares of what was missed, before the correction.
    pub missed: f64,
}

/// What corrects a matrix of integers: the nearest matrix of the rule's rank to `weights - stored`, in two factors of its
/// class.
pub(super) fn correction(
    weights: &HostTensor,
    stored: &PackedTensor,
    low_rank: LowRank,
) -> Result<Option<Correction>, QuantizeError> {
    let Some((rows, columns)) = weights.matrix_sides() else { return Ok(None) };
    let decoded = stored.dequantize();
    let missed = weights.data().iter().zip(decoded.data()).map(|(w, q)| f64::from(*w) - f64::from(*q));
    let missed: Vec<f64> = missed.collect();
    let found = leading_factors(&missed, columns, low_rank.rank as usize);
    let factor = |suffix: &str, side: usize, values: &[f64]| {
        let values = values.iter().map(|&value| value as f32).collect();
        let tensor = HostTensor::new(vec![found.rank, side], values).unwrap_or_else(|| HostTensor::zeros(&[0, side]));
        quantize_factor(&format!("{}{suffix}", stored.name()), &tensor, low_rank.factors)
    };
    let factors = [factor(LEFT, rows, &found.left)?, factor(RIGHT, columns, &found.right)?];
    Ok(Some(Correction { factors, missed: missed.iter().map(|error| error * error).sum() }))
}

/// Decoded tensors with every correction added to its matrix, and without the factors.
///
/// In single precision: the products of one element are added in the order of the rank, then their sum to the element.
/// Factors that belong to no matrix here, or do not fit it, stay as they are.
pub(super) fn corrected(entries: Vec<(String, HostTensor)>) -> Vec<(String, HostTensor)> {
    if !entries.iter().any(|(name, _)| name.ends_with(LEFT)) {
        return entries;
    }
    let sides: BTreeMap<&str, (usize, usize)> =
        entries.iter().filter_map(|(name, tensor)| Some((name.as_str(), tensor.matrix_sides()?))).collect();
    let fits = |base: &str| {
        let (rows, columns) = sides.get(base)?;
        let (left, right) =
            (sides.get(format!("{base}{LEFT}").as_str())?, sides.get(format!("{base}{RIGHT}").as_str())?);
        let fits =
            left.0 == right.0 && left.0 <= limits::MAX_LOW_RANK as usize && (left.1, right.1) == (*rows, *columns);
        fits.then(|| base.to_string())
    };
    let bases: BTreeSet<String> = entries.iter().filter_map(|(name, _)| fits(name.strip_suffix(LEFT)?)).collect();
    let mut factors = BTreeMap::new();
    let mut rest = Vec::with_capacity(entries.len());
    for (name, tensor) in entries {
        let base = name.strip_suffix(LEFT).or_else(|| name.strip_suffix(RIGHT));
        if base.is_some_and(|base| bases.contains(base)) {
            factors.insert(name, tensor);
        } else {
            rest.push((name, tensor));
        }
    }
    for (name, tensor) in &mut rest {
        if let (Some(left), Some(right)) =
            (factors.get(&format!("{name}{LEFT}")), factors.get(&format!("{name}{RIGHT}")))
        {
            add_product(tensor, left, right);
        }
    }
    rest
}

/// `tensor += left^T right`.
fn add_product(tensor: &mut HostTensor, left: &HostTensor, right: &HostTensor) {
    // A matrix without rows may be said to have any number of columns.
    if tensor.is_empty() {
        return;
    }
    let (Some((rows, columns)), Some((rank, _))) = (tensor.matrix_sides(), left.matrix_sides()) else { return };
    let (left, right) = (left.data(), right.data());
    let mut sums = vec![0.0f32; columns];
    for (row, values) in tensor.data_mut().chunks_mut(columns.max(1)).enumerate() {
        sums.fill(0.0);
        for k in 0..rank {
            let Some(&weight) = left.get(k * rows + row) else { return };
            let other = right.get(k * columns..(k + 1) * columns).unwrap_or(&[]);
            sums.iter_mut().zip(other).for_each(|(sum, value)| *sum += weight * value);
        }
        values.iter_mut().zip(&sums).for_each(|(value, sum)| *value += sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::PackedValues;
    use crate::quant::TensorClass;

    fn matrix(shape: &[usize], values: Vec<f32>) -> HostTensor {
        HostTensor::new(shape.to_vec(), values).unwrap()
    }

    fn zeros(name: &str, rows: usize, columns: usize) -> PackedTensor {
        let values = PackedValues::Integers {
            class: TensorClass::Int6,
            symbols: vec![0; rows * columns],
            scales: vec![half::f16::ONE; rows],
        };
        PackedTensor::new(name, vec![rows, columns], values).unwrap()
    }

    fn distance(a: &HostTensor, b: &HostTensor) -> f64 {
        a.data().iter().zip(b.data()).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    }

    #[test]
    fn a_residual_of_low_rank_is_given_back() {
        // All of the matrix is missed; its rank is 2: rows 3 (1, 2, .., 6) and (1, -1, 1, ..) weighted by row.
        let (rows, columns) = (9, 6);
        let at = |r: usize, c: usize| {
            3.0 * (r as f32 - 4.0) * (c as f32 + 1.0) + if c.is_multiple_of(2) { r as f32 } else { -(r as f32) }
        };
        let weights = matrix(&[rows, columns], (0..rows * columns).map(|i| at(i / columns, i % columns)).collect());
        let stored = zeros("w", rows, columns);
        let squares: f64 = weights.data().iter().map(|w| f64::from(*w).powi(2)).sum();
        for (class, share) in [(TensorClass::F32, 1e-12), (TensorClass::F16, 1e-6), (TensorClass::Int8, 1e-4)] {
            let low_rank = LowRank { rank: 2, factors: class, largest: None };
            let found = correction(&weights, &stored, low_rank).unwrap().unwrap();
            assert_eq!(found.missed, squares);
            let names = ["w.low_rank.left", "w.low_rank.right"];
            assert_eq!(found.factors.each_ref().map(PackedTensor::name), names);
            assert_eq!(
                found.factors.each_ref().map(|factor| factor.shape().to_vec()),
                [vec![2, rows], vec![2, columns]]
            );
            let entry = |tensor: &PackedTensor| (tensor.name().to_string(), tensor.dequantize());
            let entries = [&stored, &found.factors[0], &found.factors[1]].map(entry).to_vec();
            let read = corrected(entries);
            assert_eq!(read.len(), 1);
            let left = distance(&read[0].1, &weights);
            assert!(left < share * squares, "{class}: {left} of {squares}");
        }
    }

    #[test]
    fn products_are_added_in_the_order_of_the_rank() {
        let entries = |rank: usize, columns: usize| {
            vec![
                ("w".to_string(), matrix(&[1, 2], vec![0.5, 1.0])),
                ("w.low_rank.left".to_string(), matrix(&[rank, 1], vec![1.0; rank])),
                ("other".to_string(), matrix(&[1], vec![7.0])),
                // 1 is lost beside 1e8, unless it is added after -1e8.
                ("w.low_rank.right".to_string(), {
                    let rows = [1e8, 1e8, 1.0, -1e8, -1e8, 1.0];
                    matrix(&[rank, columns], rows.into_iter().cycle().take(rank * columns).collect())
                }),
            ]
        };
        let read = corrected(entries(3, 2));
        let expected =
            vec![("w".to_string(), matrix(&[1, 2], vec![0.5, 2.0])), ("other".to_string(), matrix(&[1], vec![7.0]))];
        assert_eq!(read, expected);
        // What does not fit stays, for whoever asks for the model's tensors to find.
        for (rank, columns) in [(3, 3), (65, 2)] {
            assert_eq!(corrected(entries(rank, columns)), entries(rank, columns));
        }
    }

    /// Nothing is added to no rows, however long a file says that they are.
    #[test]
    fn matrices_without_rows_take_no_memory() {
        let empty = |shape: &[usize]| matrix(shape, Vec::new());
        for columns in [1 << 40, 1 << 62] {
            let entries = vec![
                ("w".to_string(), empty(&[0, columns])),
                ("w.low_rank.left".to_string(), empty(&[0, 0])),
                ("w.low_rank.right".to_string(), empty(&[0, columns])),
            ];
            assert_eq!(corrected(entries), [("w".to_string(), empty(&[0, columns]))]);
        }
    }
}
