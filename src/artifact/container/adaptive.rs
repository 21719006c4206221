//! Range coding with models that learn while they code.
//!
//! Probabilities are integers out of 2^16, rebuilt from counts at fixed points of the stream, so that encoder and
//! decoder agree to the bit on every machine. Rows of one magnitude bucket share a model; the next bucket starts from a faint
//! copy of the last one, because neighbors look alike. The range coder itself is the crate `constriction`.

use std::borrow::Borrow;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};
use constriction::stream::queue::{DefaultRangeDecoder, DefaultRangeEncoder};
use constriction::stream::{Decode, Encode};

/// Probabilities are out of `1 << PRECISION`.
const PRECISION: usize = 16;
/// What one occurrence adds to a count; counts start at 1 (Krichevsky and Trofimov's half).
const INCREMENT: u32 = 2;
/// A model is rebuilt after 16 symbols, then after a quarter more each time, but at least this often.
const LONGEST_WAIT: u32 = 4096;
/// Weight, in counts, of what a new magnitude bucket inherits.
const INHERITED: u64 = 512;

/// Counts of the symbols seen, and the probabilities last made from them.
struct Model {
    low: u8,
    counts: Vec<u32>,
    /// Cumulative probabilities: one more than there are symbols, from 0 to `1 << PRECISION`.
    cumulative: Vec<u32>,
    wait: u32,
    seen: u32,
}

impl Model {
    fn new(alphabet: &RangeInclusive<u8>) -> Self {
        let symbols = usize::from(alphabet.end().saturating_sub(*alphabet.start())) + 1;
        let mut model =
            Model { low: *alphabet.start(), counts: vec![1; symbols], cumulative: Vec::new(), wait: 16, seen: 0 };
        model.rebuild();
        model
    }

    /// Probabilities in proportion to the counts, none of them zero; what rounding leaves goes to the likeliest.
    fn rebuild(&mut self) {
        let total: u64 = self.counts.iter().map(|&count| u64::from(count)).sum();
        let shared = (1u64 << PRECISION) - self.counts.len() as u64;
        let share = |count: u32| 1 + (u64::from(count) * shared).checked_div(total).unwrap_or(0) as u32;
        let given: u32 = self.counts.iter().map(|&count| share(count)).sum();
        let left = (1u32 << PRECISION) - given;
        let likeliest = self.counts.iter().enumerate().max_by_key(|(_, count)| **count).map_or(0, |(i, _)| i);
        self.cumulative.clear();
        self.cumulative.push(0);
        let mut sum = 0;
        for (i, &count) in self.counts.iter().enumerate() {
            sum += share(count) + if i == likeliest { left } else { 0 };
            self.cumulative.push(sum);
        }
    }

    /// Takes note of a symbol, which must be in the alphabet.
    fn learn(&mut self, byte: u8) {
        if let Some(count) = self.counts.get_mut(usize::from(byte.wrapping_sub(self.low))) {
            *count += INCREMENT;
        }
        self.seen += 1;
        if self.seen >= self.wait {
            self.seen = 0;
            self.wait = (self.wait + self.wait / 4).min(LONGEST_WAIT);
            self.rebuild();
        }
    }

    /// Keeps the shape of what was learned and little of its weight.
    fn fade(&mut self) {
        let total: u64 = self.counts.iter().map(|&count| u64::from(count)).sum();
        for count in &mut self.counts {
            let faint = (u64::from(*count) * INHERITED).checked_div(total).unwrap_or(0) as u32;
            *count = (*count).min(1 + faint);
        }
        (self.wait, self.seen) = (16, 0);
        self.rebuild();
    }
}

impl EntropyModel<PRECISION> for &Model {
    type Symbol = u8;
    type Probability = u32;
}

