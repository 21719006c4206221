//! One optimizer step: micro-batches, accumulated gradients, clipping, update, snapshot.

use std::borrow::Cow;

use rayon::prelude::*;

use super::buckets::sum_over_ranks;
use super::{Diverged, TrainError, resident_step};
use crate::collective::{Collective, CollectiveError, Solo, TreeSum, reading_order};
use crate::data::{Loader, TokenBatch};
use crate::digest::ContentDigest;
use crate::engine::{DeviceTrainer, Engine, LossAndGradients, TrainerState, TrainerStep};
use crate::manifest::{MICRO_BATCHES_PER_STEP, Manifest};
use crate::model::{HostTensor, ModelConfig, Params, add_values};
use crate::optim::{MatrixShare, Optimizer, StepPlan, SwaSum, clip_global_norm, move_average};

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
    /// Decay of the moving average, if there is one.
    ema_decay: Option<f64>,
    ranks: &'a dyn Collective,
    /// The model, or a copy of it.
    host: TrainerState,
    residence: Residence<'a>,
}

/// Where a model in training is.
enum Residence<'a> {
    /// On the host until the first step, when the engine may take it.
    Unasked,
    /// On the host.
    Host,
    /// Where the engine runs; the host's copy may be of an earlier step.
    Engine { resident: Box<dyn DeviceTrainer + 'a>, is_copied: bool },
}

impl<'a> Trainer<'a> {
    /// A model that has taken no step.
    pub fn new(engine: &'a dyn Engine, manifest: &'a Manifest, weights: Params) -> Self {
        let optimizer = Optimizer::new(&manifest.optimizer, &manifest.model);
        let ema = manifest.schedule.ema.as_ref().map(|_| weights.clone());
        Self::restored(engine, manifest, TrainerState { weights, optimizer, swa: SwaSum::default(), ema })
    }

    /// A model in the middle of its training.
    pub fn restored(engine: &'a dyn Engine, manifest: &'a Manifest, host: TrainerState) -> Self {
        let (model, grad_clip_norm) = (&manifest.model, manifest.optimizer.grad_clip_norm);
        let ema_decay = manifest.schedule.ema.as_ref().map(|ema| ema.decay);
        // What an engine that keeps the model does not know of is done here, with its gradients.
        let is_special = ema_decay.is_some() || manifest.optimizer.muon.row_normalize;
        let residence = if is_special { Residence::Host } else { Residence::Unasked };
        Trainer { engine, model, grad_clip_norm, ema_decay, ranks: &Solo, host, residence }
    }

    /// Shares each step with other ranks; the loader of [`Self::step`] must be of the same rank and world.
    pub fn across(mut self, ranks: &'a dyn Collective) -> Self {
        self.ranks = ranks;
        self
    }

    /// Replaces weights, moments and snapshots by those of rank 0, before the first step. Tensors are the same
    /// everywhere.
    pub(super) fn copy_from_rank_zero(&mut self) -> Result<(), TrainError> {
        let ranks = self.ranks;
        if ranks.rank().world_size() == 1 {
            return Ok(());
        }
        let host = &mut self.host;
        let weights = host.weights.iter_mut().map(|(_, tensor)| tensor);
        let averages = host.swa.sum_mut().into_iter().chain(&mut host.ema);
        let averages = averages.flat_map(Params::iter_mut).map(|(_, tensor)| tensor);
        for tensor in weights.chain(host.optimizer.moments_mut()).chain(averages) {
            ranks.broadcast(0, tensor.data_mut())?;
        }
        Ok(())
    }

    /// Checks that all ranks hold the same weights: equal steps on unequal processors may drift apart unseen.
    pub(super) fn check_same_everywhere(&mut self) -> Result<(), TrainError> {
        if self.ranks.rank().world_size() == 1 {
            return Ok(());
        }
        let tensors: Vec<&HostTensor> = self.weights()?.iter().map(|(_, tensor)| tensor).collect();
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
        match &self.residence {
            Residence::Engine { resident, .. } => resident.steps(),
            _ => self.host.optimizer.steps(),
        }
    }

    /// Snapshots so far.
    pub fn snapshots(&self) -> u64 {
        match &self.residence {
            Residence::Engine { resident, .. } => resident.snapshots(),
            _ => self.host.swa.count(),
        }
    }

