//! What a training step and a group of scored windows cost, without a GPU: the engine runs on a device that
//! computes nothing and keeps an account of what it was asked for.
//!
//! The operations are the engine's own, of any network and batch, in the order it launches them. Times are those of a
//! model with a few [`Assumptions`]: what memory moves, what is multiplied, and how much of the hardware's rates is
//! reached.

mod access;
mod assumptions;
mod ledger;
mod operation;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::assumptions::Assumptions;
use self::ledger::Ledger;
pub use self::operation::{Kind, Operation};
pub use self::table::{Row, Table};
use super::backend::CudaKernels;
pub use super::device::Instruction;
use super::engine::CudaEngine;
use super::scorer::GROUPS_AHEAD;
use crate::collective::Solo;
use crate::data::TokenBatch;
use crate::engine::{Engine, EngineError, Precision, Window};
use crate::manifest::{MICRO_BATCHES_PER_STEP, OptimizerConfig};
use crate::model::{ModelConfig, Params};
use crate::optim::{FakeQuant, Optimizer, StepPlan, SwaSum};

/// Times that work is done before it is written down: the first time it is launched kernel by kernel, the second time it
/// is recorded.
const WARM_UP: usize = 2;

/// A step at some rate, without a snapshot: what it costs depends on neither.
const PLAN: StepPlan =
    StepPlan { lr_multiplier: 1.0, muon_momentum: 0.95, fake_quant: FakeQuant::Off, swa_pick: false, phase: 0 };

/// What the engine asks of a device for some work that it has done before.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// In the order of the calls; of a recorded graph, in the order of the recording.
    pub operations: Vec<Operation>,
    /// Most memory allocated at once until then, in bytes: weights, activations, moments and what is kept for reuse.
    pub peak_bytes: usize,
    /// Tokens whose activations are computed.
    pub tokens: usize,
}

/// A whole step of training with one rank: micro-batches of `rows` rows of `seq_len` tokens, clipping and the update; by
/// own kernels of that instruction, where there are.
///
/// # Errors
/// A network that the engine refuses, or rows of no tokens.
pub fn training_step(
    config: &ModelConfig,
    recipe: &OptimizerConfig,
    (rows, seq_len): (usize, usize),
    (precision, instruction): (Precision, Instruction),
    fake_quant: FakeQuant,
) -> Result<Account, EngineError> {
    let ledger = Arc::new(Ledger::new(true, instruction));
    let engine = CudaEngine::new(CudaKernels::new(Arc::clone(&ledger), precision));
    train(&engine, (config, recipe), (rows, seq_len), fake_quant, WARM_UP + 1, &mut || ledger.forget())?;
    Ok(ledger.account(rows * seq_len * MICRO_BATCHES_PER_STEP as usize))
}

/// Takes some steps; `begin` is called before each.
fn train(
    engine: &dyn Engine,
    (config, recipe): (&ModelConfig, &OptimizerConfig),
    (rows, seq_len): (usize, usize),
    fake_quant: FakeQuant,
    steps: usize,
    begin: &mut dyn FnMut(),
) -> Result<(), EngineError> {
    let ids = vec![0; rows * seq_len];
    let batch = TokenBatch { inputs: ids.clone(), targets: ids, seq_len };
    let optimizer = Optimizer::new(recipe, config);
    let trainer = engine.device_trainer(config, &Params::zeros(config), &optimizer, &SwaSum::default(), &Solo)?;
    let Some(mut trainer) = trainer else { return Ok(()) };
    for _ in 0..steps {
        begin();
        for _ in 0..MICRO_BATCHES_PER_STEP {
            trainer.micro_batch(&batch, fake_quant)?;
        }
        trainer.step(&PLAN, 1.0 / MICRO_BATCHES_PER_STEP as f32)?;
    }
    Ok(())
}

/// One group of windows of `seq_len` inputs each, of which the last `scored` targets are scored; and how many windows
/// that are. `group` is the tokens of a group, where it is not the engine's own number.
///
/// # Errors
/// A network that the engine refuses, or windows of no tokens.
pub fn scored_group(
    config: &ModelConfig,
    (seq_len, scored): (usize, usize),
    group: Option<usize>,
    (precision, instruction): (Precision, Instruction),
) -> Result<(Account, usize), EngineError> {
    let ledger = Arc::new(Ledger::new(true, instruction));
    let engine = CudaEngine::new(CudaKernels::new(Arc::clone(&ledger), precision));
    let engine = match group {
        Some(tokens) => engine.scoring_in_groups(tokens),
        None => engine,
    };
    let windows = score(&engine, config, (seq_len, scored), WARM_UP + 1, &mut || ledger.forget())?;
    Ok((ledger.account(windows * seq_len), windows))
}

/// Scores some groups; `begin` is called before each. The windows of a group.
fn score(
    engine: &dyn Engine,
    config: &ModelConfig,
    (seq_len, scored): (usize, usize),
    groups: usize,
    begin: &mut dyn FnMut(),
) -> Result<usize, EngineError> {
    let scorer = engine.scorer(config, &Params::zeros(config))?;
    let ids = vec![0; seq_len + 1];
    let window = Window { tokens: &ids, first_scored: seq_len.saturating_sub(scored) };
    for _ in 0..groups {
        begin();
        scorer.nll(&[window])?;
    }
    Ok(scorer.windows_at_once(ids.len()) / GROUPS_AHEAD)
}
