//! The bigram hash: which row of the bigram table a position reads.

/// Multiplier of the current token (PR #286, `BigramHashEmbedding`).
const CURRENT_FACTOR: i32 = 36_313;
/// Multiplier of the token before it.
const PREVIOUS_FACTOR: i32 = 27_191;

/// Row of the bigram table for every position of one window.
///
/// Position 0 reads the last row, `buckets - 1`, whatever its token; later positions read
/// `(36313 * token XOR 27191 * previous) mod (buckets - 1)`, computed in 32-bit integers with the
/// floored remainder PyTorch uses. Needs at least two buckets, which `ModelConfig::check` grants.
pub fn bigram_rows(tokens: &[u16], buckets: usize) -> Vec<usize> {
    let modulus = i64::try_from(buckets).unwrap_or(i64::MAX).saturating_sub(1).max(1);
    let row = |pair: &[u16]| {
        let hash = CURRENT_FACTOR.wrapping_mul(i32::from(pair[1])) ^ PREVIOUS_FACTOR.wrapping_mul(i32::from(pair[0]));
        i64::from(hash).rem_euclid(modulus) as usize
    };
    let first = tokens.first().map(|_| buckets.saturating_sub(1));
    first.into_iter().chain(tokens.windows(2).map(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_the_formula() {
        // By hand: 36313 * 2 = 72626 and 27191 * 1 = 27191; 72626 ^ 27191 = 94597; 94597 mod 255 = 247.
        assert_eq!(bigram_rows(&[1, 2], 256), [255, 247]);
        assert_eq!(bigram_rows(&[], 256), [0usize; 0]);
        assert_eq!(bigram_rows(&[9, 9, 9], 2), [1, 0, 0]);
    }

    #[test]
    fn a_product_beyond_32_bits_wraps_and_the_remainder_stays_positive() {
        // 36313 * 65535 wraps below zero in int32.
        let wrapped = (36_313i64 * 65_535 + (1 << 31)) % (1 << 32) - (1 << 31);
        assert!(wrapped < 0);
        assert_eq!(bigram_rows(&[0, 65_535], 4096)[1] as i64, wrapped.rem_euclid(4095));
    }
}
