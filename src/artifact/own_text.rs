//! Text that a model writes by itself, to sum Hessians over (PR #1019).
//!
//! Each sequence has a random stream of its own, so that it is the same text however many are written side by side. It is not
//! the text that the script's model would write: that one draws from PyTorch's generator.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::CalibrateError;
use crate::engine::Decoder;
use crate::interrupt::Interrupt;
use crate::model::{ModelConfig, Params};
use crate::progress::{Progress, time_in_words};
use crate::random::RandomStream;
use crate::units::Bytes;

/// Sequences written side by side by one thread: as many rows share a pass over the weights. Part of what the text depends
/// on, because products of other shapes round differently.
const ROWS: usize = 16;
/// Most memory of keys and values: groups that take more together are written one after another.
pub(super) const MAX_MEMORY_BYTES: usize = 1 << 31;
/// Tokens of a probe of how long it will take.
const PROBE_TOKENS: usize = 4;

/// What is to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnText<'a> {
    pub model: &'a ModelConfig,
    pub weights: &'a Params,
    pub seed: u64,
    pub temperature: f64,
    pub sequences: usize,
    pub length: usize,
}

impl OwnText<'_> {
    /// The sequences, in their order. The same for any number of threads.
    ///
    /// Says on the progress bar beforehand about how long it will take.
    pub(super) fn write(&self, progress: &Progress, interrupt: &Interrupt) -> Result<Vec<Vec<u16>>, CalibrateError> {
        let decoder = Decoder::new(&self.model.clone().in_rows_of(self.length), self.weights)?;
        let starts: Vec<usize> = (0..self.sequences).step_by(ROWS).collect();
        let bytes = decoder.bytes_of_row(self.length).saturating_mul(ROWS.min(self.sequences));
        if bytes > MAX_MEMORY_BYTES {
            return Err(CalibrateError::TooLong { tokens: self.length, bytes: Bytes(bytes as u64) });
        }
        let at_once = (MAX_MEMORY_BYTES / bytes.max(1)).clamp(1, rayon::current_num_threads().max(1));
        let waves = starts.len().div_ceil(at_once);
        let time = self.probe(&decoder)?.mul_f64(waves as f64 * self.length as f64 / PROBE_TOKENS as f64);
        progress.note(format!(
            "the model writes {} sequences of {} tokens: {} or more",
            self.sequences,
            self.length,
            time_in_words(time.as_secs_f64())
        ));
        progress.set_len((self.sequences * self.length) as u64);
        let mut written = Vec::with_capacity(self.sequences);
        for wave in starts.chunks(at_once) {
            let groups: Vec<Vec<Vec<u16>>> = wave
                .par_iter()
                .map(|&start| self.group(&decoder, start, progress, interrupt))
                .collect::<Result<_, _>>()?;
            written.extend(groups.into_iter().flatten());
        }
        Ok(written)
    }

    /// How long the first tokens of a group take; later ones have more to attend to.
    fn probe(&self, decoder: &Decoder) -> Result<Duration, CalibrateError> {
        let mut decoding = decoder.rows(ROWS.min(self.sequences), PROBE_TOKENS);
        let tokens = vec![0; ROWS.min(self.sequences)];
        let started = Instant::now();
        for _ in 0..PROBE_TOKENS {
            decoding.push(&tokens)?;
        }
        Ok(started.elapsed())
    }

    /// The sequences from `start` on, a group of them.
    fn group(
        &self,
        decoder: &Decoder,
        start: usize,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<Vec<Vec<u16>>, CalibrateError> {
        let indices = start..(start + ROWS).min(self.sequences);
        let mut streams: Vec<RandomStream> =
            indices.map(|index| RandomStream::new(self.seed, &format!("calibration text {index}"))).collect();
        let vocabulary = self.model.vocab_size;
        let mut tokens: Vec<u16> = streams.iter_mut().map(|stream| stream.below(vocabulary as u64) as u16).collect();
        let mut written: Vec<Vec<u16>> = tokens.iter().map(|&token| vec![token]).collect();
        let mut decoding = decoder.rows(tokens.len(), self.length);
        for _ in 1..self.length {
            interrupt.check()?;
            let logits = decoding.push(&tokens)?;
            for ((stream, logits), (token, text)) in
                streams.iter_mut().zip(logits.chunks(vocabulary)).zip(tokens.iter_mut().zip(&mut written))
            {
                *token = drawn(logits, self.temperature, stream.uniform()).ok_or(CalibrateError::NoLogits)? as u16;
                text.push(*token);
            }
            progress.advance(tokens.len() as u64);
        }
        progress.advance(tokens.len() as u64);
        Ok(written)
    }
}

