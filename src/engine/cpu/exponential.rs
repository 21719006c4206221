//! The exponential, in arithmetic that vectorizes and is the same bits everywhere.

/// Above this the result would overflow; below minus this it is zero for every use here.
const LIMIT: f32 = 87.0;
/// 1.5 * 2^23: adding it rounds to the nearest integer and leaves that integer in the low bits.
const ROUNDER: f32 = 12_582_912.0;
/// ln 2 in two parts: the first has few enough bits that its multiples are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `e^x`, within 2 units in the last place for |x| <= 87; larger arguments are clamped there, and what is
/// below -87 gives 0.
///
/// `x = n ln 2 + r` with |r| <= ln 2 / 2; `e^r` is its Taylor polynomial of degree 7, whose remainder is below
/// 6e-9 there; the factor `2^n` goes into the exponent bits.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let clamped = x.clamp(-LIMIT, LIMIT);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (clamped - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut p = 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = (p * r) * r + r + 1.0;
    let scale = f32::from_bits(shifted.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(127) << 23);
    if x < -LIMIT { 0.0 } else { p * scale }
}

/// `tanh x = (1 - e^-2|x|) / (1 + e^-2|x|)`, to 2e-7.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let e = exp(-2.0 * x.abs());
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_double_precision() {
        for i in -86_000..=86_000 {
            let x = i as f32 * 1e-3;
            let expected = f64::from(x).exp();
            let relative = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(relative < 2.0 * f64::from(f32::EPSILON), "exp({x}): {relative:e}");
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 2e-7, "tanh({x})");
        }
        assert_eq!((exp(0.0), exp(f32::NEG_INFINITY), tanh(0.0)), (1.0, 0.0, 0.0));
    }
}
