//! bfloat16 without hardware for it: values rounded to it, kept in single precision.
//!
//! The product of two bfloat16 values is exact in single precision, so a single-precision matrix product of rounded
//! values is what a bfloat16 unit with single-precision accumulation computes, up to the order of its additions.

use super::vectorised;

/// To nearest, ties to even.
#[inline(always)]
fn nearest(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = f32::from_bits(bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000);
    if x.is_nan() { x } else { rounded }
}

/// Rounds every value in place.
pub(super) fn round(values: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || values.iter_mut().for_each(|value| *value = nearest(*value)),
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn agrees_with_the_half_crate() {
        let mut values: Vec<f32> = (0..=u16::MAX).map(|high| f32::from_bits(u32::from(high) << 16 | 0x8000)).collect();
        values.extend((0..200_000u32).map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761))));
        let expected: Vec<f32> = values.iter().map(|&value| half::bf16::from_f32(value).to_f32()).collect();
        super::round(&mut values);
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        assert!(values.iter().zip(&expected).all(same));
    }
}