/// The token at `uniform` in [0, 1) of the softmax of `logits / temperature`; `None` where they are no numbers.
fn drawn(logits: &[f32], temperature: f64, uniform: f64) -> Option<usize> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |&logit: &f32| libm::exp(f64::from(logit - largest) / temperature);
    let weights: Vec<f64> = logits.iter().map(weight).collect();
    let sum: f64 = weights.iter().sum();
    if !sum.is_finite() || sum <= 0.0 {
        return None;
    }
    let mut left = uniform * sum;
    let reached = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    // Rounding may leave a trifle behind the last one.
    Some(reached.unwrap_or_else(|| weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::init;

    fn model() -> ModelConfig {
        ModelConfig {
            vocab_size: 20,
            num_layers: 2,
            model_dim: 16,
            num_heads: 2,
            num_kv_heads: 1,
            bigram_vocab_size: 0,
            ..ModelConfig::default()
        }
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_likely() {
        // Of weights 1, 2 and 4 at temperature 1, and of 1, 4 and 16 at a half.
        let logits = [0.0, 2f32.ln(), 4f32.ln(), f32::NEG_INFINITY];
        for (temperature, shares) in
            [(1.0, [1.0, 2.0, 4.0].map(|w| w / 7.0)), (0.5, [1.0, 4.0, 16.0].map(|w| w / 21.0))]
        {
            let mut stream = RandomStream::new(1, "draws");
            let mut counts = [0.0; 4];
            let n = 40_000;
            (0..n).for_each(|_| counts[drawn(&logits, temperature, stream.uniform()).unwrap()] += 1.0);
            for (count, share) in counts.iter().zip(shares) {
                // Five standard errors.
                let bound = 5.0 * (share * (1.0 - share) / f64::from(n)).sqrt();
                assert!((count / f64::from(n) - share).abs() < bound, "{counts:?}");
            }
            assert_eq!(counts[3], 0.0);
        }
        assert_eq!(drawn(&logits, 1.0, 0.0), Some(0));
        assert_eq!(drawn(&logits, 1.0, 1.0 - f64::EPSILON / 2.0), Some(2));
        assert_eq!(drawn(&[f32::NAN, 1.0], 1.0, 0.5), None);
    }

    #[test]
    fn the_text_is_the_same_however_many_are_written_at_a_time() {
        let (model, weights) = (model(), init(&model(), 1));
        let text = |sequences| {
            let text = OwnText { model: &model, weights: &weights, seed: 3, temperature: 0.8, sequences, length: 12 };
            text.write(&Progress::hidden(), &Interrupt::none()).unwrap()
        };
        let all = text(ROWS + 3);
        assert_eq!(all.len(), ROWS + 3);
        assert!(all.iter().all(|sequence| sequence.len() == 12));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(pool.install(|| text(ROWS + 3)), all);
        assert_ne!(all[0], all[1]);
        // Full groups do not depend on what follows.
        assert_eq!(text(ROWS + 1)[..ROWS], all[..ROWS]);
        let interrupt = Interrupt::none();
        interrupt.raise();
        let text = OwnText { model: &model, weights: &weights, seed: 3, temperature: 0.8, sequences: 1, length: 12 };
        assert!(matches!(text.write(&Progress::hidden(), &interrupt), Err(CalibrateError::Interrupted(_))));
    }

    #[test]
    fn sequences_whose_keys_and_values_do_not_fit_are_refused() {
        let (model, weights) = (model(), init(&model(), 1));
        // Two layers of keys and values, eight channels each.
        let bytes = 2 * 2 * 8 * 4;
        let longest = MAX_MEMORY_BYTES / bytes;
        let text = |sequences, length| {
            let text = OwnText { model: &model, weights: &weights, seed: 3, temperature: 0.8, sequences, length };
            text.write(&Progress::hidden(), &Interrupt::none())
        };
        for (sequences, length) in [(1, longest + 1), (ROWS, longest / ROWS + 1), (100, usize::MAX)] {
            let error = text(sequences, length).unwrap_err();
            assert!(matches!(error, CalibrateError::TooLong { tokens, .. } if tokens == length), "{error}");
        }
    }

    /// Each token is what its stream draws from the logits of the text before it, computed at once.
    #[test]
    fn tokens_follow_from_those_before_them() {
        let (model, mut weights) = (model(), init(&model(), 1));
        let mut stream = RandomStream::new(2, "weights");
        for (_, tensor) in weights.iter_mut() {
            tensor.data_mut().iter_mut().for_each(|value| *value += 0.3 * stream.normal() as f32);
        }
        let text = OwnText { model: &model, weights: &weights, seed: 3, temperature: 0.8, sequences: 2, length: 12 };
        let written = text.write(&Progress::hidden(), &Interrupt::none()).unwrap();
        let model = model.clone().in_rows_of(12);
        let reference = crate::engine::create(crate::engine::EngineKind::Dfdx);
        let scorer = reference.scorer(&model, &weights).unwrap();
        for (index, tokens) in written.iter().enumerate() {
            let mut stream = RandomStream::new(3, &format!("calibration text {index}"));
            assert_eq!(u64::from(tokens[0]), stream.below(20));
            for at in 1..12 {
                // Likelihoods of every token that may follow are the logits, up to a constant.
                let nll = |token: u16| {
                    let row = [&tokens[..at], &[token]].concat();
                    scorer.nll(&[crate::engine::Window { tokens: &row, first_scored: at - 1 }]).unwrap()[0][0]
                };
                let logits: Vec<f32> = (0..20).map(|token| -nll(token)).collect();
                assert_eq!(drawn(&logits, 0.8, stream.uniform()), Some(usize::from(tokens[at])), "{index} {at}");
            }
        }
    }
}
