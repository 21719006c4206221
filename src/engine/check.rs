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
fn tokens(config: &ModelConfig, tokens: &[u16]) -> Result<(), EngineError> {
    let vocab_size = config.vocab_size;
    match tokens.iter().enumerate().find(|&(_, &id)| usize::from(id) >= vocab_size) {
        Some((position, &id)) => Err(EngineError::Token { id, position, vocab_size }),
        None => Ok(()),
    }
}

/// Checks what gradients are made of: a model and a micro-batch.
pub(super) fn training(config: &ModelConfig, weights: &Params, micro_batch: &TokenBatch) -> Result<(), EngineError> {
    model(config, weights)?;
    batch(config, micro_batch)
}

/// Checks the inputs of one window: at least one, and their ids.
pub(super) fn inputs(config: &ModelConfig, inputs: &[u16]) -> Result<(), EngineError> {
    if inputs.is_empty() {
        return Err(EngineError::Window { tokens: 0 });
    }
    tokens(config, inputs)
}

/// Checks every window.
pub(super) fn windows(config: &ModelConfig, windows: &[Window<'_>]) -> Result<(), EngineError> {
    windows.iter().try_for_each(|one| window(config, one))
}

/// Checks that a window has an input and a target, and its ids.
fn window(config: &ModelConfig, window: &Window<'_>) -> Result<(), EngineError> {
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
