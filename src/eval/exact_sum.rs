//! Sums of single-precision numbers without rounding.
//!
//! Every finite f32 is an integer multiple of 2^-149 below 2^277 of them, so a wide enough integer adds them up
//! exactly (Kulisch, *Computer Arithmetic and Validity*; a superaccumulator). What is exact does not depend on
//! order: parts of a sum, made on any number of machines, merge into the very bits of the whole. The one rounding
//! happens at the end, in [`ExactSum::to_f64`].

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 384 bits: 277 for one number, one for the sign, and room for 2^106 of the largest.
const LIMBS: usize = 6;
/// Hexadecimal digits of the accumulator.
const HEX_DIGITS: usize = LIMBS * 16;
/// The smallest positive f32 is 2^-149: the unit of the accumulator.
const UNIT_EXPONENT: i32 = -149;
/// Significant bits of an f64.
const F64_BITS: u32 = 53;

/// An exact sum of f32 values.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ExactSum {
    /// Two's complement in units of 2^-149, least significant limb first.
    limbs: [u64; LIMBS],
}

/// A value that has no place in a sum.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} cannot be summed")]
pub struct NotFinite(pub f32);

impl ExactSum {
    /// The empty sum.
    pub const ZERO: ExactSum = ExactSum { limbs: [0; LIMBS] };

    /// Adds one value.
    pub fn add(&mut self, value: f32) -> Result<(), NotFinite> {
        if !value.is_finite() {
            return Err(NotFinite(value));
        }
        let bits = value.to_bits();
        let exponent = (bits >> 23) & 0xff;
        let fraction = u64::from(bits & 0x7f_ffff);
        // Subnormals have no hidden bit and the exponent of the smallest normals.
        let (mantissa, shift) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 23, exponent - 1) };
        let (limb, offset) = ((shift / 64) as usize, shift % 64);
        let wide = u128::from(mantissa) << offset;
        let mut addend = [0u64; LIMBS];
        // The shift is at most 253, so the value ends in limb 4 of 6.
        addend[limb] = wide as u64;
        addend[limb + 1] = (wide >> 64) as u64;
        if value.is_sign_negative() {
            addend = negate(addend);
        }
        self.limbs = add(self.limbs, addend);
        Ok(())
    }

    /// The exact sum of several values.
    pub fn of(values: &[f32]) -> Result<Self, NotFinite> {
        let mut sum = ExactSum::ZERO;
        values.iter().try_for_each(|&value| sum.add(value))?;
        Ok(sum)
    }

    /// Adds another sum, exactly.
    pub fn merge(&mut self, other: &ExactSum) {
        self.limbs = add(self.limbs, other.limbs);
    }

    /// The sum rounded to the nearest f64, ties to even.
    pub fn to_f64(&self) -> f64 {
        let negative = self.limbs[LIMBS - 1] >> 63 == 1;
        let magnitude = if negative { negate(self.limbs) } else { self.limbs };
        let length = bit_length(&magnitude);
        // The leading 53 bits, rounded by what lies below them.
        let dropped = length.saturating_sub(F64_BITS);
        let mut leading = bits_from(&magnitude, dropped);
        if dropped > 0 {
            let half = bit(&magnitude, dropped - 1);
            let rest = (0..dropped - 1).any(|index| bit(&magnitude, index));
            if half && (rest || leading & 1 == 1) {
                leading += 1;
            }
        }
        // Both factors and their product are exact: no f32 sum is subnormal or infinite as an f64.
        let value = leading as f64 * power_of_two(UNIT_EXPONENT + dropped as i32);
        if negative { -value } else { value }
    }
}

fn add(a: [u64; LIMBS], b: [u64; LIMBS]) -> [u64; LIMBS] {
    let mut carry = false;
    std::array::from_fn(|i| {
        let (sum, first) = a[i].overflowing_add(b[i]);
        let (sum, second) = sum.overflowing_add(u64::from(carry));
        carry = first || second;
        sum
    })
}

fn negate(limbs: [u64; LIMBS]) -> [u64; LIMBS] {
    let one = std::array::from_fn(|i| u64::from(i == 0));
    add(limbs.map(|limb| !limb), one)
}

/// Position of the highest set bit plus one; 0 for zero.
fn bit_length(limbs: &[u64; LIMBS]) -> u32 {
    match limbs.iter().rposition(|&limb| limb != 0) {
        None => 0,
        Some(top) => top as u32 * 64 + (64 - limbs[top].leading_zeros()),
    }
}

fn bit(limbs: &[u64; LIMBS], index: u32) -> bool {
    limbs[index as usize / 64] >> (index % 64) & 1 == 1
}

