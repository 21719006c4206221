//! From single-precision weights to integers and scales: section 7 of PR #286's specification, to the bit.
//!
//! Rounding is half to even everywhere, as in `torch.round`, and divisions are in single precision.

use half::f16;

use super::{PackedTensor, PackedValues};
use crate::manifest::QuantizationConfig;
use crate::model::HostTensor;
use crate::quant::{
    ClipUnit, Gptq, GptqError, IntegerMatrix, MatrixError, Quantizer, QuantizerRule, Rounding, RowScale, ScaleRule,
    ScaleSearch, TensorClass, WeightMatrix, clip_search, curvature_scales, deviation_scales, quantile_of_sorted,
    sorted_magnitudes,
};

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
    /// Scales cannot be found.
    #[error("tensor `{name}`: {source}")]
    Matrix {
        /// The tensor.
        name: String,
        /// What is wrong.
        source: MatrixError,
    },
    /// GPTQ failed.
    #[error("tensor `{name}`: {source}")]
    Gptq {
        /// The tensor.
        name: String,
        /// What is wrong.
        source: GptqError,
    },
    /// A rule for matrices names something else.
    #[error(
        "quantization.rules: `{name}` is no matrix, which {quantizer} needs; name it in an earlier rule, or hold it in f16"
    )]
    NotMatrix {
        /// The tensor.
        name: String,
        /// The rule.
        quantizer: String,
    },
    /// GPTQ of a tensor that no activations are multiplied with.
    #[error(
        "quantization.rules: `{name}` is read row by row and multiplied with nothing, so it has no Hessian for \
         rounding gptq; name it in an earlier rule without, or round by gptq_or_nearest"
    )]
    NoHessian {
        /// The tensor.
        name: String,
    },
}

/// Converts one tensor to a class, by the first of the rules of `config` that fits its name.
pub fn quantize(
    name: &str,
    tensor: &HostTensor,
    class: TensorClass,
    config: &QuantizationConfig,
) -> Result<PackedTensor, QuantizeError> {
    quantize_with(name, tensor, class, config, None)
}

/// [`quantize`], given the Hessian of what the tensor is multiplied with, if it is multiplied with anything.
pub(super) fn quantize_with(
    name: &str,
    tensor: &HostTensor,
    class: TensorClass,
    config: &QuantizationConfig,
    gptq: Option<&Gptq>,
) -> Result<PackedTensor, QuantizeError> {
    if let Some((index, &value)) = tensor.data().iter().enumerate().find(|(_, value)| !value.is_finite()) {
        return Err(QuantizeError::NotFinite { name: name.to_string(), index, value });
    }
    let values = match class {
        TensorClass::F32 => PackedValues::F32(tensor.data().to_vec()),
        TensorClass::F16 => PackedValues::F16(to_halves(name, tensor)?),
        TensorClass::Int5 | TensorClass::Int6 | TensorClass::Int8 => match QuantizerRule::first(&config.rules, name) {
            None => to_integers(name, tensor, class, RowRule::of(class, config))?,
            Some(quantizer) => to_integers_by(name, tensor, class, quantizer, gptq)?,
        },
    };
    Ok(PackedTensor::from_trusted_parts(name, tensor.shape().to_vec(), values))
}

/// A factor of a correction in its class, the largest magnitude of each row its largest symbol.
pub(super) fn quantize_factor(
    name: &str,
    tensor: &HostTensor,
    class: TensorClass,
) -> Result<PackedTensor, QuantizeError> {
    let rules = vec![QuantizerRule::new(
        "*",
        Quantizer { scales: ScaleRule::RowMaximum {}, rounding: Rounding::Nearest, low_rank: None },
    )];
    quantize(name, tensor, class, &QuantizationConfig { rules, ..Default::default() })
}

fn to_halves(name: &str, tensor: &HostTensor) -> Result<Vec<f16>, QuantizeError> {
    let convert = |(index, &value): (usize, &f32)| {
        let half = f16::from_f32(value);
        let error = || QuantizeError::TooLargeForHalf { name: name.to_string(), index, value };
        half.is_finite().then_some(half).ok_or_else(error)
    };
    tensor.data().iter().enumerate().map(convert).collect()
}

/// The integer that a row's largest magnitude, or its clip, is mapped to.
fn limit(class: TensorClass) -> i8 {
    class.symbols().map_or(0, |symbols| *symbols.end())
}

