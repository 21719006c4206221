//! Order-0 entropy: the bytes that the best code without memory would need, its tables free of charge.
//!
//! Logarithms are those of the crate `libm`, so that every machine prints the same digits.

use std::collections::BTreeMap;

/// How often each byte occurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram(Box<[u64; 256]>);

impl Default for Histogram {
    fn default() -> Self {
        Histogram(Box::new([0; 256]))
    }
}

impl Histogram {
    /// Counts bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0[usize::from(byte)] += 1);
    }

    /// Counts one byte of every element that is `width` bytes wide; `position` 0 is the first.
    pub fn add_position(&mut self, bytes: &[u8], position: usize, width: usize) {
        bytes.iter().skip(position).step_by(width.max(1)).for_each(|&byte| self.0[usize::from(byte)] += 1);
    }

    /// Bytes counted.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How often a byte was counted.
    pub fn count(&self, byte: u8) -> u64 {
        self.0[usize::from(byte)]
    }

    /// Different bytes seen.
    pub fn used(&self) -> usize {
        self.0.iter().filter(|&&n| n > 0).count()
    }

    /// Bits that all counted bytes take together at their own entropy: the sum of `n log2(total / n)`.
    pub fn bits(&self) -> f64 {
        let counts = self.0.iter().zip(self.costs()).filter(|(n, _)| **n > 0);
        counts.fold(0.0, |bits, (&n, cost)| bits + n as f64 * cost)
    }

    /// Bits of one occurrence of each byte, `log2(total / n)`; infinite for bytes that do not occur.
    pub fn costs(&self) -> [f64; 256] {
        let total = self.total() as f64;
        self.0.map(|n| if n == 0 { f64::INFINITY } else { libm::log2(total / n as f64) })
    }
}

/// Order-0 entropy, in bytes, of bytes grouped by a key: each group has a histogram of its own.
pub fn grouped<K: Ord, B: AsRef<[u8]>>(parts: impl Iterator<Item = (K, B)>) -> f64 {
    let mut histograms: BTreeMap<K, Histogram> = BTreeMap::new();
    parts.for_each(|(key, bytes)| histograms.entry(key).or_default().add(bytes.as_ref()));
    bytes(histograms.values())
}

/// Order-0 entropy of several histograms together, in bytes.
pub fn bytes<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> f64 {
    // Not `sum`, which makes minus zero of nothing.
    histograms.map(Histogram::bits).fold(0.0, |sum, bits| sum + bits) / 8.0
}

/// Mean magnitude of a row's integers, in steps; 0 for none.
pub fn mean_magnitude(symbols: impl ExactSizeIterator<Item = i8>) -> f64 {
    let length = symbols.len().max(1);
    symbols.map(|symbol| u64::from(symbol.unsigned_abs())).sum::<u64>() as f64 / length as f64
}

/// The bucket of a magnitude on a logarithmic grid with so many buckets an octave.
pub fn octave_bucket(value: f64, per_octave: f64) -> i64 {
    (libm::log2(value.max(1e-9)) * per_octave).floor() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.add(bytes);
        histogram
    }

    #[test]
    fn entropies_of_known_distributions() {
        assert_eq!(of(&[]).bits(), 0.0);
        assert_eq!(of(&[7; 1000]).bits(), 0.0);
        // Uniform over 32 symbols: 5 bits each; over all bytes: 8.
        let uniform: Vec<u8> = (0..3200).map(|i| (i % 32) as u8).collect();
        assert_eq!(of(&uniform).bits(), 3200.0 * 5.0);
        assert_eq!(of(&uniform).used(), 32);
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(of(&all).bits(), 256.0 * 8.0);
        // 1/2, 1/4, 1/8, 1/8: 1.75 bits.
        assert_eq!(of(&[1, 1, 1, 1, 2, 2, 3, 4]).bits(), 8.0 * 1.75);
        // Two symbols, 11 % and 89 %: H = 0.499916 bits (Cover and Thomas, figure 2.1: a half).
        let mut coin = vec![0; 8900];
        coin.resize(10_000, 1);
        assert!((of(&coin).bits() / 10_000.0 - 0.499_915_958).abs() < 1e-8);
    }

    #[test]
    fn groups_have_histograms_of_their_own() {
        let parts = [(1, [0u8; 8]), (2, [9; 8]), (1, [0; 8])];
        assert_eq!(grouped(parts.into_iter()), 0.0);
        // Together they are a third and two thirds: H = log2 3 - 2/3.
        let together = grouped(parts.into_iter().map(|(_, bytes)| ((), bytes)));
        assert!((together * 8.0 / 24.0 - (3f64.log2() - 2.0 / 3.0)).abs() < 1e-12);
    }

    #[test]
    fn positions_are_taken_apart() {
        let mut high = Histogram::default();
        high.add_position(&[1, 9, 2, 9, 3, 9], 1, 2);
        assert_eq!((high.total(), high.used(), high.costs()[9]), (3, 1, 0.0));
    }

    #[test]
    fn magnitudes_fall_into_octaves() {
        assert_eq!(mean_magnitude([3i8, -5, 0, -128].into_iter()), 34.0);
        assert_eq!(mean_magnitude([0i8; 0].into_iter()), 0.0);
        assert_eq!([1.0, 1.9, 2.0, 0.5].map(|value| octave_bucket(value, 1.0)), [0, 0, 1, -1]);
        assert_eq!(octave_bucket(2.0, 8.0), 8);
    }
}
