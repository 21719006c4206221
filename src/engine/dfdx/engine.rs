//! The engine's two duties: scoring windows and differentiating micro-batches.

use ::dfdx::prelude::*;
use rayon::prelude::*;

use super::activations::{Activations, Probe};
use super::network;
use super::weights::Weights;
use crate::data::TokenBatch;
use crate::engine::{Engine, EngineError, EngineKind, FakeQuant, LossAndGradients, Scorer, Window, check};
use crate::model::{ModelConfig, Params};

/// Tokens a recorded forward pass handles at once.
///
/// A micro-batch is cut into groups of whole rows of about this many tokens, whatever the number of threads:
/// the groups, and the order their gradients are added in, are part of the result.
const GROUP_TOKENS: usize = 1024;

/// The dfdx engine on the CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct DfdxEngine;

impl DfdxEngine {
    /// Values between the layers for whole rows of `seq_len` inputs: where two implementations part is seen here.
    pub fn activations(
        &self,
        config: &ModelConfig,
        weights: &Params,
        batch: &TokenBatch,
    ) -> Result<Activations, EngineError> {
        check::model(config, weights)?;
        check::batch(config, batch)?;
        let weights = Weights::new(config, weights)?;
        let mut kept = Activations::default();
        network::logits(config, &weights, &batch.inputs, batch.seq_len, NoneTape, &mut Probe::into(&mut kept));
        Ok(kept)
    }
}

impl Engine for DfdxEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Dfdx
    }

    fn scorer(&self, config: &ModelConfig, weights: &Params) -> Result<Box<dyn Scorer>, EngineError> {
        check::model(config, weights)?;
        Ok(Box::new(DfdxScorer { config: config.clone(), weights: Weights::new(config, weights)? }))
    }

    fn loss_and_gradients(
        &self,
        config: &ModelConfig,
        weights: &Params,
        batch: &TokenBatch,
        fake_quant: FakeQuant,
    ) -> Result<LossAndGradients, EngineError> {
        check::model(config, weights)?;
        check::batch(config, batch)?;
        let weights = Weights::new(config, &fake_quant.applied(weights))?;
        let group = (GROUP_TOKENS / batch.seq_len).max(1) * batch.seq_len;
        let groups: Vec<_> = batch.inputs.chunks(group).zip(batch.targets.chunks(group)).collect();
        let weight = 1.0 / batch.inputs.len() as f32;

        let mut total = GroupResult::default();
        // As many groups at a time as there are threads, so that no more gradients exist than are being made.
        for wave in groups.chunks(rayon::current_num_threads()) {
            let run = |&(inputs, targets): &(&[u16], &[u16])| {
                differentiate(config, &weights, inputs, targets, batch.seq_len, weight)
            };
            for result in wave.par_iter().map(run).collect::<Vec<_>>() {
                total.add(result.map_err(backend)?);
            }
        }
        let loss = (total.nll / batch.inputs.len() as f64) as f32;
        Ok(LossAndGradients { loss, gradients: weights.name_gradients(total.gradients) })
    }
}

/// Loss and gradients of a group of rows.
#[derive(Default)]
struct GroupResult {
    /// Sum of negative log-likelihoods, nats.
    nll: f64,
    gradients: Vec<Vec<f32>>,
}

impl GroupResult {
    fn add(&mut self, other: GroupResult) {
        self.nll += other.nll;
        if self.gradients.is_empty() {
            self.gradients = other.gradients;
            return;
        }
        for (sum, gradient) in self.gradients.iter_mut().zip(&other.gradients) {
            sum.iter_mut().zip(gradient).for_each(|(sum, gradient)| *sum += gradient);
        }
    }
}

/// Gradients of `weight` times the summed negative log-likelihood of some rows.
fn differentiate(
    config: &ModelConfig,
    weights: &Weights,
    inputs: &[u16],
    targets: &[u16],
    seq_len: usize,
    weight: f32,
) -> Result<GroupResult, CpuError> {
    let tape = OwnedTape::default();
    let logits = network::logits(config, weights, inputs, seq_len, tape, &mut Probe::none());
    let nll = network::nll(logits, targets);
    let sum = nll.as_vec().into_iter().map(f64::from).sum();
    let mut gradients = (nll * weight).sum::<Rank0, Axis<0>>().try_backward()?;
    weights.take_gradients(&mut gradients).map(|gradients| GroupResult { nll: sum, gradients })
}

/// Weights ready to score with.
struct DfdxScorer {
    config: ModelConfig,
    weights: Weights,
}

impl DfdxScorer {
    /// A window on its own: its length is the only shape its numbers depend on, so neither its neighbours nor
    /// the batch can change them.
    fn window(&self, window: &Window<'_>) -> Vec<f32> {
        let (inputs, targets) = (&window.tokens[..window.tokens.len() - 1], &window.tokens[1..]);
        let logits = network::logits(&self.config, &self.weights, inputs, inputs.len(), NoneTape, &mut Probe::none());
        let mut nll = network::nll(logits, targets).as_vec();
        nll.split_off(window.first_scored.min(nll.len()))
    }
}

impl Scorer for DfdxScorer {
    fn nll(&self, windows: &[Window<'_>]) -> Result<Vec<Vec<f32>>, EngineError> {
        windows.iter().try_for_each(|window| check::window(&self.config, window))?;
        Ok(windows.par_iter().map(|window| self.window(window)).collect())
    }

    fn logits(&self, inputs: &[u16]) -> Result<Vec<f32>, EngineError> {
        if inputs.is_empty() {
            return Err(EngineError::Window { tokens: 0 });
        }
        check::tokens(&self.config, inputs)?;
        Ok(network::logits(&self.config, &self.weights, inputs, inputs.len(), NoneTape, &mut Probe::none()).as_vec())
    }
}

fn backend(error: CpuError) -> EngineError {
    EngineError::Backend { engine: EngineKind::Dfdx, message: error.to_string() }
}