    /// Current weights, moments and snapshots, copied from where the engine runs.
    pub fn state(&mut self) -> Result<&TrainerState, TrainError> {
        if let Residence::Engine { resident, is_copied: is_copied @ false } = &mut self.residence {
            self.host = resident.state()?;
            *is_copied = true;
        }
        Ok(&self.host)
    }

    /// Current weights, in state-dict order.
    pub fn weights(&mut self) -> Result<&Params, TrainError> {
        Ok(&self.state()?.weights)
    }

    /// Checks that no weight is NaN or infinite, so that a saved state can be used.
    pub fn check_finite(&mut self) -> Result<(), TrainError> {
        let bad = |(_, tensor): (&str, &HostTensor)| tensor.data().iter().copied().find(|value| !value.is_finite());
        let step = self.steps();
        match self.weights()?.iter().find_map(bad) {
            None => Ok(()),
            Some(value) => Err(TrainError::Diverged { what: Diverged::Weights, value: f64::from(value), step }),
        }
    }

    /// The final weights: the moving average if there is one, the average of the snapshots where there are several, else
    /// the last weights.
    pub fn into_final_weights(mut self) -> Result<Params, TrainError> {
        self.state()?;
        let TrainerState { weights, swa, ema, .. } = self.host;
        Ok(ema.or_else(|| swa.average()).unwrap_or(weights))
    }

    /// Takes one step on the next micro-batches of the stream.
    ///
    /// A step is [`MICRO_BATCHES_PER_STEP`] pieces of the stream whatever the number of ranks: `world` ranks with
    /// `8 / world` micro-batches each read the same eight pieces and average the same eight gradients, in the order
    /// of [`TreeSum`], so that every world takes the same step to the bit. On an error the weights are those of the
    /// step before.
    pub fn step(&mut self, plan: &StepPlan, loader: &mut Loader) -> Result<StepReport, TrainError> {
        let batches = (0..self.ranks.rank().micro_batches()).map(|_| loader.next_batch());
        let batches: Vec<TokenBatch> = batches.collect::<Result<_, _>>()?;
        self.step_on(plan, &batches)
    }

    /// [`Self::step`] on micro-batches of any origin, of this rank.
    pub fn step_on(&mut self, plan: &StepPlan, batches: &[TokenBatch]) -> Result<StepReport, TrainError> {
        let step = self.steps() + 1;
        if matches!(self.residence, Residence::Unasked) {
            let TrainerState { weights, optimizer, swa, .. } = &self.host;
            self.residence = match self.engine.device_trainer(self.model, weights, optimizer, swa, self.ranks)? {
                None => Residence::Host,
                Some(resident) => Residence::Engine { resident, is_copied: true },
            };
        }
        // The backward pass is of `loss / 8`: an exact scaling, so it may as well come last.
        let share = 1.0 / MICRO_BATCHES_PER_STEP as f32;
        let ranks = self.ranks;
        let (micro_losses, gradient_norm) = match &mut self.residence {
            Residence::Engine { resident, is_copied } => {
                *is_copied = false;
                let found = resident_step::take(&mut **resident, batches, plan, share)?;
                let TrainerStep { losses, gradient_norm } = found;
                // Where these are no finite numbers the engine has updated nothing.
                let losses = gather_losses(ranks, &losses)?;
                check_losses(&losses, step)?;
                check_norm(gradient_norm, step)?;
                (losses, gradient_norm)
            }
            _ => self.host_step(plan, batches, share)?,
        };
        Ok(StepReport { loss: micro_losses.iter().sum::<f32>() * share, micro_losses, gradient_norm })
    }

    /// A step by the engine's gradients and the host's optimizer: losses of all ranks, norm.
    fn host_step(
        &mut self,
        plan: &StepPlan,
        batches: &[TokenBatch],
        share: f32,
    ) -> Result<(Vec<f32>, f64), TrainError> {
        let step = self.steps() + 1;
        let (own_losses, mut gradients) = self.summed_gradients(batches, plan)?;
        let micro_losses = gather_losses(self.ranks, &own_losses)?;
        check_losses(&micro_losses, step)?;
        let mut tensors: Vec<&mut [f32]> = gradients.iter_mut().map(|(_, tensor)| tensor.data_mut()).collect();
        tensors.par_iter_mut().for_each(|values| values.iter_mut().for_each(|value| *value *= share));
        let gradient_norm = clip_global_norm(&mut gradients, self.grad_clip_norm);
        check_norm(gradient_norm, step)?;
        let TrainerState { weights, optimizer, swa, ema } = &mut self.host;
        let rank = self.ranks.rank();
        let share = MatrixShare { rank: rank.index(), of: rank.world_size() };
        let broadcast = |root, values: &mut [f32]| self.ranks.broadcast(root, values);
        optimizer.step_over(weights, &gradients, plan, share, broadcast)?;
        if plan.swa_pick {
            swa.add(weights);
        }
        if let (Some(average), Some(decay)) = (ema, self.ema_decay) {
            move_average(average, weights, decay);
        }
        Ok((micro_losses, gradient_norm))
    }

