//! Weights that learn from a chunk: SGD over its sequences.

use super::run::TttError;
use super::{Chunk, TracedLearning};
use crate::data::TokenBatch;
use crate::engine::{Engine, LossAndGradients};
use crate::interrupt::Interrupt;
use crate::manifest::{FrozenParts, TttConfig};
use crate::model::{ModelConfig, Params, in_block};
use crate::optim::{FakeQuant, Sgd, clip_global_norm};

/// Weights, and how they learn.
pub(super) struct Learner<'a> {
    engine: &'a dyn Engine,
    model: &'a ModelConfig,
    config: &'a TttConfig,
    sgd: Sgd,
    pub weights: Params,
}

impl<'a> Learner<'a> {
    pub fn new(engine: &'a dyn Engine, model: &'a ModelConfig, config: &'a TttConfig, weights: Params) -> Self {
        Learner { engine, model, config, sgd: Sgd::new(config.momentum), weights }
    }

    /// Goes through the sequences of a chunk in their order, as often as the settings say; momentum stays from chunk to
    /// chunk. `None` where there are none.
    pub fn learn(
        &mut self,
        tokens: &[u16],
        chunk: &Chunk,
        learning_rate: f64,
        interrupt: &Interrupt,
    ) -> Result<Option<TracedLearning>, TttError> {
        let Some(targets) = chunk.learned() else { return Ok(None) };
        let (mut steps, mut losses) = (0, 0.0);
        for _ in 0..self.config.epochs {
            let mut first = 0;
            while first < chunk.sequences {
                interrupt.check()?;
                let count = self.config.sequences_per_step.clamp(1, chunk.sequences - first);
                let batch = batch(tokens, chunk, first, count);
                losses += f64::from(self.step(&batch, learning_rate, chunk.index)?);
                steps += 1;
                first += count;
            }
        }
        let loss = (steps > 0).then(|| losses / steps as f64);
        let (chunk, epochs) = (chunk.index, self.config.epochs);
        Ok(Some(TracedLearning { chunk, targets, learning_rate, epochs, steps, loss }))
    }

    /// One step on the mean loss of a batch; the loss.
    fn step(&mut self, batch: &TokenBatch, learning_rate: f64, chunk: u64) -> Result<f32, TttError> {
        let LossAndGradients { loss, gradients } =
            self.engine.loss_and_gradients(self.model, &self.weights, batch, FakeQuant::Off)?;
        let gradients = gradients.into_entries().into_iter().filter(|(name, _)| learns(name, self.config));
        let mut gradients = Params::from_entries(gradients.collect());
        let norm = clip_global_norm(&mut gradients, self.config.clip);
        if !loss.is_finite() || !norm.is_finite() {
            return Err(TttError::Diverged { chunk, loss, norm });
        }
        self.sgd.step(&mut self.weights, gradients, learning_rate);
        Ok(loss)
    }
}

/// Sequences that follow one another in the text, each with the targets one token on.
fn batch(tokens: &[u16], chunk: &Chunk, first: u64, count: u64) -> TokenBatch {
    let start = (chunk.start + first * chunk.seq_len) as usize;
    let end = start + (count * chunk.seq_len) as usize;
    let run = |range: std::ops::Range<usize>| tokens.get(range).unwrap_or_default().to_vec();
    TokenBatch { inputs: run(start..end), targets: run(start + 1..end + 1), seq_len: chunk.seq_len as usize }
}

/// Whether a parameter learns: all do but those of frozen blocks.
fn learns(name: &str, config: &TttConfig) -> bool {
    let Some((Ok(index), part)) = in_block(name).map(|(index, part)| (index.parse::<u64>(), part)) else { return true };
    let is_matrix = part.ends_with(".weight");
    index >= config.freeze_blocks || is_matrix && config.frozen == FrozenParts::Vectors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layout;

    #[test]
    fn frozen_blocks_are_frozen_whole_or_in_their_vectors() {
        let model = ModelConfig { num_layers: 12, ..ModelConfig::default() };
        let names: Vec<String> = layout(&model).into_iter().map(|spec| spec.name).collect();
        let still = |freeze_blocks, frozen| -> Vec<&str> {
            let config = TttConfig { freeze_blocks, frozen, ..TttConfig::default() };
            names.iter().map(String::as_str).filter(|name| !learns(name, &config)).collect()
        };
        assert!(still(0, FrozenParts::All).is_empty());
        let first = still(1, FrozenParts::All);
        assert_eq!((first.len(), first.iter().all(|name| name.starts_with("blocks.0."))), (10, true));
        assert_eq!(still(2, FrozenParts::All).len(), 20);
        let vectors = ["attn_scale", "mlp_scale", "resid_mix", "attn.q_gain"].map(|part| format!("blocks.0.{part}"));
        assert_eq!(still(1, FrozenParts::Vectors), vectors);
    }

    #[test]
    fn a_batch_is_a_run_of_the_text_and_the_token_behind_it() {
        let tokens: Vec<u16> = (0..50).collect();
        let chunk = Chunk { index: 1, windows: 0..1, start: 20, sequences: 3, seq_len: 5 };
        let found = batch(&tokens, &chunk, 1, 2);
        assert_eq!((found.inputs, found.targets), ((25..35).collect(), (26..36).collect()));
    }
}