/// The 64 bits from `index` on.
fn bits_from(limbs: &[u64; LIMBS], index: u32) -> u64 {
    let (limb, offset) = (index as usize / 64, index % 64);
    let low = limbs[limb] >> offset;
    match (offset, limbs.get(limb + 1)) {
        (1.., Some(next)) => low | next << (64 - offset),
        _ => low,
    }
}

/// 2^exponent for exponents of normal numbers.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

impl fmt::Debug for ExactSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExactSum({self} ~ {})", self.to_f64())
    }
}

impl fmt::Display for ExactSum {
    /// 96 hexadecimal digits: the two's complement integer in units of 2^-149, most significant digit first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limbs.iter().rev().try_for_each(|limb| write!(f, "{limb:016x}"))
    }
}

/// A text that is not an exact sum.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an exact sum: expected {HEX_DIGITS} hexadecimal digits")]
pub struct ParseExactSumError(String);

impl std::str::FromStr for ExactSum {
    type Err = ParseExactSumError;

    fn from_str(text: &str) -> Result<Self, ParseExactSumError> {
        let error = || ParseExactSumError(text.chars().take(HEX_DIGITS).collect());
        if text.len() != HEX_DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(error());
        }
        let mut limbs = [0; LIMBS];
        for (limb, digits) in limbs.iter_mut().rev().zip(text.as_bytes().chunks_exact(16)) {
            let digits = std::str::from_utf8(digits).map_err(|_| error())?;
            *limb = u64::from_str_radix(digits, 16).map_err(|_| error())?;
        }
        Ok(ExactSum { limbs })
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
        let pattern = format!("^[0-9a-f]{{{HEX_DIGITS}}}$");
        schemars::json_schema!({ "type": "string", "pattern": pattern })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(values: &[f32]) -> f64 {
        ExactSum::of(values).unwrap().to_f64()
    }

    #[test]
    fn nothing_is_lost_between_the_extremes() {
        let tiny = f32::from_bits(1);
        assert_eq!(sum(&[]), 0.0);
        assert_eq!(sum(&[f32::MAX, tiny, -f32::MAX]), f64::from(tiny));
        assert_eq!(sum(&[-f32::MAX, -tiny, f32::MAX]), -f64::from(tiny));
        assert_eq!(sum(&[1e30, 1.0, -1e30, 1e-30]), 1.0 + f64::from(1e-30f32));
        assert_eq!(sum(&[f32::MAX; 1000]), 1000.0 * f64::from(f32::MAX));
        assert_eq!(sum(&[-0.0, 0.0]).to_bits(), 0);
    }

    #[test]
    fn halves_round_to_even() {
        // 2^53 + 1 lies between the doubles 2^53 and 2^53 + 2; one more bit below decides.
        let big = 9_007_199_254_740_992.0f32; // 2^53
        assert_eq!(sum(&[big, 1.0]), 9_007_199_254_740_992.0);
        assert_eq!(sum(&[big, 1.0, f32::from_bits(1)]), 9_007_199_254_740_994.0);
        assert_eq!(sum(&[big, 2.0, 1.0]), 9_007_199_254_740_996.0);
        assert_eq!(sum(&[-big, -1.0]), -9_007_199_254_740_992.0);
        // All 53 bits set and a half above: the carry runs into the next power of two.
        assert_eq!(sum(&[big, big, -1.0, 0.5]), 18_014_398_509_481_984.0);
    }

