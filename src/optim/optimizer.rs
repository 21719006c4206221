//! The optimizer of the whole model: a group for each role, moments for each parameter.

use rayon::prelude::*;

use super::{AdamStep, Group, Method, MuonStep, StepPlan};
use crate::manifest::OptimizerConfig;
use crate::model::{HostTensor, LayoutMismatch, ModelConfig, ParamSpec, Params, layout};

/// What an optimizer remembers about one parameter.
#[derive(Clone, Debug, PartialEq)]
enum Moments {
    /// First and second moment of the gradient.
    AdamW { first: HostTensor, second: HostTensor },
    /// Momentum buffer, rows, columns.
    Muon { buffer: HostTensor, sides: (usize, usize) },
}

#[derive(Clone, Debug, PartialEq)]
struct Slot {
    name: String,
    group: Group,
    moments: Moments,
}

/// The matrices one rank of several orthogonalizes: every `of`-th, from `rank` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixShare {
    /// Which rank, counted from 0.
    pub rank: usize,
    /// How many ranks there are.
    pub of: usize,
}

impl MatrixShare {
    /// All matrices.
    pub const ALL: MatrixShare = MatrixShare { rank: 0, of: 1 };

    /// Whether the matrix of that index, in state-dict order, is in the share.
    fn has(self, index: usize) -> bool {
        index % self.of == self.rank
    }
}

/// Every parameter's group and moments, in state-dict order.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    config: OptimizerConfig,
    slots: Vec<Slot>,
    steps: u64,
}

/// Prefixes of the moments' names in [`Optimizer::moments`].
pub(crate) const FIRST_MOMENT: &str = "adam_first/";
pub(crate) const SECOND_MOMENT: &str = "adam_second/";
pub(crate) const MOMENTUM_BUFFER: &str = "muon_buffer/";

