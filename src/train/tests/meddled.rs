//! An engine that is meddled with.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::collective::Collective;
use crate::data::TokenBatch;
use crate::engine::{DeviceTrainer, Engine, EngineError, EngineKind, KernelsEngine, LossAndGradients, Scorer};
use crate::model::{ModelConfig, Params};
use crate::optim::{FakeQuant, Optimizer, SwaSum};

pub struct Meddled {
    engine: Box<dyn Engine>,
    /// Micro-batches until it fails.
    micro_batches: AtomicU64,
    /// The loss that it gives then; `None` for an error.
    loss: Option<f32>,
    /// Models that stay on its device until there is no room for one; `None` where none does.
    models: Option<AtomicU64>,
}

impl Meddled {
    /// The kernels engine, whose losses are `loss` after so many micro-batches.
    pub fn losing(micro_batches: u64, loss: f32) -> Self {
        Meddled { loss: Some(loss), ..Self::breaking(micro_batches) }
    }

    /// The kernels engine, which fails after so many micro-batches.
    pub fn breaking(micro_batches: u64) -> Self {
        let micro_batches = AtomicU64::new(micro_batches);
        Meddled { micro_batches, ..Self::on_the_host(Box::new(KernelsEngine::default())) }
    }

    /// The model stays on the host.
    pub fn on_the_host(engine: Box<dyn Engine>) -> Self {
        Meddled { engine, micro_batches: AtomicU64::new(u64::MAX), loss: None, models: None }
    }

    /// A device with no room for the model of the rank that asks after so many others.
    pub fn cramped(engine: Box<dyn Engine>, models: u64) -> Self {
        Meddled { models: Some(AtomicU64::new(models)), ..Self::on_the_host(engine) }
    }
}

/// Whether it was at its end.
fn counted_down(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
}

fn out_of_memory() -> EngineError {
    EngineError::Backend { engine: EngineKind::Kernels, message: "out of memory".into() }
}

impl Engine for Meddled {
    fn kind(&self) -> EngineKind {
        self.engine.kind()
    }

    fn scorer(&self, config: &ModelConfig, weights: &Params) -> Result<Box<dyn Scorer>, EngineError> {
        self.engine.scorer(config, weights)
    }

    fn loss_and_gradients(
        &self,
        config: &ModelConfig,
        weights: &Params,
        batch: &TokenBatch,
        fake_quant: FakeQuant,
    ) -> Result<LossAndGradients, EngineError> {
        let mut found = self.engine.loss_and_gradients(config, weights, batch, fake_quant)?;
        if counted_down(&self.micro_batches) {
            found.loss = self.loss.ok_or_else(out_of_memory)?;
        }
        Ok(found)
    }

    fn device_trainer<'a>(
        &self,
        config: &ModelConfig,
        weights: &Params,
        optimizer: &Optimizer,
        swa: &SwaSum,
        ranks: &'a dyn Collective,
    ) -> Result<Option<Box<dyn DeviceTrainer + 'a>>, EngineError> {
        match &self.models {
            None => Ok(None),
            Some(left) if counted_down(left) => {
                left.store(u64::MAX, Ordering::SeqCst);
                Err(out_of_memory())
            }
            Some(_) => self.engine.device_trainer(config, weights, optimizer, swa, ranks),
        }
    }
}
