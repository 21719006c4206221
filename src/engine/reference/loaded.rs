//! Weights on a device, and what engines do with them.

use dfdx::prelude::*;

use super::activations::{Activations, Probe};
use super::hardware::Hardware;
use super::weights::Weights;
use super::{Matrix, network};
use crate::data::TokenBatch;
use crate::engine::{EngineError, EngineKind, LossAndGradients, Window};
use crate::model::{ModelConfig, Params, add_values};

/// A network ready to run on the device `D`.
pub(super) struct Loaded<D: Hardware> {
    config: ModelConfig,
    weights: Weights<D>,
}

/// Tokens a recorded forward pass handles at once.
///
/// A micro-batch is cut into groups of whole rows of about this many tokens, whatever the number of threads:
/// the groups, and the order their gradients are added in, are part of the result.
const GROUP_TOKENS: usize = 1024;

/// Inputs and targets of a micro-batch, group by group.
pub(super) fn groups(batch: &TokenBatch) -> impl Iterator<Item = (&[u16], &[u16])> {
    let group = (GROUP_TOKENS / batch.seq_len).max(1) * batch.seq_len;
    batch.inputs.chunks(group).zip(batch.targets.chunks(group))
}

/// Loss and gradients of a group of rows.
#[derive(Default)]
pub(super) struct GroupResult {
    /// Sum of negative log-likelihoods, nats.
    pub nll: f64,
    /// In state-dict order.
    pub gradients: Vec<Vec<f32>>,
}

impl GroupResult {
    pub fn add(&mut self, other: GroupResult) {
        self.nll += other.nll;
        if self.gradients.is_empty() {
            self.gradients = other.gradients;
            return;
        }
        for (sum, gradient) in self.gradients.iter_mut().zip(&other.gradients) {
            add_values(sum, gradient);
        }
    }
}

impl<D: Hardware> Loaded<D> {
    /// Copies checked weights to the device.
    pub fn new(dev: &D, config: &ModelConfig, weights: &Params) -> Result<Self, EngineError> {
        Ok(Loaded { config: config.clone(), weights: Weights::new(dev, config, weights)? })
    }

    /// Likelihoods of a window on its own: its length is the only shape its numbers depend on, so neither its
    /// neighbors nor the batch can change them.
    pub fn nll(&self, window: &Window<'_>) -> Vec<f32> {
        let (inputs, targets) = (&window.tokens[..window.tokens.len() - 1], &window.tokens[1..]);
        // The softmax's sums are made on the processor: on a GPU dfdx's are atomic additions, in any order.
        let logits = self.window(inputs).to_device(&Cpu::default());
        let mut nll = network::nll(logits, targets).as_vec();
        nll.split_off(window.first_scored.min(nll.len()))
    }

    /// Softcapped logits of a window, row-major.
    pub fn logits(&self, inputs: &[u16]) -> Vec<f32> {
        self.window(inputs).as_vec()
    }

    fn window(&self, inputs: &[u16]) -> Matrix<D> {
        network::logits(&self.config, &self.weights, inputs, inputs.len(), NoneTape, &mut Probe::none())
    }

    /// Values between the layers.
    pub fn activations(&self, inputs: &[u16], seq_len: usize) -> Activations {
        let mut kept = Activations::default();
        network::logits(&self.config, &self.weights, inputs, seq_len, NoneTape, &mut Probe::into(&mut kept));
        kept
    }

    /// What a group of rows adds to loss and gradients of its micro-batch.
    pub fn differentiate(
        &self,
        inputs: &[u16],
        targets: &[u16],
        batch: &TokenBatch,
    ) -> Result<GroupResult, EngineError> {
        let (seq_len, weight) = (batch.seq_len, 1.0 / batch.inputs.len() as f32);
        let tape = OwnedTape::default();
        let logits = network::logits(&self.config, &self.weights, inputs, seq_len, tape, &mut Probe::none());
        let nll = network::nll(logits, targets);
        let sum = nll.as_vec().into_iter().map(f64::from).sum();
        let mut gradients = (nll * weight).sum::<Rank0, Axis<0>>().try_backward().map_err(backend)?;
        let gradients = self.weights.take_gradients(&mut gradients).map_err(backend)?;
        Ok(GroupResult { nll: sum, gradients })
    }

    /// The sum over the groups of a micro-batch, by name.
    pub fn mean(&self, total: GroupResult, batch: &TokenBatch) -> LossAndGradients {
        let loss = (total.nll / batch.inputs.len() as f64) as f32;
        LossAndGradients { loss, gradients: self.weights.name_gradients(total.gradients) }
    }
}

/// What dfdx said.
pub(super) fn backend(error: impl std::fmt::Display) -> EngineError {
    EngineError::Backend { engine: EngineKind::Dfdx, message: error.to_string() }
}