/// How the scale of a row is chosen from that row alone.
#[derive(Clone, Copy)]
struct RowRule {
    /// What other clips must beat.
    first: FirstScale,
    search: ScaleSearch,
}

#[derive(Clone, Copy)]
enum FirstScale {
    /// PR #286's of int8, clipped at a quantile.
    Int8(f64),
    /// Symmetric, from a quantile.
    Symmetric(f64),
}

impl RowRule {
    /// What the settings say of tensors that no rule names.
    fn of(class: TensorClass, config: &QuantizationConfig) -> Self {
        let first = match class {
            TensorClass::Int8 => FirstScale::Int8(config.int8_clip_quantile),
            _ => FirstScale::Symmetric(config.low_bit_clip_quantile),
        };
        RowRule { first, search: config.scale_search }
    }

    fn scale(&self, values: &[f32], is_matrix: bool, class: TensorClass) -> RowScale {
        let limit = limit(class);
        let first = match self.first {
            FirstScale::Int8(quantile) => int8_scale(values, is_matrix, quantile),
            FirstScale::Symmetric(quantile) => RowScale::symmetric(clip(values, quantile), limit, is_matrix),
        };
        let searched = match self.search {
            ScaleSearch::Max => Vec::new(),
            search => search.clips(&sorted_magnitudes(values)),
        };
        let searched: Vec<RowScale> =
            searched.into_iter().map(|clip| RowScale::symmetric(clip, limit, is_matrix)).collect();
        RowScale::best(first, &searched, values, &class.symbols().unwrap_or(0..=0))
    }
}

/// The rows of a tensor; anything but a matrix is one row.
fn rows(tensor: &HostTensor) -> impl Iterator<Item = &[f32]> {
    let count = super::packed::scale_count(tensor.shape());
    let columns = tensor.len().checked_div(count).unwrap_or(0);
    (0..count).map(move |row| tensor.data().get(row * columns..(row + 1) * columns).unwrap_or(&[]))
}

/// A scale for each row.
fn row_scales(
    name: &str,
    tensor: &HostTensor,
    class: TensorClass,
    rule: RowRule,
) -> Result<Vec<RowScale>, QuantizeError> {
    let is_matrix = tensor.matrix_sides().is_some();
    let scale = |(row, values): (usize, &[f32])| {
        let scale = rule.scale(values, is_matrix, class);
        let magnitude = || values.iter().fold(0.0f32, |max, value| max.max(value.abs()));
        let error = || QuantizeError::ScaleTooLarge { name: name.to_string(), row, magnitude: magnitude(), class };
        scale.stored.is_finite().then_some(scale).ok_or_else(error)
    };
    rows(tensor).enumerate().map(scale).collect()
}

fn to_integers(
    name: &str,
    tensor: &HostTensor,
    class: TensorClass,
    rule: RowRule,
) -> Result<PackedValues, QuantizeError> {
    let range = class.symbols().unwrap_or(0..=0);
    let scales = row_scales(name, tensor, class, rule)?;
    let rows = rows(tensor).zip(&scales);
    let symbols = rows.flat_map(|(values, scale)| values.iter().map(|&value| scale.symbol(value, &range))).collect();
    Ok(PackedValues::Integers { class, symbols, scales: scales.iter().map(|scale| scale.stored).collect() })
}

