//! The network on a device: the same forward and backward pass, over the device's kernels.

use std::collections::BTreeMap;

use super::backend::{CudaKernels, Tables, WIDEST_HEAD};
use super::device::{Device, DeviceError};
use super::optimiser::CudaResident;
use crate::data::TokenBatch;
use crate::engine::kernels::{Forward, Kernels, Loaded, Network, Rows, fold, unfold};
use crate::engine::{Engine, EngineError, EngineKind, FakeQuant, LossAndGradients, Resident, Scorer, Window, check};
use crate::model::{ModelConfig, Params, RopeTables};
use crate::train::{Optimizer, SwaSum};

/// Tokens of windows scored at once.
///
/// Windows of one shape are always scored so many at a time, the last of them repeated where there are fewer: the
/// library may choose another order of sums for another number of rows, and a token's likelihood must not depend on
/// how many windows came with it.
const SCORED_TOKENS: usize = 1 << 16;
/// Tokens of a micro-batch whose activations exist at once, about 6 GB at full size. Part of the result: gradients are
/// added group by group.
const GROUP_TOKENS: usize = 1 << 15;

/// What reports call this engine: its numbers are not the processor's, so their parts do not merge.
pub(super) const LABEL: &str = "kernels on cuda";

/// The kernels engine on a device.
pub(super) struct CudaEngine<D: Device> {
    kernels: CudaKernels<D>,
    scored_tokens: usize,
    group_tokens: usize,
}

impl<D: Device> CudaEngine<D> {
    pub fn new(kernels: CudaKernels<D>) -> Self {
        CudaEngine { kernels, scored_tokens: SCORED_TOKENS, group_tokens: GROUP_TOKENS }
    }

    /// The same with smaller groups, for small networks.
    #[cfg(test)]
    pub fn with_groups(kernels: CudaKernels<D>, scored_tokens: usize, group_tokens: usize) -> Self {
        CudaEngine { kernels, scored_tokens, group_tokens }
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
        LABEL.to_string()
    }

    fn scorer(&self, config: &ModelConfig, weights: &Params) -> Result<Box<dyn Scorer>, EngineError> {
        self.check(config, weights)?;
        let kernels = self.kernels.clone();
        let precision = kernels.precision();
        let loaded = Loaded::new(kernels, precision, config, weights)?;
        loaded.kernels.check()?;
        Ok(Box::new(CudaScorer { loaded, scored_tokens: self.scored_tokens }))
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
        // Training is in single precision always.
        let k = &self.kernels.in_single_precision();
        let network = Network::upload(k, config, &fold(weights))?;
        let tables = k.rope_tables(&RopeTables::new(config, batch.seq_len));
        let forward = Forward { k, config, network: &network, tables: &tables };
        let mut grads = Network::zeros(k, config);
        let mut nll = 0.0f64;
        let weight = 1.0 / batch.inputs.len() as f32;
        let group = (self.group_tokens / batch.seq_len).max(1) * batch.seq_len;
        for (inputs, targets) in batch.inputs.chunks(group).zip(batch.targets.chunks(group)) {
            let rows = Rows { inputs, seq_len: batch.seq_len };
            let values = k.download(forward.backward(rows, targets, weight, forward.record(rows), &mut grads));
            nll += values.into_iter().map(f64::from).sum::<f64>();
        }
        let mut gradients = grads.download(k, config);
        k.check()?;
        unfold(weights, &mut gradients);
        Ok(LossAndGradients { loss: (nll / batch.inputs.len() as f64) as f32, gradients })
    }

    fn resident(
        &self,
        config: &ModelConfig,
        weights: &Params,
        optimizer: &Optimizer,
        swa: &SwaSum,
    ) -> Result<Option<Box<dyn Resident>>, EngineError> {
        self.check(config, weights)?;
        let kernels = self.kernels.clone();
        let resident = CudaResident::new(kernels, self.group_tokens, config, weights, optimizer, swa)?;
        Ok(Some(Box::new(resident)))
    }
}

/// Scores windows of one shape together.
struct CudaScorer<D: Device> {
    loaded: Loaded<CudaKernels<D>>,
    scored_tokens: usize,
}

impl<D: Device> CudaScorer<D> {
    /// Likelihoods of windows of one shape, at most as many as are scored at once.
    fn together(&self, windows: &[&Window<'_>], at_once: usize, tables: &Tables<D>) -> Vec<f32> {
        let Some(&last) = windows.last() else { return Vec::new() };
        let padded = || windows.iter().copied().chain(std::iter::repeat(last)).take(at_once);
        let (first, seq_len) = (last.first_scored, last.tokens.len() - 1);
        let inputs: Vec<u16> = padded().flat_map(|window| &window.tokens[..seq_len]).copied().collect();
        let targets: Vec<u16> = padded().flat_map(|window| &window.tokens[first + 1..]).copied().collect();
        self.loaded.nll(Rows { inputs: &inputs, seq_len }, first, &targets, tables)
    }
}

impl<D: Device> Scorer for CudaScorer<D> {
    fn nll(&self, windows: &[Window<'_>]) -> Result<Vec<Vec<f32>>, EngineError> {
        windows.iter().try_for_each(|window| check::window(&self.loaded.config, window))?;
        let tables = self.loaded.tables(windows.iter().map(|window| window.tokens.len()).max().unwrap_or(0));
        let mut shapes: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for (i, window) in windows.iter().enumerate() {
            // A window with nothing to score has an empty answer.
            if window.first_scored + 1 < window.tokens.len() {
                shapes.entry((window.tokens.len(), window.first_scored)).or_default().push(i);
            }
        }
        let mut likelihoods = vec![Vec::new(); windows.len()];
        for ((len, first), members) in shapes {
            let at_once = (self.scored_tokens / (len - 1)).max(1);
            for places in members.chunks(at_once) {
                let some: Vec<_> = places.iter().map(|&i| &windows[i]).collect();
                let found = self.together(&some, at_once, &tables);
                for (&place, nll) in places.iter().zip(found.chunks(len - 1 - first)) {
                    likelihoods[place] = nll.to_vec();
                }
            }
        }
        self.loaded.kernels.check()?;
        Ok(likelihoods)
    }

    fn logits(&self, inputs: &[u16]) -> Result<Vec<f32>, EngineError> {
        let logits = self.loaded.logits(inputs)?;
        self.loaded.kernels.check()?;
        Ok(logits)
    }
}
