//! Training whose weights, moments and snapshots stay where the engine runs.

use super::{EngineError, FakeQuant};
use crate::data::TokenBatch;
use crate::model::Params;
use crate::train::{Optimizer, StepPlan, SwaSum};

/// What a step of [`Resident`] gave.
#[derive(Clone, Debug, PartialEq)]
pub struct ResidentStep {
    /// Mean loss of each micro-batch, nats per token.
    pub losses: Vec<f32>,
    /// Gradient norm before clipping.
    pub gradient_norm: f64,
}

/// Weights, moments of every parameter, and snapshots, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct ResidentState {
    /// Weights, in state-dict order.
    pub weights: Params,
    /// Moments and steps taken.
    pub optimizer: Optimizer,
    /// Snapshots so far.
    pub swa: SwaSum,
}

/// A model in training that stays where the engine runs.
///
/// Work is handed over and done in the order of the calls; only what returns numbers waits for it.
pub trait Resident: Send {
    /// Adds `share` times the gradients of a micro-batch's mean loss to those of the coming step.
    fn micro_batch(&mut self, batch: &TokenBatch, fake_quant: FakeQuant, share: f32) -> Result<(), EngineError>;

    /// The gradients of the coming step so far, for those who average them with others'.
    fn gradients(&self) -> Result<Params, EngineError>;

    /// Puts other gradients in their place.
    fn set_gradients(&mut self, gradients: &Params) -> Result<(), EngineError>;

    /// Clips the gradients by their global norm, updates the weights and takes a snapshot where the plan says so.
    ///
    /// Where a loss or the norm is no finite number nothing is updated, and the caller, who sees it in the answer, must
    /// not go on.
    fn step(&mut self, plan: &StepPlan) -> Result<ResidentStep, EngineError>;

    /// The weights, copied to the host.
    fn weights(&self) -> Result<Params, EngineError>;

    /// Everything, copied to the host.
    fn state(&self) -> Result<ResidentState, EngineError>;
}
