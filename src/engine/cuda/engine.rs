//! The network on a device: the same forward and backward pass, over the device's kernels.

use super::backend::{CudaKernels, WIDEST_HEAD};
use super::device::Device;
use super::error::DeviceError;
use super::optimizer::{BUCKET_VALUES, CudaTrainer, Sizes};
use super::scorer::CudaScorer;
use crate::collective::Collective;
use crate::data::TokenBatch;
use crate::engine::network::{Forward, Kernels, Loaded, Network, Rows, Scaled, fold, fold_tables, unfold, widened};
use crate::engine::{DeviceTrainer, Engine, EngineError, EngineKind, LossAndGradients, Precision, Scorer, check};
use crate::model::{Graph, ModelConfig, Params, RopeTables};
use crate::optim::{FakeQuant, Optimizer, SwaSum};

/// Tokens of windows scored at once.
///
/// Windows of one shape are always scored so many at a time, the last of them repeated where there are fewer: the
/// library may choose another order of sums for another number of rows, and a token's likelihood must not depend on
/// how many windows came with it.
const SCORED_TOKENS: usize = 1 << 16;
/// Tokens of a micro-batch whose activations exist at once, about 6 GB at full size in single precision. Part of the
/// result: gradients are added group by group.
const GROUP_TOKENS: usize = 1 << 15;
/// The same in bfloat16: a whole micro-batch of the recipe, 98,304 tokens, about 15 GB with what is kept for the backward pass.
const NARROW_GROUP_TOKENS: usize = 1 << 17;

/// What reports call this engine: its numbers are not the processor's, so their parts do not merge.
pub(in crate::engine) const LABEL: &str = "kernels on cuda";

/// The kernels engine on a device.
pub(super) struct CudaEngine<D: Device> {
    kernels: CudaKernels<D>,
    scored_tokens: usize,
    group_tokens: usize,
    bucket_values: usize,
}

impl<D: Device> CudaEngine<D> {
    pub fn new(kernels: CudaKernels<D>) -> Self {
        let group_tokens = match kernels.precision() {
            Precision::F32 => GROUP_TOKENS,
            Precision::Bf16 => NARROW_GROUP_TOKENS,
        };
        CudaEngine { kernels, scored_tokens: SCORED_TOKENS, group_tokens, bucket_values: BUCKET_VALUES }
    }

    /// The same with other groups of windows, for a trial: numbers may differ in their last bits.
    pub fn scoring_in_groups(self, scored_tokens: usize) -> Self {
        CudaEngine { scored_tokens, ..self }
    }

    /// The same with smaller groups and a bucket a block, for small networks.
    #[cfg(test)]
    pub fn with_groups(kernels: CudaKernels<D>, scored_tokens: usize, group_tokens: usize) -> Self {
        CudaEngine { kernels, scored_tokens, group_tokens, bucket_values: 1 }
    }

    fn check(&self, config: &ModelConfig, weights: &Params) -> Result<(), EngineError> {
        check::model(config, weights)?;
        if config.head_dim() > WIDEST_HEAD {
            let said = format!("heads of {} channels; the kernels take up to {WIDEST_HEAD}", config.head_dim());
            return Err(DeviceError::new("this model does not run on a CUDA device", said).into());
        }
        Ok(())
    }
}

impl<D: Device + 'static> Engine for CudaEngine<D> {
    fn kind(&self) -> EngineKind {
        EngineKind::Kernels
    }

    fn label(&self) -> String {
        let label = match self.kernels.precision() {
            Precision::F32 => LABEL.to_string(),
            Precision::Bf16 => format!("{LABEL} (bf16)"),
        };
        // Parts made in other groups do not merge.
        if self.scored_tokens == SCORED_TOKENS { label } else { format!("{label}, groups of {}", self.scored_tokens) }
    }

    fn scorer(&self, config: &ModelConfig, weights: &Params) -> Result<Box<dyn Scorer>, EngineError> {
        self.check(config, weights)?;
        let kernels = self.kernels.clone();
        let precision = kernels.precision();
        let _stream = self.kernels.shared.lock_stream();
        let loaded = Loaded::new(kernels, precision, config, weights)?;
        loaded.kernels.check()?;
        Ok(Box::new(CudaScorer::new(loaded, self.scored_tokens)))
    }

    fn loss_and_gradients(
        &self,
        config: &ModelConfig,
        weights: &Params,
        batch: &TokenBatch,
        fake_quant: FakeQuant,
    ) -> Result<LossAndGradients, EngineError> {
        self.check(config, weights)?;
        check::batch(config, batch)?;
        let weights = &fake_quant.applied(weights);
        let k = &self.kernels;
        let _stream = k.shared.lock_stream();
        let folded = fold(weights);
        let (network, scaled) = match k.precision() {
            Precision::F32 => (Network::upload(k, config, &folded)?, None),
            Precision::Bf16 => {
                (Network::upload(k, config, &fold_tables(weights))?, Some(Scaled::upload(k, config, &folded)?))
            }
        };
        let tables = k.rope_tables(&RopeTables::new(config, batch.seq_len));
        let graph = &Graph::new(config);
        let forward = Forward {
            k,
            config,
            graph,
            network: &network,
            scaled: scaled.as_ref(),
            tables: &tables,
            observer: None,
            memory: None,
        };
        let mut grads = Network::zeros(k, config)?;
        let mut nll = 0.0f64;
        let weight = 1.0 / batch.inputs.len() as f32;
        let group = (self.group_tokens / batch.seq_len).max(1) * batch.seq_len;
        for (inputs, targets) in batch.inputs.chunks(group).zip(batch.targets.chunks(group)) {
            let (rows, targets) =
                (Rows::new(k, config, inputs, batch.seq_len), k.ids(&widened(targets), config.vocab_size));
            let record = forward.record(&rows);
            let values = k.download(forward.backward(&rows, &targets, weight, record, &mut grads, &mut |_| ()));
            nll += values.into_iter().map(f64::from).sum::<f64>();
        }
        let mut gradients = grads.download(k, config)?;
        k.check()?;
        unfold(weights, &mut gradients);
        Ok(LossAndGradients { loss: (nll / batch.inputs.len() as f64) as f32, gradients })
    }

    fn device_trainer<'a>(
        &self,
        config: &ModelConfig,
        weights: &Params,
        optimizer: &Optimizer,
        swa: &SwaSum,
        ranks: &'a dyn Collective,
    ) -> Result<Option<Box<dyn DeviceTrainer + 'a>>, EngineError> {
        self.check(config, weights)?;
        let kernels = self.kernels.clone();
        let sizes = Sizes { group_tokens: self.group_tokens, bucket_values: self.bucket_values };
        let trainer = CudaTrainer::new(kernels, sizes, config, weights, optimizer, swa, ranks)?;
        Ok(Some(Box::new(trainer)))
    }
}
