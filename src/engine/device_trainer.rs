//! Training whose weights, moments and snapshots stay where the engine runs.

use super::EngineError;
use crate::data::TokenBatch;
use crate::model::Params;
use crate::optim::{FakeQuant, Optimizer, StepPlan, SwaSum};

/// What a step of [`DeviceTrainer`] gave.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainerStep {
    /// Mean loss of each micro-batch in the order they came, nats per token.
    pub losses: Vec<f32>,
    /// Gradient norm before clipping.
    pub gradient_norm: f64,
}

/// Weights, moments of every parameter, and snapshots, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainerState {
    /// Weights, in state-dict order.
    pub weights: Params,
    /// Moments and steps taken.
    pub optimizer: Optimizer,
    /// Snapshots so far.
    pub swa: SwaSum,
    /// The moving average, where the recipe has one; never in a state that comes from where an engine runs.
    pub ema: Option<Params>,
}

/// A model in training that stays where the engine runs.
///
/// Work is handed over and done in the order of the calls; only what returns numbers waits for it.
pub trait DeviceTrainer: Send {
    /// Steps taken.
    fn steps(&self) -> u64;

    /// Snapshots so far.
    fn snapshots(&self) -> u64;

    /// Runs the blocks in this phase of the recurrence ([`RunAs::phase`](crate::model::RunAs)) from the coming step on.
    /// Called between steps.
    fn set_phase(&mut self, phase: usize);

    /// Adds the gradients of a micro-batch's mean loss to those of the coming step.
    ///
    /// Micro-batches come in [`reading_order`](crate::collective::reading_order) and are added as
    /// [`TreeSum`](crate::collective::TreeSum) says. With other ranks, sums over them begin during the last one of this
    /// rank's share of a step ([`Rank::micro_batches`](crate::collective::Rank::micro_batches)).
    fn micro_batch(&mut self, batch: &TokenBatch, fake_quant: FakeQuant) -> Result<(), EngineError>;

    /// Multiplies the gradients by `share`, clips them by their global norm, updates the weights and takes a snapshot where the plan says so.
    ///
    /// Where the norm or a loss of any rank is no finite number no rank updates anything, and the caller, who sees it in
    /// the answers of all ranks, must not go on.
    fn step(&mut self, plan: &StepPlan, share: f32) -> Result<TrainerStep, EngineError>;

    /// Everything, copied to the host.
    fn state(&self) -> Result<TrainerState, EngineError>;
}
