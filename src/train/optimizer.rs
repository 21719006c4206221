//! The optimiser of the whole model: a group for each role, moments for each parameter.

use rayon::prelude::*;

use super::{AdamStep, Group, Method, MuonStep, STEP_ORDER, StepPlan};
use crate::manifest::OptimizerConfig;
use crate::model::{HostTensor, LayoutMismatch, ModelConfig, ParamRole, ParamSpec, Params, layout};

/// What an optimiser remembers about one parameter.
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
    role: ParamRole,
    group: Group,
    moments: Moments,
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
    /// An optimiser that has taken no step: all moments zero.
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
            Slot { name, role, group, moments }
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
    /// Parameters are independent of one another, so they are updated in parallel within a role; the bits
    /// do not depend on the number of threads.
    pub fn step(&mut self, weights: &mut Params, gradients: &Params, plan: &StepPlan) {
        self.steps += 1;
        let (count, config) = (self.steps, &self.config);
        for role in STEP_ORDER {
            let mut work: Vec<_> = weights
                .iter_mut()
                .zip(&mut self.slots)
                .filter(|(_, slot)| slot.role == role)
                .map(|((_, weight), slot)| {
                    let gradient = gradients.get(&slot.name).map(HostTensor::data);
                    (weight.data_mut(), slot, gradient)
                })
                .collect();
            work.par_iter_mut().for_each(|(weight, slot, gradient)| {
                let rate = slot.group.learning_rate * plan.lr_multiplier;
                match &mut slot.moments {
                    Moments::AdamW { first, second } => AdamStep::new(
                        &config.adam,
                        rate,
                        slot.group.weight_decay,
                        count,
                    )
                    .apply(weight, first.data_mut(), second.data_mut(), *gradient),
                    Moments::Muon { buffer, sides } => MuonStep::new(&config.muon, rate, plan.muon_momentum).apply(
                        weight,
                        buffer.data_mut(),
                        *gradient,
                        *sides,
                    ),
                }
            });
        }
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
    use crate::engine::FakeQuant;

    const PLAN: StepPlan =
        StepPlan { lr_multiplier: 0.5, muon_momentum: 0.9, fake_quant: FakeQuant::Off, swa_pick: false };

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