/// Integers by a rule of the manifest.
fn to_integers_by(
    name: &str,
    tensor: &HostTensor,
    class: TensorClass,
    quantizer: Quantizer,
    gptq: Option<&Gptq>,
) -> Result<PackedValues, QuantizeError> {
    let gptq = match quantizer.rounding {
        Rounding::Nearest => None,
        Rounding::Gptq => Some(gptq.ok_or_else(|| QuantizeError::NoHessian { name: name.to_string() })?),
        Rounding::GptqOrNearest => gptq,
    };
    let row_rule = match quantizer.scales {
        ScaleRule::RowMaximum {} => Some((FirstScale::Symmetric(1.0), ScaleSearch::Max)),
        ScaleRule::Quantile { quantile } if class == TensorClass::Int8 => {
            Some((FirstScale::Int8(quantile), ScaleSearch::Max))
        }
        ScaleRule::Quantile { quantile } => Some((FirstScale::Symmetric(quantile), ScaleSearch::Max)),
        ScaleRule::ClipSearch { per: ClipUnit::Row } => Some((FirstScale::Symmetric(1.0), ScaleSearch::Percentiles)),
        ScaleRule::ClipSearch { per: ClipUnit::Matrix } | ScaleRule::Deviation { .. } => None,
    };
    let row_rule = row_rule.map(|(first, search)| RowRule { first, search });
    if let (Some(rule), None) = (row_rule, gptq) {
        return to_integers(name, tensor, class, rule);
    }
    let Some((_, columns)) = tensor.matrix_sides() else {
        return Err(QuantizeError::NotMatrix { name: name.to_string(), quantizer: quantizer.to_string() });
    };
    let matrix_error = |source| QuantizeError::Matrix { name: name.to_string(), source };
    let gptq_error = |source| QuantizeError::Gptq { name: name.to_string(), source };
    let (weights, limit) = (WeightMatrix::new(tensor.data(), columns).map_err(matrix_error)?, limit(class));
    let scales = match (row_rule, quantizer.scales) {
        (Some(rule), _) => row_scales(name, tensor, class, rule)?.iter().map(|scale| scale.stored).collect(),
        (None, ScaleRule::Deviation { deviations, curvature }) => match gptq.filter(|_| curvature > 0.0) {
            None => deviation_scales(weights, deviations as f32, limit),
            Some(gptq) => curvature_scales(weights, gptq.curvature(), deviations as f32, limit, curvature as f32),
        }
        .map_err(matrix_error)?,
        (None, _) => {
            let found = match gptq {
                None => clip_search(weights, limit).map_err(matrix_error)?,
                Some(gptq) => gptq.clip_search(weights, limit).map_err(gptq_error)?,
            };
            return Ok(held(found.matrix, class));
        }
    };
    let matrix = match gptq {
        None => IntegerMatrix::nearest(weights, scales, limit),
        Some(gptq) => gptq.round(weights, scales, limit).map_err(gptq_error)?,
    };
    Ok(held(matrix, class))
}

fn held(IntegerMatrix { symbols, scales }: IntegerMatrix, class: TensorClass) -> PackedValues {
    PackedValues::Integers { class, symbols, scales }
}

/// A quantile of a row's magnitudes; 1 is the largest.
fn clip(values: &[f32], quantile: f64) -> f32 {
    if quantile < 1.0 {
        quantile_of_sorted(&sorted_magnitudes(values), quantile as f32)
    } else {
        values.iter().fold(0.0f32, |max, value| max.max(value.abs()))
    }
}

