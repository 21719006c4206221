//! The exact sum of single-precision numbers, whatever their order and number.
//!
//! Every finite f32 is an integer multiple of 2^-149 below 2^277 of them, so a 384-bit integer holds the sum
//! of up to 2^106 values without rounding: adding is associative, and parts of an evaluation merge bit for bit.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 64-bit limbs: 384 bits, two's complement.
const LIMBS: usize = 6;
/// Binary exponent of one unit.
const UNIT_EXPONENT: i32 = -149;
/// Fraction bits of an f32.
const FRACTION_BITS: u32 = 23;

/// An exact sum in units of 2^-149, little-endian limbs in two's complement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExactSum([u64; LIMBS]);

impl ExactSum {
    /// The empty sum.
    pub const ZERO: ExactSum = ExactSum([0; LIMBS]);

    /// Adds one value; `false` and no change for NaN and infinities.
    #[must_use]
    pub fn add(&mut self, value: f32) -> bool {
        if !value.is_finite() {
            return false;
        }
        let bits = value.to_bits();
        let exponent = (bits >> FRACTION_BITS) & 0xff;
        let fraction = u64::from(bits & ((1 << FRACTION_BITS) - 1));
        // Subnormals share the exponent of the smallest normals and lack the implicit one.
        let (mantissa, shift) = match exponent {
            0 => (fraction, 0),
            _ => (fraction | 1 << FRACTION_BITS, exponent - 1),
        };
        let limb = (shift / 64) as usize;
        let wide = u128::from(mantissa) << (shift % 64);
        let mut addend = [0; LIMBS];
        addend[limb] = wide as u64;
        // The largest shift is 253, so limb + 1 is at most 4.
        addend[limb + 1] = (wide >> 64) as u64;
        if value.is_sign_negative() {
            self.combine(&negated(&addend))
        } else {
            self.combine(&addend)
        }
        true
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &ExactSum) {
        self.combine(&other.0);
    }

    fn combine(&mut self, addend: &[u64; LIMBS]) {
        let mut carry = false;
        for (limb, &part) in self.0.iter_mut().zip(addend) {
            let (sum, first) = limb.overflowing_add(part);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = first || second;
        }
    }

    /// The sum rounded once, to nearest with ties to even.
    pub fn to_f64(&self) -> f64 {
        let is_negative = self.0[LIMBS - 1] >> 63 == 1;
        let magnitude = if is_negative { negated(&self.0) } else { self.0 };
        let value = magnitude_to_f64(&magnitude);
        if is_negative { -value } else { value }
    }
}

fn negated(limbs: &[u64; LIMBS]) -> [u64; LIMBS] {
    let mut carry = true;
    limbs.map(|limb| {
        let (value, overflow) = (!limb).overflowing_add(u64::from(carry));
        carry = overflow;
        value
    })
}

/// Rounds limbs x 2^-149 to f64. No subnormals arise: 2^-149 is far above f64's smallest normal.
fn magnitude_to_f64(limbs: &[u64; LIMBS]) -> f64 {
    let Some(top) = limbs.iter().rposition(|&limb| limb != 0) else { return 0.0 };
    let high_bit = 64 * top as u32 + (63 - limbs[top].leading_zeros());
    let bit = |index: u32| limbs[(index / 64) as usize] >> (index % 64) & 1;
    let lowest_kept = high_bit.saturating_sub(52);
    let mut mantissa = (lowest_kept..=high_bit).rev().fold(0u64, |bits, index| bits << 1 | bit(index));
    if lowest_kept > 0 {
        let half = bit(lowest_kept - 1) == 1;
        let beyond = (0..lowest_kept - 1).any(|index| bit(index) == 1);
        if half && (beyond || mantissa & 1 == 1) {
            mantissa += 1;
        }
    }
    // Both factors are exact, and so is the product: a power of two times at most 2^53.
    mantissa as f64 * 2f64.powi(lowest_kept as i32 + UNIT_EXPONENT)
}

