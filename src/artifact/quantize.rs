//! From single-precision weights to integers and scales: section 7 of PR #286's specification, to the bit.
//!
//! Rounding is half to even everywhere, as in `torch.round`, and divisions are in single precision.

use half::f16;

use super::{PackedTensor, PackedValues};
use crate::manifest::QuantizationConfig;
use crate::model::HostTensor;
use crate::quant::{RowScale, ScaleSearch, TensorClass, quantile_of_sorted, sorted_magnitudes};

/// Largest integer of the int8 class.
const INT8_MAX: f32 = 127.0;

/// Why a tensor cannot be held in its class.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// NaN or infinity.
    #[error("tensor `{name}` holds {value} at element {index}: the weights are damaged or training diverged")]
    NotFinite {
        /// The tensor.
        name: String,
        /// Row-major index.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A weight beyond half precision.
    #[error("tensor `{name}`: {value} at element {index} does not fit f16 (largest: 65504)")]
    TooLargeForHalf {
        /// The tensor.
        name: String,
        /// Row-major index.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A row whose scale is beyond half precision: it would decode to NaN.
    #[error("tensor `{name}`: row {row} reaches {magnitude}, too large for the f16 scale of class {class}")]
    ScaleTooLarge {
        /// The tensor.
        name: String,
        /// The row.
        row: usize,
        /// Largest magnitude in it.
        magnitude: f32,
        /// The class asked for.
        class: TensorClass,
    },
}

/// Converts one tensor to a class.
pub fn quantize(
    name: &str,
    tensor: &HostTensor,
    class: TensorClass,
    config: &QuantizationConfig,
) -> Result<PackedTensor, QuantizeError> {
    if let Some((index, &value)) = tensor.data().iter().enumerate().find(|(_, value)| !value.is_finite()) {
        return Err(QuantizeError::NotFinite { name: name.to_string(), index, value });
    }
    let values = match class {
        TensorClass::F32 => PackedValues::F32(tensor.data().to_vec()),
        TensorClass::F16 => PackedValues::F16(to_halves(name, tensor)?),
        TensorClass::Int5 => to_integers(name, tensor, class, 15, config)?,
        TensorClass::Int6 => to_integers(name, tensor, class, 31, config)?,
        TensorClass::Int8 => to_integers(name, tensor, class, 127, config)?,
    };
    Ok(PackedTensor::from_trusted_parts(name, tensor.shape().to_vec(), values))
}

fn to_halves(name: &str, tensor: &HostTensor) -> Result<Vec<f16>, QuantizeError> {
    let convert = |(index, &value): (usize, &f32)| {
        let half = f16::from_f32(value);
        let error = || QuantizeError::TooLargeForHalf { name: name.to_string(), index, value };
        half.is_finite().then_some(half).ok_or_else(error)
    };
    tensor.data().iter().enumerate().map(convert).collect()
}

/// `limit` is the integer the largest magnitude is mapped to.
fn to_integers(
    name: &str,
    tensor: &HostTensor,
    class: TensorClass,
    limit: i8,
    config: &QuantizationConfig,
) -> Result<PackedValues, QuantizeError> {
    let is_matrix = tensor.matrix_sides().is_some();
    let rows = super::packed::scale_count(tensor.shape());
    let columns = tensor.len().checked_div(rows).unwrap_or(0);
    let range = class.symbols().unwrap_or(0..=0);
    let mut symbols = Vec::with_capacity(tensor.len());
    let mut scales = Vec::with_capacity(rows);
    for row in 0..rows {
        let values = tensor.data().get(row * columns..(row + 1) * columns).unwrap_or(&[]);
        let scale = match class {
            TensorClass::Int8 => int8_scale(values, is_matrix, config),
            _ => low_bit_scale(values, is_matrix, limit, config),
        };
        let searched = match config.scale_search {
            ScaleSearch::Max => Vec::new(),
            search => search.clips(&sorted_magnitudes(values)),
        };
        let searched: Vec<RowScale> =
            searched.into_iter().map(|clip| RowScale::symmetric(clip, limit, is_matrix)).collect();
        let scale = RowScale::best(scale, &searched, values, &range);
        if !scale.stored.is_finite() {
            let magnitude = values.iter().fold(0.0f32, |max, value| max.max(value.abs()));
            return Err(QuantizeError::ScaleTooLarge { name: name.to_string(), row, magnitude, class });
        }
        symbols.extend(values.iter().map(|&value| scale.symbol(value, &range)));
        scales.push(scale.stored);
    }
    Ok(PackedValues::Integers { class, symbols, scales })
}

/// int5 and int6: symmetric, from the largest magnitude or the clip quantile.
fn low_bit_scale(values: &[f32], is_matrix: bool, limit: i8, config: &QuantizationConfig) -> RowScale {
    let clip = if config.low_bit_clip_quantile < 1.0 {
        quantile_of_sorted(&sorted_magnitudes(values), config.low_bit_clip_quantile as f32)
    } else {
        values.iter().fold(0.0f32, |max, value| max.max(value.abs()))
    };
    RowScale::symmetric(clip, limit, is_matrix)
}

/// int8: clipped at a quantile of |w|; the f32 scale divides, its f16 rounding is what the file keeps.
fn int8_scale(values: &[f32], is_matrix: bool, config: &QuantizationConfig) -> RowScale {
    let clip = quantile_of_sorted(&sorted_magnitudes(values), config.int8_clip_quantile as f32);
    let divisor = match (is_matrix, clip > 0.0) {
        // The floor of 1/127 makes steps of 0.00787 for any row that stays below 1.
        (true, _) => (clip / INT8_MAX).max(1.0 / INT8_MAX),
        (false, true) => clip / INT8_MAX,
        (false, false) => 1.0,
    };
    RowScale { clip, divisor, stored: f16::from_f32(divisor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(class: TensorClass, shape: &[usize], values: &[f32]) -> (Vec<i8>, Vec<f32>) {
        let tensor = HostTensor::new(shape.to_vec(), values.to_vec()).unwrap();
        let packed = quantize("w", &tensor, class, &QuantizationConfig::default()).unwrap();
        match packed.values() {
            PackedValues::Integers { symbols, scales, .. } => {
                (symbols.clone(), scales.iter().map(|scale| scale.to_f32()).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ties_round_to_even() {
        // Row maximum 15 gives scale 1, so the values are their own quotients.
        let (symbols, scales) = pack(TensorClass::Int5, &[1, 7], &[15.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]);
        assert_eq!(scales, [1.0]);
        assert_eq!(symbols, [15, 0, 2, 2, 0, -2, -2]);
    }

    #[test]
    fn zero_rows_take_the_smallest_normal_scale() {
        for class in [TensorClass::Int5, TensorClass::Int6] {
            let (symbols, scales) = pack(class, &[2, 2], &[0.0, -0.0, 1e-30, 0.0]);
            assert_eq!(symbols, [0; 4]);
            assert_eq!(scales, [2f32.powi(-14); 2]);
        }
        assert_eq!(
            pack(TensorClass::Int8, &[1, 2], &[0.0, 0.0]),
            (vec![0, 0], vec![f16::from_f32(1.0 / 127.0).to_f32()])
        );
    }

    #[test]
    fn int8_rows_below_one_share_the_floor() {
        // 0.005 / (1/127) = 0.635 -> 1; 0.003 -> 0.381 -> 0. The stored step is f16(1/127).
        let (symbols, scales) = pack(TensorClass::Int8, &[1, 3], &[0.005, 0.003, -0.9]);
        assert_eq!(symbols, [1, 0, -114]);
        assert_eq!(scales, [f16::from_f32(1.0 / 127.0).to_f32()]);
    }

    #[test]
    fn a_scale_of_zero_outside_matrices_gives_zeros() {
        // Non-matrices lack the second bound: 1e-12 rounds to a zero f16, and 0/0 must not become garbage.
        let (symbols, scales) = pack(TensorClass::Int6, &[3], &[0.0, 0.0, 0.0]);
        assert_eq!((symbols, scales), (vec![0; 3], vec![0.0]));
    }

    #[test]
    fn int8_rows_above_one_have_a_scale_of_their_own() {
        // Of two values the clip quantile 0.9999984 is 0.0000016 of their distance below the larger: 254 to four digits.
        let (symbols, scales) = pack(TensorClass::Int8, &[2, 2], &[254.0, 254.0, -127.0, 127.0]);
        assert_eq!((symbols, scales), (vec![127, 127, -127, 127], vec![2.0, 1.0]));
        // Outside matrices there is no floor: 0.5 / 127 divides, and zeros are divided by one.
        let (symbols, scales) = pack(TensorClass::Int8, &[2], &[0.5, -0.5]);
        assert_eq!((symbols, scales), (vec![127, -127], vec![f16::from_f32(0.5 / 127.0).to_f32()]));
        assert_eq!(pack(TensorClass::Int8, &[2], &[0.0, 0.0]), (vec![0, 0], vec![1.0]));
    }

    #[test]
    fn rows_are_cut_where_they_end() {
        let (symbols, scales) = pack(TensorClass::Int6, &[2, 3], &[31.0, 1.0, 2.0, 62.0, 4.0, 6.0]);
        assert_eq!((symbols, scales), (vec![31, 1, 2, 31, 2, 3], vec![1.0, 2.0]));
        let (symbols, _) = pack(TensorClass::Int5, &[1, 2], &[-15.0, 15.0]);
        assert_eq!(symbols, [-15, 15]);
    }

    #[test]
    fn a_clip_quantile_below_one_clips_low_bit_rows() {
        let config = QuantizationConfig { low_bit_clip_quantile: 0.5, ..QuantizationConfig::default() };
        let tensor = HostTensor::new(vec![1, 3], vec![1.0, -15.0, 30.0]).unwrap();
        let packed = quantize("w", &tensor, TensorClass::Int5, &config).unwrap();
        let PackedValues::Integers { symbols, scales, .. } = packed.values() else { panic!("integers") };
        // The middle magnitude, 15, is mapped to 15; -16..=15 holds what lies beyond.
        assert_eq!((symbols.as_slice(), scales[0].to_f32()), (&[1, -15, 15][..], 1.0));
    }

    #[test]
    fn halves_are_rounded_and_faults_name_their_place() {
        let config = QuantizationConfig::default();
        let tensor = HostTensor::new(vec![2], vec![0.1, 65_504.0]).unwrap();
        let packed = quantize("w", &tensor, TensorClass::F16, &config).unwrap();
        assert_eq!(packed.values(), &PackedValues::F16(vec![f16::from_bits(0x2e66), f16::MAX]));
        let rows = HostTensor::new(vec![2, 2], vec![1.0, 1.0, -4e6, 3e6]).unwrap();
        let error = quantize("w", &rows, TensorClass::Int6, &config).unwrap_err();
        let expected =
            QuantizeError::ScaleTooLarge { name: "w".into(), row: 1, magnitude: 4e6, class: TensorClass::Int6 };
        assert_eq!(error, expected);
    }

    #[test]
    fn what_half_precision_cannot_hold_is_refused() {
        let config = QuantizationConfig::default();
        let tensor = HostTensor::new(vec![1, 2], vec![1.0, 3e6]).unwrap();
        let refuse = |tensor: &HostTensor, class| quantize("w", tensor, class, &config).unwrap_err();
        assert!(matches!(refuse(&tensor, TensorClass::F16), QuantizeError::TooLargeForHalf { index: 1, .. }));
        assert!(matches!(refuse(&tensor, TensorClass::Int5), QuantizeError::ScaleTooLarge { row: 0, .. }));
        assert!(quantize("w", &tensor, TensorClass::F32, &config).is_ok());
        let nan = HostTensor::new(vec![2], vec![1.0, f32::NAN]).unwrap();
        assert!(matches!(refuse(&nan, TensorClass::F32), QuantizeError::NotFinite { index: 1, .. }));
    }
}
