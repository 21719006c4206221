//! What a schedule decides for one optimizer step.

use super::FakeQuant;

/// The decisions of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepPlan {
    /// Multiplier on every learning rate.
    pub lr_multiplier: f64,
    /// Momentum of Muon.
    pub muon_momentum: f64,
    /// Whether linears are fake-quantized.
    pub fake_quant: FakeQuant,
    /// Whether the weights after this step are a snapshot of the average.
    pub swa_pick: bool,
    /// Phase of the network's recurrence; 0 without repetitions, and for networks that have none.
    pub phase: usize,
}
