//! One optimiser step: micro-batches, accumulated gradients, clipping, update, snapshot.

use super::{Diverged, Optimizer, StepPlan, SwaSum, TrainError, clip_global_norm};
use crate::data::{Loader, TokenBatch};
use crate::engine::{Engine, FakeQuant, LossAndGradients};
use crate::manifest::{MICRO_BATCHES_PER_STEP, Manifest};
use crate::model::{HostTensor, ModelConfig, Params};

/// What a step gave.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Mean loss over the micro-batches, nats per token.
    pub loss: f32,
    /// Loss of each micro-batch.
    pub micro_losses: Vec<f32>,
    /// Gradient norm before clipping.
    pub gradient_norm: f64,
}

/// Weights, moments and snapshots of a model in training.
pub struct Trainer<'a> {
    engine: &'a dyn Engine,
    model: &'a ModelConfig,
    grad_clip_norm: f64,
    weights: Params,
    optimizer: Optimizer,
    swa: SwaSum,
}

impl<'a> Trainer<'a> {
    /// A model that has taken no step.
    pub fn new(engine: &'a dyn Engine, manifest: &'a Manifest, weights: Params) -> Self {
        let optimizer = Optimizer::new(&manifest.optimizer, &manifest.model);
        Self::restored(engine, manifest, weights, optimizer, SwaSum::default())
    }

    /// A model in the middle of its training.
    pub fn restored(
        engine: &'a dyn Engine,
        manifest: &'a Manifest,
        weights: Params,
        optimizer: Optimizer,
        swa: SwaSum,
    ) -> Self {
        let (model, grad_clip_norm) = (&manifest.model, manifest.optimizer.grad_clip_norm);
        Trainer { engine, model, grad_clip_norm, weights, optimizer, swa }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.optimizer.steps()
    }

    /// Current weights, in state-dict order.
    pub fn weights(&self) -> &Params {
        &self.weights
    }

    /// Moments of every parameter.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// Snapshots so far.
    pub fn swa(&self) -> &SwaSum {
        &self.swa
    }

    /// Checks that no weight is NaN or infinite, so that a saved state can be used.
    pub fn check_finite(&self) -> Result<(), TrainError> {
        let bad = |(_, tensor): (&str, &HostTensor)| tensor.data().iter().copied().find(|value| !value.is_finite());
        match self.weights.iter().find_map(bad) {
            None => Ok(()),
            Some(value) => {
                Err(TrainError::Diverged { what: Diverged::Weights, value: f64::from(value), step: self.steps() })
            }
        }
    }

    /// The final weights: the average of the snapshots where there are several, else the last weights.
    pub fn into_final_weights(self) -> Params {
        self.swa.average().unwrap_or(self.weights)
    }

    /// Takes one step on the next micro-batches of the stream.
    ///
    /// A step is [`MICRO_BATCHES_PER_STEP`] pieces of the stream whatever the recipe's world size: `world` ranks
    /// with `8 / world` micro-batches each read the same eight pieces and average the same eight gradients.
    /// On an error the weights are those of the step before.
    pub fn step(&mut self, plan: &StepPlan, loader: &mut Loader) -> Result<StepReport, TrainError> {
        let step = self.steps() + 1;
        let share = 1.0 / MICRO_BATCHES_PER_STEP as f32;
        let mut micro_losses = Vec::with_capacity(MICRO_BATCHES_PER_STEP as usize);
        let mut total: Option<Params> = None;
        for _ in 0..MICRO_BATCHES_PER_STEP {
            let LossAndGradients { loss, gradients } = self.micro_batch(&loader.next_batch()?, plan.fake_quant)?;
            if !loss.is_finite() {
                return Err(TrainError::Diverged { what: Diverged::Loss, value: f64::from(loss), step });
            }
            micro_losses.push(loss);
            accumulate(&mut total, gradients, share);
        }
        let mut gradients = total.unwrap_or_default();
        let gradient_norm = clip_global_norm(&mut gradients, self.grad_clip_norm);
        if !gradient_norm.is_finite() {
            return Err(TrainError::Diverged { what: Diverged::GradientNorm, value: gradient_norm, step });
        }
        self.optimizer.step(&mut self.weights, &gradients, plan);
        if plan.swa_pick {
            self.swa.add(&self.weights);
        }
        Ok(StepReport { loss: micro_losses.iter().sum::<f32>() * share, micro_losses, gradient_norm })
    }

    fn micro_batch(&self, batch: &TokenBatch, fake_quant: FakeQuant) -> Result<LossAndGradients, TrainError> {
        Ok(self.engine.loss_and_gradients(self.model, &self.weights, batch, fake_quant)?)
    }
}

/// Adds a micro-batch's share: the backward pass is of `loss / 8`, an exact scaling.
fn accumulate(total: &mut Option<Params>, mut gradients: Params, share: f32) {
    let Some(total) = total else {
        gradients.iter_mut().for_each(|(_, tensor)| tensor.data_mut().iter_mut().for_each(|value| *value *= share));
        *total = Some(gradients);
        return;
    };
    for ((_, total), (_, gradient)) in total.iter_mut().zip(gradients.iter()) {
        total.data_mut().iter_mut().zip(gradient.data()).for_each(|(total, gradient)| *total += gradient * share);
    }
}