/// int8: clipped at a quantile of |w|; the f32 scale divides, its f16 rounding is what the file keeps.
fn int8_scale(values: &[f32], is_matrix: bool, quantile: f64) -> RowScale {
    let clip = quantile_of_sorted(&sorted_magnitudes(values), quantile as f32);
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

    fn ruled(rule: &str, class: TensorClass, shape: &[usize], values: &[f32]) -> (Vec<i8>, Vec<f32>) {
        let rules = vec![format!("w={rule}").parse().unwrap(), "*=row_maximum".parse().unwrap()];
        let config = QuantizationConfig { rules, ..QuantizationConfig::default() };
        let tensor = HostTensor::new(shape.to_vec(), values.to_vec()).unwrap();
        // The Hessian of inputs that are always equal.
        let columns = *shape.last().unwrap();
        let gptq = rule.ends_with("/gptq").then(|| Gptq::new(&vec![1.0; columns * columns], columns).unwrap());
        let packed = quantize_with("w", &tensor, class, &config, gptq.as_ref()).unwrap();
        let PackedValues::Integers { symbols, scales, .. } = packed.values() else { panic!("integers") };
        (symbols.clone(), scales.iter().map(|scale| scale.to_f32()).collect())
    }

    #[test]
    fn rules_choose_scales() {
        use TensorClass::{Int5, Int6, Int8};
        // The largest magnitude is the largest symbol of each class; int8 has no floor then.
        let half = f16::from_f32(0.5 / 127.0).to_f32();
        assert_eq!(ruled("row_maximum", Int8, &[1, 2], &[0.5, -0.5]), (vec![127, -127], vec![half]));
        assert_eq!(
            ruled("row_maximum", Int5, &[2, 2], &[15.0, 1.0, 30.0, -4.0]),
            (vec![15, 1, 15, -2], vec![1.0, 2.0])
        );
        // Halfway between the smallest and the largest of three: 15, as `low_bit_clip_quantile` has it; of int8 with PR
        // #286's floor of 1/127.
        assert_eq!(ruled("quantile:0.5", Int5, &[1, 3], &[1.0, -15.0, 30.0]), (vec![1, -15, 15], vec![1.0]));
        let floor = f16::from_f32(1.0 / 127.0).to_f32();
        assert_eq!(ruled("quantile:1", Int8, &[1, 2], &[0.5, -0.25]), (vec![64, -32], vec![floor]));
        // A deviation of sqrt 2 around 0: twice that over 31.
        let step = f16::from_f32(2.0 * 2f32.sqrt() / 31.0).to_f32();
        assert_eq!(ruled("deviation:2", Int6, &[1, 2], &[1.0, -1.0]), (vec![11, -11], vec![step]));
        // 1000 of 31 and one of 32: the quantile 0.999 is 31, which misses 32 by 1; wider scales miss all others.
        let mut values = vec![31.0; 1001];
        values[7] = 32.0;
        for rule in ["clip_search", "clip_search:row"] {
            let (symbols, scales) = ruled(rule, Int6, &[1, 1001], &values);
            assert_eq!((symbols, scales), (vec![31; 1001], vec![1.0]), "{rule}");
        }
        // The least scale of a matrix is 1/31, a row's own has none.
        let floor = f16::from_f32(1.0 / 31.0).to_f32();
        assert_eq!(ruled("clip_search", Int6, &[1, 2], &[0.5, 0.0]), (vec![16, 0], vec![floor]));
        let own = f16::from_f32(0.5 / 31.0).to_f32();
        assert_eq!(ruled("clip_search:row", Int6, &[1, 2], &[0.5, 0.0]), (vec![31, 0], vec![own]));
    }

    #[test]
    fn gptq_makes_up_for_what_a_column_missed_with_every_rule() {
        // Steps of about 1: both 0.4 are nearest to 0, but what the first has missed is left to the others, half of it to
        // each, and 0.6 is nearest to 1.
        for rule in ["row_maximum", "quantile:1", "clip_search:row", "clip_search"] {
            let symbols = |rule: &str| ruled(rule, TensorClass::Int6, &[1, 3], &[0.4, 0.4, 31.0]).0;
            assert_eq!(symbols(rule), [0, 0, 31], "{rule}");
            assert_eq!(symbols(&format!("{rule}/gptq")), [0, 1, 31], "{rule}");
            // Without a Hessian it is as rounded to the nearest.
            assert_eq!(symbols(&format!("{rule}/gptq_or_nearest")), [0, 0, 31], "{rule}");
        }
        let deviation = 31.0 * 0.5f32.sqrt();
        let (symbols, scales) = ruled(&format!("deviation:{deviation}/gptq"), TensorClass::Int6, &[1, 2], &[0.4, 2.4]);
        // A deviation of 2 / sqrt 2; the second misses nothing at 2.4 + 0.4/1.01 = 2.796.
        assert_eq!((symbols, scales), (vec![0, 3], vec![1.0]));
    }

    #[test]
    fn what_a_rule_cannot_do_is_named() {
        let quantized = |rule: &str, shape: &[usize]| {
            let config = QuantizationConfig { rules: vec![rule.parse().unwrap()], ..Default::default() };
            let tensor = HostTensor::new(shape.to_vec(), vec![4e6, 1.0]).unwrap();
            quantize("w", &tensor, TensorClass::Int6, &config).unwrap_err().to_string()
        };
        let errors = [
            ("*=clip_search", &[2][..]),
            ("*=clip_search/gptq", &[1, 2]),
            ("*=row_maximum", &[1, 2]),
            ("w=deviation:12", &[1, 2]),
        ];
        insta::assert_snapshot!(errors.map(|(rule, shape)| quantized(rule, shape)).join("\n"), @r"
        quantization.rules: `w` is no matrix, which clip_search needs; name it in an earlier rule, or hold it in f16
        quantization.rules: `w` is read row by row and multiplied with nothing, so it has no Hessian for rounding gptq; name it in an earlier rule without, or round by gptq_or_nearest
        tensor `w`: row 0 reaches 4000000, too large for the f16 scale of class int6
        tensor `w`: row 0 asks for the scale 1094874.9, too large for f16 (largest: 65504)
        ");
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