impl EncoderModel<PRECISION> for &Model {
    fn left_cumulative_and_probability(&self, symbol: impl Borrow<u8>) -> Option<(u32, NonZeroU32)> {
        let index = usize::from(symbol.borrow().checked_sub(self.low)?);
        let (left, right) = (*self.cumulative.get(index)?, *self.cumulative.get(index + 1)?);
        Some((left, NonZeroU32::new(right.checked_sub(left)?)?))
    }
}

impl DecoderModel<PRECISION> for &Model {
    fn quantile_function(&self, quantile: u32) -> (u8, u32, NonZeroU32) {
        // The first entry is 0, so at least one is <= quantile; the last is 2^16, so at least one is above.
        let index = self.cumulative.partition_point(|&start| start <= quantile).saturating_sub(1);
        let start = self.cumulative.get(index).copied().unwrap_or(0);
        let end = self.cumulative.get(index + 1).copied().unwrap_or(1 << PRECISION);
        let width = NonZeroU32::new(end.saturating_sub(start)).unwrap_or(NonZeroU32::MIN);
        (self.low.wrapping_add(index as u8), start, width)
    }
}

/// Goes through runs of (context, length) as encoder and decoder both must: `code` codes one symbol with the model as it
/// stands, which then learns it, and fades where the context changes.
fn walk<E>(
    alphabet: &RangeInclusive<u8>,
    runs: &[(u8, usize)],
    mut code: impl FnMut(&Model) -> Result<u8, E>,
) -> Result<(), E> {
    let mut model = Model::new(alphabet);
    let mut context = runs.first().map_or(0, |(context, _)| *context);
    for &(next, length) in runs {
        if next != context {
            model.fade();
            context = next;
        }
        for _ in 0..length {
            let byte = code(&model)?;
            model.learn(byte);
        }
    }
    Ok(())
}

/// Codes bytes of an alphabet that come in runs of (context, length); `None` when a byte or a length does not fit.
pub(super) fn encode(bytes: &[u8], alphabet: &RangeInclusive<u8>, runs: &[(u8, usize)]) -> Option<Vec<u8>> {
    runs.first()?;
    let mut coder = DefaultRangeEncoder::new();
    let mut rest = bytes.iter().copied();
    let next = |model: &Model| -> Result<u8, ()> {
        let byte = rest.next().ok_or(())?;
        coder.encode_symbol(byte, model).map_err(drop)?;
        Ok(byte)
    };
    walk(alphabet, runs, next).ok()?;
    let words = coder.into_compressed().ok()?;
    rest.next().is_none().then(|| words.iter().flat_map(|word| word.to_le_bytes()).collect())
}