    #[test]
    fn infinities_and_nans_are_refused() {
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let mut sum = ExactSum::of(&[1.0]).unwrap();
            assert!(sum.add(bad).is_err());
            assert_eq!(sum.to_f64(), 1.0);
        }
    }

    /// Bit patterns of a 32-bit xorshift (13, 17, 5) started at `seed`, infinities and NaNs left out.
    fn xorshift(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            f32::from_bits(state)
        };
        std::iter::repeat_with(&mut next).filter(|value| value.is_finite()).take(count).collect()
    }

    #[test]
    fn sums_over_the_whole_range_match_pythons_fsum() {
        // `math.fsum` is correctly rounded. The same sequences, summed by CPython 3.
        for (seed, count, expected) in PYTHON_FSUM {
            let values = xorshift(seed, count);
            assert_eq!(sum(&values).to_bits(), expected, "seed {seed}, {count} values");
        }
    }

    const PYTHON_FSUM: [(u32, usize, u64); 6] = [
        (1, 1, 0x37c0_8084_0000_0000),
        (2463534242, 3, 0x4761_0b34_0000_0000),
        (7, 100, 0x47cd_3cf7_065c_14c6),
        (11, 4097, 0xc818_5728_b4c2_2fdd),
        (12345, 20000, 0xc821_fade_c63d_f9cb),
        (99, 65536, 0xc82e_9ac7_9ef8_64ef),
    ];

    #[test]
    fn the_helpers_do_what_they_say() {
        let at = |bits: &[u32]| {
            let mut limbs = [0u64; LIMBS];
            bits.iter().for_each(|&bit| limbs[bit as usize / 64] |= 1 << (bit % 64));
            limbs
        };
        for top in [0, 1, 63, 64, 65, 127, 128, 383] {
            assert_eq!(bit_length(&at(&[0, top])), top + 1, "{top}");
            assert!(bit(&at(&[top]), top) && !bit(&at(&[top]), (top + 1) % 384));
        }
        assert_eq!(bit_length(&at(&[])), 0);
        // Bits 60, 70 and 130 seen from 60 on, from 64 on and from 128 on; from the last limb nothing follows.
        let some = at(&[60, 70, 130]);
        assert_eq!([60, 64, 67, 128].map(|from| bits_from(&some, from)), [1 | 1 << 10, 1 << 6, 1 << 3 | 1 << 63, 4]);
        assert_eq!(bits_from(&at(&[380]), 379), 2);
        assert_eq!([-149, 0, 10].map(power_of_two), [2f64.powi(-149), 1.0, 1024.0]);
        // -1 is all ones; a carry runs through every limb.
        assert_eq!(negate(at(&[0])), [u64::MAX; LIMBS]);
        assert_eq!(add([u64::MAX; LIMBS], at(&[0])), at(&[]));
        assert_eq!(add(at(&[63]), at(&[63])), at(&[64]));
        // Into a limb of ones from below: it gives zero, and carries on.
        assert_eq!(add([u64::MAX, u64::MAX, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]), at(&[128]));
        assert_eq!(add([u64::MAX, u64::MAX, 0, 0, 0, 0], [1, u64::MAX, 0, 0, 0, 0]), [0, u64::MAX, 1, 0, 0, 0]);
    }

    #[test]
    fn sums_show_themselves_and_go_through_json() {
        let sum = ExactSum::of(&[1.5, -0.25]).unwrap();
        assert_eq!(format!("{sum:?}"), format!("ExactSum({sum} ~ 1.25)"));
        let text = serde_json::to_string(&sum).unwrap();
        assert_eq!(text, format!("\"{sum}\""));
        assert_eq!(serde_json::from_str::<ExactSum>(&text).unwrap(), sum);
        assert!(serde_json::from_str::<ExactSum>("\"12\"").is_err());
        let error = "x".repeat(200).parse::<ExactSum>().unwrap_err().to_string();
        assert_eq!(error, format!("`{}` is not an exact sum: expected 96 hexadecimal digits", "x".repeat(96)));
        assert_eq!(NotFinite(f32::INFINITY).to_string(), "inf cannot be summed");
    }

    #[test]
    fn text_form_is_fixed() {
        let one = ExactSum::of(&[1.0]).unwrap(); // 2^149 units: digit 37 from the right is 2
        let text = format!("{:0>58}2{:0>37}", "", "");
        assert_eq!(one.to_string(), text);
        assert_eq!(ExactSum::of(&[-f32::from_bits(1)]).unwrap().to_string(), "f".repeat(HEX_DIGITS));
        for bad in ["", "0", &"g".repeat(96), &"0".repeat(97), &format!("+{}", "0".repeat(95)), &"é".repeat(48)] {
            assert!(bad.parse::<ExactSum>().is_err(), "{bad}");
        }
    }

    fn finite() -> impl Strategy<Value = f32> {
        any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |value| value.is_finite())
    }

    proptest! {
        #[test]
        fn order_and_grouping_do_not_matter(
            mut values in prop::collection::vec(finite(), 0..60),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let whole = ExactSum::of(&values).unwrap();
            let mut merged = ExactSum::ZERO;
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(values.len() + 1)).collect();
            at.extend([0, values.len()]);
            at.sort();
            at.windows(2).for_each(|cut| merged.merge(&ExactSum::of(&values[cut[0]..cut[1]]).unwrap()));
            prop_assert_eq!(merged, whole);
            values.reverse();
            prop_assert_eq!(ExactSum::of(&values).unwrap(), whole);
            prop_assert_eq!(whole.to_string().parse::<ExactSum>().unwrap(), whole);
        }

        #[test]
        fn one_value_is_itself(value in finite()) {
            prop_assert_eq!(sum(&[value]), f64::from(value));
        }

        /// Values with exponents in a range where i128 is exact: an independent integer sum, rounded by the compiler.
        #[test]
        fn integers_agree_with_i128(values in prop::collection::vec((-(1i64 << 24)..=1 << 24, 0u32..80), 0..40)) {
            let floats: Vec<f32> = values.iter().map(|&(m, e)| m as f32 * 2f32.powi(e as i32)).collect();
            let exact: i128 = values.iter().map(|&(m, e)| i128::from(m) << e).sum();
            prop_assert_eq!(sum(&floats), exact as f64);
        }
    }
}
