//! Small models for tests: one honest with a closed form, the others each dishonest in one way.

use std::sync::atomic::{AtomicU64, Ordering};

use super::sample::mix;
use crate::data::{ByteTable, TokenBytes};
use crate::engine::{EngineError, Scorer, Window};

/// Ids the models know.
pub const VOCAB: usize = 13;

/// A stream with some structure and every id in it.
pub fn tokens(count: usize) -> Vec<u16> {
    (0..count as u64).map(|i| (mix(i) % VOCAB as u64) as u16).collect()
}

/// 0 a boundary, odd ids with a marker, between zero and four bytes.
pub fn byte_table() -> ByteTable {
    let entry = |id: u16| match id {
        0 => TokenBytes::BOUNDARY,
        id => TokenBytes { base_bytes: id % 5, leading_marker: id % 2 == 1, boundary: false },
    };
    ByteTable::new((0..VOCAB as u16).map(entry).collect())
}

/// Unnormalized log-probabilities after a context: depend on every token of it and on its length.
fn logits(context: &[u16]) -> Vec<f32> {
    let state = context.iter().fold(0, |state, &id| mix(state ^ u64::from(id)));
    (0..VOCAB as u64).map(|id| (mix(state ^ (id << 32)) % 1000) as f32 / 250.0).collect()
}

/// Closed form of the honest model.
pub fn nll(context: &[u16], target: u16) -> f32 {
    let logits = logits(context);
    let sum: f64 = logits.iter().map(|&z| f64::from(z).exp()).sum();
    (sum.ln() - f64::from(logits[usize::from(target)])) as f32
}

/// A model made dishonest by a function of (position in the batch, window, its likelihoods).
struct Altered<F>(F);

impl<F: Fn(usize, &Window<'_>, &mut Vec<f32>) + Send + Sync> Scorer for Altered<F> {
    fn nll(&self, windows: &[Window<'_>]) -> Result<Vec<Vec<f32>>, EngineError> {
        let run = |(position, window): (usize, &Window<'_>)| {
            let predictions = window.first_scored..window.tokens.len() - 1;
            let mut likelihoods: Vec<f32> =
                predictions.map(|i| nll(&window.tokens[..=i], window.tokens[i + 1])).collect();
            (self.0)(position, window, &mut likelihoods);
            likelihoods
        };
        Ok(windows.iter().enumerate().map(run).collect())
    }

    fn logits(&self, inputs: &[u16]) -> Result<Vec<f32>, EngineError> {
        Ok((0..inputs.len()).flat_map(|i| logits(&inputs[..=i])).collect())
    }
}

/// Honest: a probability for every id, from the context alone.
pub fn hash_model() -> impl Scorer {
    Altered(|_, _: &Window<'_>, _: &mut Vec<f32>| ())
}

/// Answers for one prediction too many in every window but the first.
pub fn miscounts() -> impl Scorer {
    Altered(|_, window: &Window<'_>, nll: &mut Vec<f32>| {
        if window.first_scored > 0 {
            nll.push(1.0);
        }
    })
}

/// NaN where one prediction of [`tokens`] is made.
pub fn nan_at(prediction: usize) -> impl Scorer {
    let around = tokens(prediction + 2).split_off(prediction - 4);
    Altered(move |_, window: &Window<'_>, nll: &mut Vec<f32>| {
        let end = window.tokens.windows(around.len()).position(|tokens| tokens == around).map(|at| at + around.len());
        if let Some(index) = end.and_then(|end| (end - 2).checked_sub(window.first_scored)) {
            nll[index] = f32::NAN;
        }
    })
}

/// Knows whether the target comes up again later.
pub fn sees_the_future() -> impl Scorer {
    Altered(|_, window: &Window<'_>, nll: &mut Vec<f32>| {
        for (i, value) in nll.iter_mut().enumerate() {
            let target = window.first_scored + i + 1;
            if window.tokens[target + 1..].contains(&window.tokens[target]) {
                *value -= 0.1;
            }
        }
    })
}

/// Gives whatever the target is a bonus: its probabilities add up to more than one.
pub fn unnormalized() -> impl Scorer {
    Altered(|_, _: &Window<'_>, nll: &mut Vec<f32>| nll.iter_mut().for_each(|value| *value -= 0.01))
}

/// Scores better at the start of a batch than further on.
pub fn minds_its_neighbors() -> impl Scorer {
    Altered(|position, _: &Window<'_>, nll: &mut Vec<f32>| {
        nll.iter_mut().for_each(|value| *value += position as f32 * 1e-4);
    })
}

/// Scores better the more windows it has seen.
pub fn learns() -> impl Scorer {
    let seen = AtomicU64::new(0);
    Altered(move |_, _: &Window<'_>, nll: &mut Vec<f32>| {
        let seen = seen.fetch_add(1, Ordering::SeqCst);
        nll.iter_mut().for_each(|value| *value -= seen as f32 * 1e-4);
    })
}
