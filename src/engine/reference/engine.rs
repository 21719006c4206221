//! The engine on the processor: windows and groups of rows side by side on its threads.

use ::dfdx::prelude::Cpu;
use rayon::prelude::*;

use super::activations::Activations;
use super::loaded::{GroupResult, Loaded, groups};
use crate::data::TokenBatch;
use crate::engine::{Engine, EngineError, EngineKind, LossAndGradients, Scorer, Window, check};
use crate::model::{ModelConfig, Params};
use crate::optim::FakeQuant;

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
        check::training(config, weights, batch)?;
        Ok(Loaded::new(&Cpu::default(), config, weights)?.activations(&batch.inputs, batch.seq_len))
    }
}

impl Engine for DfdxEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Dfdx
    }

    fn scorer(&self, config: &ModelConfig, weights: &Params) -> Result<Box<dyn Scorer>, EngineError> {
        check::model(config, weights)?;
        let loaded = Loaded::new(&Cpu::default(), config, weights)?;
        Ok(Box::new(DfdxScorer { config: config.clone(), loaded }))
    }

    fn loss_and_gradients(
        &self,
        config: &ModelConfig,
        weights: &Params,
        batch: &TokenBatch,
        fake_quant: FakeQuant,
    ) -> Result<LossAndGradients, EngineError> {
        check::training(config, weights, batch)?;
        let loaded = Loaded::new(&Cpu::default(), config, &fake_quant.applied(weights))?;
        let groups: Vec<_> = groups(batch).collect();
        let mut total = GroupResult::default();
        // As many groups at a time as there are threads, so that no more gradients exist than are being made.
        for wave in groups.chunks(rayon::current_num_threads()) {
            let run = |&(inputs, targets): &(&[u16], &[u16])| loaded.differentiate(inputs, targets, batch);
            for result in wave.par_iter().map(run).collect::<Vec<_>>() {
                total.add(result?);
            }
        }
        Ok(loaded.mean(total, batch))
    }
}

/// Weights ready to score with.
struct DfdxScorer {
    config: ModelConfig,
    loaded: Loaded<Cpu>,
}

impl Scorer for DfdxScorer {
    fn nll(&self, windows: &[Window<'_>]) -> Result<Vec<Vec<f32>>, EngineError> {
        check::windows(&self.config, windows)?;
        Ok(windows.par_iter().map(|window| self.loaded.nll(window)).collect())
    }

    fn logits(&self, inputs: &[u16]) -> Result<Vec<f32>, EngineError> {
        check::inputs(&self.config, inputs)?;
        Ok(self.loaded.logits(inputs))
    }
}
