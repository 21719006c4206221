//! One optimiser step: micro-batches, accumulated gradients, clipping, update, snapshot.

use rayon::prelude::*;

use super::buckets::sum_over_ranks;
use super::{Diverged, Optimizer, StepPlan, SwaSum, TrainError, clip_global_norm};
use crate::collective::{Collective, Solo, TreeSum, reading_order};
use crate::data::{Loader, TokenBatch};
use crate::digest::ContentDigest;
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
    ranks: &'a dyn Collective,
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
        Trainer { engine, model, grad_clip_norm, ranks: &Solo, weights, optimizer, swa }
    }

    /// Shares each step with other ranks; the loader of [`Self::step`] must be of the same rank and world.
    pub fn across(mut self, ranks: &'a dyn Collective) -> Self {
        self.ranks = ranks;
        self
    }

    /// Replaces weights, moments and snapshots by those of the lead. Tensors are the same everywhere.
    pub(super) fn take_from_lead(&mut self) -> Result<(), TrainError> {
        let ranks = self.ranks;
        if ranks.place().world() == 1 {
            return Ok(());
        }
        let weights = self.weights.iter_mut().map(|(_, tensor)| tensor);
        let snapshots = self.swa.sum_mut().into_iter().flat_map(Params::iter_mut).map(|(_, tensor)| tensor);
        for tensor in weights.chain(self.optimizer.moments_mut()).chain(snapshots) {
            ranks.broadcast(0, tensor.data_mut())?;
        }
        Ok(())
    }

    /// Checks that all ranks hold the same weights: equal steps on unequal processors may drift apart unseen.
    pub(super) fn check_same_everywhere(&self) -> Result<(), TrainError> {
        if self.ranks.place().world() == 1 {
            return Ok(());
        }
        let tensors: Vec<&HostTensor> = self.weights.iter().map(|(_, tensor)| tensor).collect();
        let digests: Vec<_> =
            tensors.par_iter().map(|t| *ContentDigest::of(&t.to_le_bytes()).blake3.as_bytes()).collect();
        let own = ContentDigest::of(&digests.concat());
        let all = self.ranks.all_gather(own.blake3.as_bytes())?;
        match all.iter().position(|other| Some(other) != all.first()) {
            None => Ok(()),
            Some(rank) => Err(TrainError::Drifted { rank, step: self.steps() }),
        }
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
    /// A step is [`MICRO_BATCHES_PER_STEP`] pieces of the stream whatever the number of ranks: `world` ranks with
    /// `8 / world` micro-batches each read the same eight pieces and average the same eight gradients, in the order
    /// of [`TreeSum`], so that every world takes the same step to the bit. On an error the weights are those of the
    /// step before.
    pub fn step(&mut self, plan: &StepPlan, loader: &mut Loader) -> Result<StepReport, TrainError> {
        let step = self.steps() + 1;
        let batches = (0..self.ranks.place().micro_batches()).map(|_| loader.next_batch());
        let batches: Vec<TokenBatch> = batches.collect::<Result<_, _>>()?;
        let (own_losses, gradients) = self.summed_gradients(&batches, plan.fake_quant)?;
        let micro_losses = self.gather_losses(&own_losses)?;
        if let Some(&loss) = micro_losses.iter().find(|loss| !loss.is_finite()) {
            return Err(TrainError::Diverged { what: Diverged::Loss, value: f64::from(loss), step });
        }
        let mut gradients = gradients;
        // The backward pass is of `loss / 8`: an exact scaling, so it may as well come last.
        let share = 1.0 / MICRO_BATCHES_PER_STEP as f32;
        let mut tensors: Vec<&mut [f32]> = gradients.iter_mut().map(|(_, tensor)| tensor.data_mut()).collect();
        tensors.par_iter_mut().for_each(|values| values.iter_mut().for_each(|value| *value *= share));
        let gradient_norm = clip_global_norm(&mut gradients, self.grad_clip_norm);
        if !gradient_norm.is_finite() {
            return Err(TrainError::Diverged { what: Diverged::GradientNorm, value: gradient_norm, step });
        }
        self.optimizer.step_over(&mut self.weights, &gradients, plan, self.ranks)?;
        if plan.swa_pick {
            self.swa.add(&self.weights);
        }
        Ok(StepReport { loss: micro_losses.iter().sum::<f32>() * share, micro_losses, gradient_norm })
    }

    /// Losses of this rank's micro-batches in stream order, and the sum of all ranks' gradients.
    ///
    /// The last additions are made tensor by tensor from the network's end to its beginning, the order in which a
    /// backward pass finishes them, while finished buckets are already being summed over the ranks.
    fn summed_gradients(
        &self,
        batches: &[TokenBatch],
        fake_quant: FakeQuant,
    ) -> Result<(Vec<f32>, Params), TrainError> {
        let mut losses = vec![0.0; batches.len()];
        let mut sum = TreeSum::default();
        let mut last = Params::default();
        let order = reading_order(batches.len());
        for (count, index) in order.iter().enumerate() {
            let Some(batch) = batches.get(*index) else { continue };
            let LossAndGradients { loss, gradients } = self.micro_batch(batch, fake_quant)?;
            losses[*index] = loss;
            match count + 1 == order.len() {
                true => last = gradients,
                false => sum.push(gradients, add),
            }
        }
        let shapes: Vec<(String, Vec<usize>)> =
            last.iter().rev().map(|(name, tensor)| (name.to_string(), tensor.shape().to_vec())).collect();
        let mut before: Vec<_> =
            sum.before_last().into_iter().map(|sum| sum.into_entries().into_iter().rev()).collect();
        let ready = last.into_entries().into_iter().rev().map(|(_, last)| {
            let mut total = last.into_data();
            for partial in &mut before {
                let Some((_, partial)) = partial.next() else { continue };
                let mut partial = partial.into_data();
                add_values(&mut partial, &total);
                total = partial;
            }
            total
        });
        let summed = sum_over_ranks(self.ranks, ready)?;
        let mut entries: Vec<(String, HostTensor)> = shapes
            .into_iter()
            .zip(summed)
            .filter_map(|((name, shape), values)| Some((name, HostTensor::new(shape, values)?)))
            .collect();
        entries.reverse();
        Ok((losses, Params::from_entries(entries)))
    }

    /// All ranks' losses in stream order: the `m`-th micro-batch of rank `r` is piece `m * world + r`.
    fn gather_losses(&self, own: &[f32]) -> Result<Vec<f32>, TrainError> {
        let message: Vec<u8> = own.iter().flat_map(|loss| loss.to_le_bytes()).collect();
        let gathered: Vec<Vec<f32>> = self.ranks.all_gather(&message)?.iter().map(|message| floats(message)).collect();
        let piece = |m: usize| gathered.iter().map(move |losses| losses.get(m).copied().unwrap_or(f32::NAN));
        Ok((0..own.len()).flat_map(piece).collect())
    }

    fn micro_batch(&self, batch: &TokenBatch, fake_quant: FakeQuant) -> Result<LossAndGradients, TrainError> {
        Ok(self.engine.loss_and_gradients(self.model, &self.weights, batch, fake_quant)?)
    }
}

/// The f32 of a message.
fn floats(message: &[u8]) -> Vec<f32> {
    message.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// `sum += other`, tensor by tensor.
fn add(sum: &mut Params, other: Params) {
    let mut pairs: Vec<_> =
        sum.iter_mut().zip(other.iter()).map(|((_, sum), (_, other))| (sum.data_mut(), other.data())).collect();
    pairs.par_iter_mut().for_each(|(sum, other)| add_values(sum, other));
}

fn add_values(sum: &mut [f32], other: &[f32]) {
    sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
}
