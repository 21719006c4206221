//! Scoring twice: two engines on the same windows, and how far apart they were.

use std::sync::{Mutex, PoisonError};

use super::{Engine, EngineError, Scorer, Window};
use crate::model::{ModelConfig, Params};

/// One likelihood as two engines give it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Difference {
    /// Window, counted over all calls.
    pub window: usize,
    /// Target within the window.
    pub target: usize,
    /// Negative log-likelihood from the first engine, nats.
    pub first: f32,
    /// And from the second.
    pub second: f32,
}

impl Difference {
    /// `|first - second| / max(1, |second|)`; NaN when either is.
    pub fn relative(&self) -> f64 {
        let (first, second) = (f64::from(self.first), f64::from(self.second));
        (first - second).abs() / second.abs().max(1.0)
    }
}

/// A scorer that asks two engines and answers with the first one's numbers.
pub struct CrossCheck {
    first: Box<dyn Scorer>,
    second: Box<dyn Scorer>,
    by: String,
    tolerance: f64,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    windows: usize,
    largest: Difference,
}

impl CrossCheck {
    /// Twice the distance either engine may keep from double precision (`docs/engine.md`).
    pub const TOLERANCE: f64 = 2e-5;

    /// Weights ready on the fast engine, cross-checked by the reference.
    pub fn new(
        first: Box<dyn Scorer>,
        reference: &dyn Engine,
        config: &ModelConfig,
        weights: &Params,
    ) -> Result<Self, EngineError> {
        Ok(CrossCheck {
            first,
            second: reference.scorer(config, weights)?,
            by: reference.label(),
            tolerance: Self::TOLERANCE,
            seen: Mutex::default(),
        })
    }

    /// [`Engine::label`] of the engine that checks.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// The largest relative difference so far.
    pub fn largest_difference(&self) -> Difference {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).largest
    }
}

impl Scorer for CrossCheck {
    /// Fails where the engines are further apart than [`CrossCheck::TOLERANCE`] or either number is NaN.
    fn nll(&self, windows: &[Window<'_>]) -> Result<Vec<Vec<f32>>, EngineError> {
        let (first, second) = (self.first.nll(windows)?, self.second.nll(windows)?);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (i, (a, b)) in first.iter().zip(&second).enumerate() {
            let start = windows.get(i).map_or(0, |window| window.first_scored);
            for (j, (&first, &second)) in a.iter().zip(b).enumerate() {
                let difference = Difference { window: seen.windows + i, target: start + j, first, second };
                let relative = difference.relative();
                if relative > seen.largest.relative() {
                    seen.largest = difference;
                }
                if relative.is_nan() || relative > self.tolerance {
                    return Err(EngineError::Disagreement { difference, tolerance: self.tolerance });
                }
            }
        }
        seen.windows += windows.len();
        Ok(first)
    }

    fn logits(&self, inputs: &[u16]) -> Result<Vec<f32>, EngineError> {
        self.first.logits(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EngineKind, create};
    use crate::model::init;

    #[test]
    fn engines_agree_on_their_weights_and_not_on_others() {
        let config = ModelConfig {
            num_layers: 2,
            model_dim: 64,
            num_heads: 2,
            num_kv_heads: 1,
            vocab_size: 50,
            bigram_vocab_size: 64,
            ..Default::default()
        };
        let tokens: Vec<u16> = (0..40).map(|i| i * 7 % 50).collect();
        let windows = [Window { tokens: &tokens, first_scored: 30 }, Window { tokens: &tokens[..9], first_scored: 0 }];
        let weights = init(&config, 1);
        let reference = create(EngineKind::Dfdx);
        let first = create(EngineKind::Kernels).scorer(&config, &weights).unwrap();
        let mut check = CrossCheck::new(first, &*reference, &config, &weights).unwrap();
        assert_eq!(check.by(), "dfdx");
        assert_eq!(check.nll(&windows).unwrap().concat().len(), 9 + 8);
        assert!(check.largest_difference().relative() < CrossCheck::TOLERANCE);

        check.second = reference.scorer(&config, &init(&config, 2)).unwrap();
        let error = check.nll(&windows).unwrap_err();
        assert!(matches!(error, EngineError::Disagreement { difference: Difference { window: 2, .. }, .. }), "{error}");
    }
}