impl Optimizer {
    /// An optimizer that has taken no step: all moments zero.
    pub fn new(config: &OptimizerConfig, model: &ModelConfig) -> Self {
        let slot = |ParamSpec { name, shape, role }: ParamSpec| {
            let group = Group::of(role, config, model.tie_embeddings);
            let moments = match (group.method, &shape[..]) {
                (Method::Muon, &[rows, columns]) => {
                    Moments::Muon { buffer: HostTensor::zeros(&shape), sides: (rows, columns) }
                }
                // Muon is for matrices; the layout gives it nothing else.
                _ => Moments::AdamW { first: HostTensor::zeros(&shape), second: HostTensor::zeros(&shape) },
            };
            Slot { name, group, moments }
        };
        Optimizer { config: config.clone(), slots: layout(model).into_iter().map(slot).collect(), steps: 0 }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The recipe it follows.
    pub fn config(&self) -> &OptimizerConfig {
        &self.config
    }

    /// Updates all weights. A parameter absent from `gradients` has no gradient.
    ///
    /// Parameters are independent of one another, so they are updated in parallel; the bits do not depend on the
    /// number of threads.
    pub fn step(&mut self, weights: &mut Params, gradients: &Params, plan: &StepPlan) {
        let updates = self.muon_updates(gradients, plan, MatrixShare::ALL);
        self.apply(weights, gradients, plan, &updates);
    }

    /// [`Self::step`] with the orthogonalization divided among ranks: rank `r` of `W` does every `W`-th matrix, as
    /// the script does, and gets the others' finished updates from them. All ranks bring the same gradients, and
    /// all end with the same bits as one rank alone.
    ///
    /// `broadcast` replaces values by those of a rank, on all ranks. Weights are untouched when it fails; the moments
    /// are then of no further use.
    pub fn step_over<E>(
        &mut self,
        weights: &mut Params,
        gradients: &Params,
        plan: &StepPlan,
        share: MatrixShare,
        mut broadcast: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut updates = self.muon_updates(gradients, plan, share);
        for root in 0..share.of {
            let from_root = MatrixShare { rank: root, of: share.of };
            self.share_updates(&mut updates, from_root, |values| broadcast(root, values))?;
        }
        self.apply(weights, gradients, plan, &updates);
        Ok(())
    }

    /// Moves all momentum buffers on, so that every rank has all of them, and orthogonalizes the matrices of one
    /// share. An update for each matrix in order: empty where it is another rank's, `None` without a gradient.
    fn muon_updates(&mut self, gradients: &Params, plan: &StepPlan, share: MatrixShare) -> Vec<Option<Vec<f32>>> {
        self.steps += 1;
        let config = &self.config.muon;
        let matrices = self.slots.iter_mut().filter_map(|slot| match &mut slot.moments {
            Moments::Muon { buffer, sides } => Some((&slot.name, &slot.group, buffer, *sides)),
            Moments::AdamW { .. } => None,
        });
        let mut matrices: Vec<_> = matrices.enumerate().collect();
        let update = |(index, (name, group, buffer, sides)): &mut (usize, (&String, &Group, &mut HostTensor, _))| {
            let gradient = gradients.get(name).map(HostTensor::data)?;
            let step = MuonStep::new(config, group.learning_rate * plan.lr_multiplier, plan.muon_momentum);
            let direction = step.momentum(buffer.data_mut(), gradient);
            Some(if share.has(*index) { step.update(&direction, *sides) } else { Vec::new() })
        };
        matrices.par_iter_mut().map(update).collect()
    }

    /// Gets the updates of one rank's matrices from it, in one piece.
    fn share_updates<E>(
        &self,
        updates: &mut [Option<Vec<f32>>],
        root: MatrixShare,
        broadcast: impl FnOnce(&mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let sizes: Vec<usize> = self
            .slots
            .iter()
            .filter_map(|slot| if let Moments::Muon { buffer, .. } = &slot.moments { Some(buffer.len()) } else { None })
            .collect();
        let mut flat = Vec::new();
        for (index, (update, size)) in updates.iter().zip(&sizes).enumerate() {
            match update {
                Some(update) if root.has(index) && update.is_empty() => flat.resize(flat.len() + size, 0.0),
                Some(update) if root.has(index) => flat.extend_from_slice(update),
                _ => {}
            }
        }
        broadcast(&mut flat)?;
        let mut rest = &flat[..];
        for (index, (update, size)) in updates.iter_mut().zip(&sizes).enumerate() {
            if let (true, Some(update)) = (root.has(index), update) {
                let (own, others) = rest.split_at(*size);
                *update = own.to_vec();
                rest = others;
            }
        }
        Ok(())
    }

    /// Updates all weights, Muon's with finished updates in matrix order.
    fn apply(&mut self, weights: &mut Params, gradients: &Params, plan: &StepPlan, updates: &[Option<Vec<f32>>]) {
        let (count, config) = (self.steps, &self.config);
        let mut updates = updates.iter();
        let mut work: Vec<_> = Vec::with_capacity(self.slots.len());
        for ((_, weight), slot) in weights.iter_mut().zip(&mut self.slots) {
            let source = match slot.moments {
                Moments::Muon { .. } => updates.next().and_then(Option::as_deref),
                Moments::AdamW { .. } => gradients.get(&slot.name).map(HostTensor::data),
            };
            work.push((weight.data_mut(), slot, source));
        }
        work.par_iter_mut().for_each(|(weight, slot, source)| {
            let rate = slot.group.learning_rate * plan.lr_multiplier;
            match &mut slot.moments {
                Moments::AdamW { first, second } => AdamStep::new(&config.adam, rate, slot.group.weight_decay, count)
                    .apply(weight, first.data_mut(), second.data_mut(), *source),
                Moments::Muon { .. } => {
                    MuonStep::new(&config.muon, rate, plan.muon_momentum).descend(weight, *source);
                }
            }
        });
    }

    /// A fresh optimizer that will be given the moments of one with so many steps behind it.
    pub(crate) fn after(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// All moments in the order of [`Self::moments`], for getting them from another rank.
    pub(crate) fn moments_mut(&mut self) -> impl Iterator<Item = &mut HostTensor> {
        self.slots.iter_mut().flat_map(|slot| match &mut slot.moments {
            Moments::AdamW { first, second } => vec![first, second],
            Moments::Muon { buffer, .. } => vec![buffer],
        })
    }

    /// All moments by name, for the training state.
    pub fn moments(&self) -> impl Iterator<Item = (String, &HostTensor)> {
        self.slots.iter().flat_map(|slot| match &slot.moments {
            Moments::AdamW { first, second } => {
                vec![(format!("{FIRST_MOMENT}{}", slot.name), first), (format!("{SECOND_MOMENT}{}", slot.name), second)]
            }
            Moments::Muon { buffer, .. } => vec![(format!("{MOMENTUM_BUFFER}{}", slot.name), buffer)],
        })
    }

    /// Puts back moments and step count; `take` hands out tensors by the names of [`Self::moments`].
    pub fn restore(
        &mut self,
        steps: u64,
        mut take: impl FnMut(&str) -> Option<HostTensor>,
    ) -> Result<(), LayoutMismatch> {
        let mut put = |name: String, place: &mut HostTensor| {
            let expected = place.shape().to_vec();
            match take(&name) {
                None => Err(LayoutMismatch::Missing { name, expected }),
                Some(tensor) if tensor.shape() != expected => {
                    Err(LayoutMismatch::Shape { name, found: tensor.shape().to_vec(), expected })
                }
                Some(tensor) => {
                    *place = tensor;
                    Ok(())
                }
            }
        };
        for slot in &mut self.slots {
            match &mut slot.moments {
                Moments::AdamW { first, second } => {
                    put(format!("{FIRST_MOMENT}{}", slot.name), first)?;
                    put(format!("{SECOND_MOMENT}{}", slot.name), second)?;
                }
                Moments::Muon { buffer, .. } => put(format!("{MOMENTUM_BUFFER}{}", slot.name), buffer)?,
            }
        }
        self.steps = steps;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::FakeQuant;

    const PLAN: StepPlan =
        StepPlan { lr_multiplier: 0.5, muon_momentum: 0.9, fake_quant: FakeQuant::Off, swa_pick: false, phase: 0 };

    fn tiny() -> ModelConfig {
        ModelConfig {
            vocab_size: 8,
            num_layers: 2,
            model_dim: 8,
            num_heads: 2,
            num_kv_heads: 1,
            bigram_vocab_size: 4,
            bigram_dim: 4,
            tie_embeddings: false,
            ..ModelConfig::default()
        }
    }

    /// Values that differ from one element to the next.
    fn filled(model: &ModelConfig, scale: f32) -> Params {
        let mut params = Params::zeros(model);
        let mut i = 0u32;
        for (_, tensor) in params.iter_mut() {
            for value in tensor.data_mut() {
                i += 1;
                *value = ((i * 37 % 101) as f32 / 50.0 - 1.0) * scale;
            }
        }
        params
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let model = tiny();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut weights = filled(&model, 0.3);
                let mut optimizer = Optimizer::new(&OptimizerConfig::default(), &model);
                for step in 1..4 {
                    optimizer.step(&mut weights, &filled(&model, 0.1 * step as f32), &PLAN);
                }
                (weights, optimizer)
            })
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn shares_hold_every_matrix_once() {
        let share = |rank| MatrixShare { rank, of: 4 };
        let held: usize = (0..4).map(|rank| (0..61).filter(|&index| share(rank).has(index)).count()).sum();
        assert_eq!(held, 61);
        assert!((0..61).all(|index| (0..4).any(|rank| share(rank).has(index))));
    }

    #[test]
    fn moments_survive_a_round_trip() {
        let model = tiny();
        let (mut weights, gradients) = (filled(&model, 0.3), filled(&model, 0.1));
        let mut optimizer = Optimizer::new(&OptimizerConfig::default(), &model);
        optimizer.step(&mut weights, &gradients, &PLAN);
        let saved: std::collections::BTreeMap<String, HostTensor> =
            optimizer.moments().map(|(name, tensor)| (name, tensor.clone())).collect();
        let mut restored = Optimizer::new(&OptimizerConfig::default(), &model);
        restored.restore(1, |name| saved.get(name).cloned()).unwrap();
        assert_eq!(restored, optimizer);
        assert!(restored.restore(1, |_| None).is_err());
    }

    #[test]
    fn an_untied_head_has_no_decay() {
        let model = tiny();
        let mut weights = filled(&model, 0.3);
        let before = weights.clone();
        let mut optimizer = Optimizer::new(&OptimizerConfig::default(), &model);
        optimizer.step(&mut weights, &Params::zeros(&model), &PLAN);
        assert_eq!(weights.get("lm_head.weight"), before.get("lm_head.weight"));
        assert_ne!(weights.get("tok_emb.weight"), before.get("tok_emb.weight"));
    }
}
