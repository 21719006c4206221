//! What every engine requires of its input, checked once before anything is computed.

use super::{EngineError, Window};
use crate::data::TokenBatch;
use crate::model::{ModelConfig, Params};

/// Checks that the configuration is possible and that the weights are its weights.
pub(super) fn model(config: &ModelConfig, weights: &Params) -> Result<(), EngineError> {
    config.check()?;
    Ok(weights.check_layout(config)?)
}

/// Checks that every id is in the vocabulary.
pub(super) fn tokens(config: &ModelConfig, tokens: &[u16]) -> Result<(), EngineError> {
    let vocab_size = config.vocab_size;
    match tokens.iter().enumerate().find(|&(_, &id)| usize::from(id) >= vocab_size) {
        Some((position, &id)) => Err(EngineError::Token { id, position, vocab_size }),
        None => Ok(()),
    }
}

/// Checks that a window has an input and a target, and its ids.
pub(super) fn window(config: &ModelConfig, window: &Window<'_>) -> Result<(), EngineError> {
    if window.tokens.len() < 2 {
        return Err(EngineError::Window { tokens: window.tokens.len() });
    }
    tokens(config, window.tokens)
}

/// Checks that a micro-batch is at least one whole row, and its ids.
pub(super) fn batch(config: &ModelConfig, batch: &TokenBatch) -> Result<(), EngineError> {
    let (inputs, targets, seq_len) = (batch.inputs.len(), batch.targets.len(), batch.seq_len);
    if inputs == 0 || inputs != targets || seq_len == 0 || !inputs.is_multiple_of(seq_len) {
        return Err(EngineError::Batch { inputs, targets, seq_len });
    }
    tokens(config, &batch.inputs)?;
    tokens(config, &batch.targets)
}