/// The `raw` bytes that [`encode`] coded. Total: damage gives other bytes or an error, and no more than `raw` of them.
pub(super) fn decode(
    stored: &[u8],
    raw: usize,
    alphabet: &RangeInclusive<u8>,
    runs: &[(u8, usize)],
) -> Result<Vec<u8>, String> {
    let (words, odd) = stored.as_chunks::<4>();
    let needed: usize = runs.iter().map(|(_, length)| *length).sum();
    if !odd.is_empty() || needed != raw {
        return Err(format!("{} bytes for {raw} symbols where the rows have {needed}", stored.len()));
    }
    let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let mut coder = DefaultRangeDecoder::from_compressed(words).map_err(|_| "no code words".to_string())?;
    let mut bytes = Vec::with_capacity(raw);
    walk(alphabet, runs, |model| {
        let byte = coder.decode_symbol(model).map_err(|_| format!("no symbol has the code at {}", bytes.len()));
        byte.inspect(|&byte| bytes.push(byte))
    })?;
    if !coder.maybe_exhausted() {
        return Err("code words are left after the last symbol".to_string());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_always_fill_their_range() {
        let mut model = Model::new(&(112..=143));
        for i in 0..50_000u32 {
            assert_eq!((model.cumulative[0], model.cumulative[32]), (0, 1 << PRECISION));
            assert!(model.cumulative.is_sorted_by(|a, b| a < b));
            model.learn(112 + (i * i % 7) as u8);
        }
    }

    /// Probabilities are `1 + count * (65536 - 4) / total`, and what is left of 65536 goes to the likeliest.
    #[test]
    fn models_learn_at_fixed_points_and_fade_between_buckets() {
        let mut model = Model::new(&(10..=13));
        assert_eq!(model.cumulative, [0, 16_384, 32_768, 49_152, 65_536]);
        // Nothing changes before the 16th symbol; then the counts are 1, 1, 33, 1 of 36.
        (0..15).for_each(|_| model.learn(12));
        assert_eq!(model.cumulative, [0, 16_384, 32_768, 49_152, 65_536]);
        model.learn(12);
        assert_eq!(model.cumulative, [0, 1821, 3642, 63_715, 65_536]);
        // A quarter more each time: 20, 25, 31 and so on, at most 4096.
        let mut waits = Vec::new();
        while waits.len() < 30 {
            waits.push(model.wait);
            (0..model.wait).for_each(|_| model.learn(12));
        }
        assert_eq!(waits[..6], [20, 25, 31, 38, 47, 58]);
        assert_eq!(waits[waits.len() - 3..], [4096; 3]);
        // Of 1, 1, n, 1 the next bucket inherits 1, 1, 1 + 511, 1, of which 515 in all.
        model.fade();
        assert_eq!(model.counts, [1, 1, 512, 1]);
        assert_eq!(model.cumulative, [0, 128, 256, 65_408, 65_536]);
        assert_eq!((model.wait, model.seen), (16, 0));
        // A young model keeps what it has.
        let mut young = Model::new(&(10..=13));
        (0..3).for_each(|_| young.learn(13));
        young.fade();
        assert_eq!((young.counts.as_slice(), young.seen), (&[1, 1, 1, 7][..], 0));
        // Outside the alphabet nothing is learned.
        young.learn(9);
        young.learn(14);
        assert_eq!(young.counts, [1, 1, 1, 7]);
    }

    #[test]
    fn the_cost_is_that_of_the_entropy() {
        // 2^-1, 2^-2, 2^-3, 2^-3: 1.75 bits a symbol.
        let pattern = [5u8, 5, 5, 5, 6, 6, 7, 8];
        let mut random = crate::random::RandomStream::new(1, "adaptive");
        let bytes: Vec<u8> = (0..80_000).map(|_| pattern[random.below(8) as usize]).collect();
        let runs = [(0, 80_000)];
        let stored = encode(&bytes, &(0..=255), &runs).unwrap();
        let floor = 80_000.0 * 1.75 / 8.0;
        // Sampling moves the empirical entropy by about 0.2 %; learning 256 symbols takes some 200 bytes.
        assert!((stored.len() as f64) < floor * 1.005 + 250.0, "{} for {floor}", stored.len());
        assert_eq!(decode(&stored, 80_000, &(0..=255), &runs).unwrap(), bytes);
    }

    proptest::proptest! {
        #[test]
        fn every_stream_comes_back(
            runs in proptest::collection::vec((0u8..4, 0usize..60), 1..20),
            seed in 0u64..1000,
        ) {
            let mut random = crate::random::RandomStream::new(seed, "runs");
            let n: usize = runs.iter().map(|run| run.1).sum();
            let bytes: Vec<u8> = (0..n).map(|_| 96 + random.below(1 + seed % 64) as u8).collect();
            let stored = encode(&bytes, &(96..=159), &runs).unwrap();
            proptest::prop_assert_eq!(decode(&stored, n, &(96..=159), &runs).unwrap(), bytes);
        }

        #[test]
        fn damage_never_panics(stored in proptest::collection::vec(0u8.., 0..100), n in 0usize..500) {
            let _ = decode(&stored, n, &(112..=143), &[(3, n / 2), (4, n - n / 2)]);
        }
    }
}