    /// Losses of this rank's micro-batches in stream order, and the sum of all ranks' gradients.
    ///
    /// The last additions are made tensor by tensor from the network's end to its beginning, the order in which a
    /// backward pass finishes them, while finished buckets are already being summed over the ranks.
    fn summed_gradients(&self, batches: &[TokenBatch], plan: &StepPlan) -> Result<(Vec<f32>, Params), TrainError> {
        // Without repetitions every phase is the same network.
        let model = &match &self.model.recurrence {
            None => Cow::Borrowed(self.model),
            Some(_) => Cow::Owned(self.model.clone().in_phase(plan.phase)),
        };
        let mut losses = vec![0.0; batches.len()];
        let mut sum = TreeSum::default();
        let mut last = Params::default();
        let order = reading_order(batches.len());
        for (count, index) in order.iter().enumerate() {
            let Some(batch) = batches.get(*index) else { continue };
            let LossAndGradients { loss, gradients } =
                self.engine.loss_and_gradients(model, &self.host.weights, batch, plan.fake_quant)?;
            losses[*index] = loss;
            match count + 1 == order.len() {
                true => last = gradients,
                false => sum.push(gradients, |sum: &mut Params, other| sum.add_assign(&other)),
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
}

/// All ranks' losses in stream order: the `m`-th micro-batch of rank `r` is piece `m * world + r`. All have as many.
fn gather_losses(ranks: &dyn Collective, own: &[f32]) -> Result<Vec<f32>, CollectiveError> {
    let message: Vec<u8> = own.iter().flat_map(|loss| loss.to_le_bytes()).collect();
    let gathered = ranks.all_gather(&message)?;
    if let Some((rank, short)) = gathered.iter().enumerate().find(|(_, other)| other.len() != message.len()) {
        let (found, expected) = (short.len() / size_of::<f32>(), own.len());
        return Err(CollectiveError::Length { rank, found, expected });
    }
    let gathered: Vec<Vec<f32>> = gathered.iter().map(|message| floats(message)).collect();
    Ok((0..own.len()).flat_map(|m| gathered.iter().filter_map(move |losses| losses.get(m).copied())).collect())
}

fn check_losses(losses: &[f32], step: u64) -> Result<(), TrainError> {
    match losses.iter().find(|loss| !loss.is_finite()) {
        None => Ok(()),
        Some(&loss) => Err(TrainError::Diverged { what: Diverged::Loss, value: f64::from(loss), step }),
    }
}

fn check_norm(value: f64, step: u64) -> Result<(), TrainError> {
    match value.is_finite() {
        true => Ok(()),
        false => Err(TrainError::Diverged { what: Diverged::GradientNorm, value, step }),
    }
}

/// The f32 of a message.
fn floats(message: &[u8]) -> Vec<f32> {
    message.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::in_process;

    #[test]
    fn losses_of_all_ranks_come_in_stream_order_and_none_may_be_missing() {
        let gather = |own: [&[f32]; 2]| {
            std::thread::scope(|scope| {
                let ranks = in_process(2).unwrap().into_iter().zip(own);
                let threads: Vec<_> = ranks.map(|(rank, own)| scope.spawn(move || gather_losses(&rank, own))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            })
        };
        for found in gather([&[1.0, 3.0], &[2.0, 4.0]]) {
            assert_eq!(found.unwrap(), [1.0, 2.0, 3.0, 4.0]);
        }
        let [first, second] = gather([&[1.0, 3.0], &[2.0]]).try_into().unwrap();
        assert_eq!(first.unwrap_err().to_string(), "rank 1 sent 1 values where 2 are needed");
        assert_eq!(second.unwrap_err().to_string(), "rank 0 sent 2 values where 1 are needed");
    }
}
