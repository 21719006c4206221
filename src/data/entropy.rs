//! What a model that knows only how common each symbol is would score: the bar for "it learned something".

use super::{ByteTable, Tokenizer};
use crate::units::BitsPerByte;

/// Entropy of single bytes: the bits per byte of the best model that ignores all context.
///
/// `None` without bytes.
pub fn byte_unigram_entropy(bytes: &[u8]) -> Option<BitsPerByte> {
    let mut counts = [0u64; 256];
    bytes.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
    total_bits(&counts, bytes.len() as u64).map(|bits| BitsPerByte(bits / bytes.len() as f64))
}

/// Bits per byte of the best model that ignores all context but knows the tokenizer.
///
/// The entropy of all targets (every token but the first) over the bytes they stand for. `None` without bytes.
pub fn token_unigram_entropy(tokens: &[u16], table: &ByteTable) -> Option<BitsPerByte> {
    let targets = tokens.get(1..)?;
    let mut counts = vec![0u64; 1 << 16];
    targets.iter().for_each(|&id| counts[usize::from(id)] += 1);
    let bytes = table.bytes_of_targets(tokens);
    let bits = total_bits(&counts, targets.len() as u64)?;
    (bytes > 0).then(|| BitsPerByte(bits / bytes as f64))
}

/// Both bounds for a validation stream: bytes, then tokens.
pub fn unigram_bounds(tokens: &[u16], tokenizer: &Tokenizer) -> Option<(BitsPerByte, BitsPerByte)> {
    let bytes = byte_unigram_entropy(&tokenizer.bytes_of_targets(tokens))?;
    Some((bytes, token_unigram_entropy(tokens, &tokenizer.byte_table())?))
}

/// Sum over symbols of -log2 of their frequency. `libm`, so that every machine prints the same digits.
fn total_bits(counts: &[u64], total: u64) -> Option<f64> {
    let bits = |&count: &u64| count as f64 * (libm::log2(total as f64) - libm::log2(count as f64));
    (total > 0).then(|| counts.iter().filter(|&&count| count > 0).map(bits).sum())
}

#[cfg(test)]
mod tests {
    use super::super::TokenBytes;
    use super::*;

    #[test]
    fn closed_forms() {
        let entropy = |bytes: &[u8]| byte_unigram_entropy(bytes).unwrap().0;
        assert_eq!(entropy(b"aaaa"), 0.0);
        assert_eq!(entropy(b"abab"), 1.0);
        assert_eq!(entropy(&(0..=255).collect::<Vec<u8>>()), 8.0);
        // Frequencies 1/2, 1/4, 1/8, 1/8.
        assert_eq!(entropy(b"aaaabbcd"), 1.75);
        assert!(byte_unigram_entropy(b"").is_none());
    }

    #[test]
    fn tokens_are_counted_over_their_bytes() {
        // Two equally common tokens of 3 and 1 bytes: 1 bit a token, 2 bytes a token.
        let entry = |base_bytes| TokenBytes { base_bytes, leading_marker: false, boundary: false };
        let table = ByteTable::new(vec![entry(3), entry(1)]);
        assert_eq!(token_unigram_entropy(&[0, 0, 1, 1, 0], &table).unwrap().0, 0.5);
        assert!(token_unigram_entropy(&[0], &table).is_none());
        assert!(token_unigram_entropy(&[0, 7], &table).is_none());
    }
}