/// A text that is not an exact sum.
#[derive(Debug, thiserror::Error)]
#[error("an exact sum is 96 hexadecimal digits")]
pub struct ParseExactSumError;

impl fmt::Display for ExactSum {
    /// 96 hexadecimal digits, most significant first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|limb| write!(f, "{limb:016x}"))
    }
}

impl std::str::FromStr for ExactSum {
    type Err = ParseExactSumError;

    fn from_str(text: &str) -> Result<Self, ParseExactSumError> {
        if text.len() != 16 * LIMBS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseExactSumError);
        }
        let mut limbs = [0; LIMBS];
        for (i, limb) in limbs.iter_mut().rev().enumerate() {
            *limb = u64::from_str_radix(&text[16 * i..16 * (i + 1)], 16).map_err(|_| ParseExactSumError)?;
        }
        Ok(ExactSum(limbs))
    }
}

impl Serialize for ExactSum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExactSum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ExactSum {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ExactSum".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{96}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(values: &[f32]) -> ExactSum {
        let mut total = ExactSum::ZERO;
        values.iter().for_each(|&value| assert!(total.add(value)));
        total
    }

    #[test]
    fn extremes_of_the_format_are_exact() {
        let tiny = f32::from_bits(1);
        assert_eq!(sum(&[tiny]).to_f64(), 2f64.powi(-149));
        assert_eq!(sum(&[f32::MAX, f32::MAX]).to_f64(), 2.0 * f64::from(f32::MAX));
        assert_eq!(sum(&[f32::MAX, tiny, f32::MIN]).to_f64(), f64::from(tiny));
        assert_eq!(sum(&[-0.0, 0.0]), ExactSum::ZERO);
        assert_eq!(sum(&[-1.5, 0.25]).to_f64(), -1.25);
        let mut total = ExactSum::ZERO;
        assert!(!total.add(f32::NAN) && !total.add(f32::INFINITY));
        assert_eq!(total, ExactSum::ZERO);
    }

    #[test]
    fn rounding_to_f64_is_to_nearest_even() {
        // 1 + 2^-53 lies halfway between 1 and the next f64; a further 2^-149 decides.
        let half = f32::from_bits((127 - 53) << 23);
        let ulp = f64::EPSILON;
        assert_eq!(sum(&[1.0, half]).to_f64(), 1.0);
        assert_eq!(sum(&[1.0, half, f32::from_bits(1)]).to_f64(), 1.0 + ulp);
        assert_eq!(sum(&[1.0, half, half, half]).to_f64(), 1.0 + 2.0 * ulp);
    }

    proptest! {
        #[test]
        fn integers_below_2_pow_24_add_up_like_i64(values in proptest::collection::vec(-16_777_216i32..16_777_216, 0..200)) {
            let floats: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            let expected: i64 = values.iter().map(|&value| i64::from(value)).sum();
            prop_assert_eq!(sum(&floats).to_f64(), expected as f64);
        }

        #[test]
        fn order_and_grouping_do_not_matter(bits in proptest::collection::vec(any::<u32>(), 0..100), cut in 0usize..100) {
            let values: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|value| value.is_finite()).collect();
            let whole = sum(&values);
            let reversed: Vec<f32> = values.iter().rev().copied().collect();
            prop_assert_eq!(sum(&reversed), whole);
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = sum(right);
            merged.merge(&sum(left));
            prop_assert_eq!(merged, whole);
            prop_assert_eq!(whole.to_string().parse::<ExactSum>().unwrap(), whole);
        }

        #[test]
        fn one_or_two_values_agree_with_f64_where_f64_is_exact(a in -1e6f32..1e6, b in -1e6f32..1e6) {
            prop_assert_eq!(sum(&[a]).to_f64(), f64::from(a));
            // 24-bit values whose exponents differ by less than 29 fit f64's 53 bits together.
            if a.abs() > 1.0 && b.abs() > 1.0 {
                prop_assert_eq!(sum(&[a, b]).to_f64(), f64::from(a) + f64::from(b));
            }
        }
    }
}
