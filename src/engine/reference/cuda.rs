//! The engine on a GPU: the same network on dfdx's own CUDA device, to compare the kernels engine's kernels with.
//!
//! dfdx's device may not leave the thread that opened it and holds one stream of work, so that every call opens it
//! anew, copies the weights and runs window after window.

use ::dfdx::prelude::Cuda;

use super::loaded::{GroupResult, Loaded, backend, groups};
use super::run_isolated::run_isolated;
use crate::data::TokenBatch;
use crate::engine::{Engine, EngineError, EngineKind, LossAndGradients, Scorer, Window, check};
use crate::model::{ModelConfig, Params};
use crate::optim::FakeQuant;

/// What reports call this engine: its numbers are not the processor's.
pub(in crate::engine) const LABEL: &str = "dfdx on cuda";

/// The dfdx engine on a CUDA device.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct DfdxCudaEngine {
    ordinal: usize,
}

impl DfdxCudaEngine {
    /// On that device, which must be there: dfdx panics where it is not.
    pub fn new(ordinal: usize) -> Self {
        DfdxCudaEngine { ordinal }
    }

    /// Runs `work` with the network on the device.
    fn with<R: Send>(
        &self,
        config: &ModelConfig,
        weights: &Params,
        work: impl FnOnce(&Loaded<Cuda>) -> Result<R, EngineError> + Send,
    ) -> Result<R, EngineError> {
        run_isolated(&format!("dfdx on cuda:{}", self.ordinal), || {
            // The network draws nothing at random.
            let device = Cuda::try_build(self.ordinal, 0).map_err(backend)?;
            work(&Loaded::new(&device, config, weights)?)
        })
    }
}

impl Engine for DfdxCudaEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Dfdx
    }

    fn label(&self) -> String {
        LABEL.to_string()
    }

    fn scorer(&self, config: &ModelConfig, weights: &Params) -> Result<Box<dyn Scorer>, EngineError> {
        check::model(config, weights)?;
        // A device that cannot take the weights says so now.
        self.with(config, weights, |_| Ok(()))?;
        Ok(Box::new(DfdxCudaScorer { engine: *self, config: config.clone(), weights: weights.clone() }))
    }

    /// Not the same bits every time: dfdx adds up gradients with atomic additions. To compare with, not to train on.
    fn loss_and_gradients(
        &self,
        config: &ModelConfig,
        weights: &Params,
        batch: &TokenBatch,
        fake_quant: FakeQuant,
    ) -> Result<LossAndGradients, EngineError> {
        check::training(config, weights, batch)?;
        self.with(config, &fake_quant.applied(weights), |loaded| {
            let mut total = GroupResult::default();
            for (inputs, targets) in groups(batch) {
                total.add(loaded.differentiate(inputs, targets, batch)?);
            }
            Ok(loaded.mean(total, batch))
        })
    }
}

/// Weights to score with, on the host between calls.
struct DfdxCudaScorer {
    engine: DfdxCudaEngine,
    config: ModelConfig,
    weights: Params,
}

impl Scorer for DfdxCudaScorer {
    fn nll(&self, windows: &[Window<'_>]) -> Result<Vec<Vec<f32>>, EngineError> {
        check::windows(&self.config, windows)?;
        let score = |loaded: &Loaded<Cuda>| Ok(windows.iter().map(|window| loaded.nll(window)).collect());
        self.engine.with(&self.config, &self.weights, score)
    }

    fn logits(&self, inputs: &[u16]) -> Result<Vec<f32>, EngineError> {
        check::inputs(&self.config, inputs)?;
        self.engine.with(&self.config, &self.weights, |loaded| Ok(loaded.logits(inputs)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{CrossCheck, DeviceChoice, DfdxEngine, EngineDevice, KernelsEngine, Precision};
    use crate::model::init;
    use crate::random::RandomStream;

    /// The first GPU and dfdx on it. Tests that call it are ignored unless they are asked for, and fail where there is none.
    fn on_a_gpu() -> (EngineDevice, Box<dyn Engine>) {
        let device = EngineDevice::open(DeviceChoice::Cuda(0));
        let device = device.unwrap_or_else(|reason| panic!("this test needs a CUDA device: {reason}"));
        let engine = device.engine(EngineKind::Dfdx, Precision::F32).unwrap();
        assert_eq!((engine.label(), device.label(EngineKind::Dfdx)), (LABEL.into(), LABEL.into()));
        (device, engine)
    }

    /// Small networks: heads in groups, a table that is projected; heads of their own, untied, no table; rows of a
    /// vocabulary and scores over several blocks of 128 threads.
    fn configs() -> [ModelConfig; 3] {
        let grouped = ModelConfig {
            vocab_size: 50,
            num_layers: 3,
            model_dim: 32,
            num_heads: 4,
            num_kv_heads: 2,
            bigram_vocab_size: 64,
            bigram_dim: 16,
            ..Default::default()
        };
        let single = ModelConfig {
            num_layers: 2,
            num_kv_heads: 4,
            bigram_vocab_size: 0,
            tie_embeddings: false,
            ..grouped.clone()
        };
        [single, ModelConfig { vocab_size: 300, num_layers: 1, ..grouped.clone() }, grouped]
    }

    /// Initial weights with some noise on all of them, so that nothing is zero.
    fn weights(config: &ModelConfig) -> Params {
        let mut weights = init(config, 3);
        for (name, tensor) in weights.iter_mut() {
            let mut stream = RandomStream::new(3, name);
            tensor.data_mut().iter_mut().for_each(|value| *value += 0.1 * stream.normal() as f32);
        }
        weights
    }

    fn tokens(config: &ModelConfig, count: usize) -> Vec<u16> {
        let mut stream = RandomStream::new(4, "tokens");
        (0..count).map(|_| stream.below(config.vocab_size as u64) as u16).collect()
    }

    /// Largest difference, relative above 1.
    fn distance(found: &[f32], expected: &[f32]) -> f32 {
        assert_eq!(found.len(), expected.len());
        let pairs = found.iter().zip(expected);
        pairs.map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, |worst: f32, distance| worst.max(distance))
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn a_gpu_scores_as_the_processor_does() {
        let (_, gpu) = on_a_gpu();
        for config in configs() {
            let (weights, tokens) = (weights(&config), tokens(&config, 150));
            let windows = [
                Window { tokens: &tokens[..141], first_scored: 100 },
                Window { tokens: &tokens[3..20], first_scored: 0 },
                Window { tokens: &tokens[7..9], first_scored: 0 },
            ];
            let [found, expected] =
                [&*gpu, &DfdxEngine as &dyn Engine].map(|engine| engine.scorer(&config, &weights).unwrap());
            let nll = found.nll(&windows).unwrap();
            for (found, expected) in nll.iter().zip(&expected.nll(&windows).unwrap()) {
                assert!(distance(found, expected) < 1e-5, "{:e}", distance(found, expected));
            }
            assert_eq!(nll, found.nll(&windows).unwrap(), "other bits the second time");
            let logits = [&found, &expected].map(|scorer| scorer.logits(&tokens[..33]).unwrap());
            assert!(distance(&logits[0], &logits[1]) < 1e-5);
            assert!(matches!(found.logits(&[]), Err(EngineError::Window { tokens: 0 })));
        }
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn a_gpu_differentiates_as_the_processor_does() {
        let (_, gpu) = on_a_gpu();
        for config in configs() {
            let (weights, tokens) = (weights(&config), tokens(&config, 2 * 20 + 1));
            let batch = TokenBatch { inputs: tokens[..40].to_vec(), targets: tokens[1..].to_vec(), seq_len: 20 };
            let [found, expected] = [&*gpu, &DfdxEngine as &dyn Engine]
                .map(|engine| engine.loss_and_gradients(&config, &weights, &batch, FakeQuant::On).unwrap());
            assert!((found.loss - expected.loss).abs() < 1e-5 * expected.loss);
            for ((name, found), (_, expected)) in found.gradients.iter().zip(expected.gradients.iter()) {
                let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
                let difference = norm(&mut found.data().iter().zip(expected.data()).map(|(a, b)| a - b));
                let size = norm(&mut expected.data().iter().copied());
                // Either may be 1e-4 from double precision (docs/engine.md).
                assert!(difference <= 4e-8 * size, "{name}: {difference:e} of {size:e}");
            }
        }
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn a_gpu_cross_checks() {
        let (device, _) = on_a_gpu();
        let config = &configs()[1];
        let (weights, tokens) = (weights(config), tokens(config, 60));
        let reference = device.for_cross_check().engine(EngineKind::Dfdx, Precision::F32).unwrap();
        for first in [device.engine(EngineKind::Kernels, Precision::F32).unwrap(), Box::new(KernelsEngine::default())] {
            let first = first.scorer(config, &weights).unwrap();
            let check = CrossCheck::new(first, &*reference, config, &weights).unwrap();
            check.nll(&[Window { tokens: &tokens, first_scored: 0 }]).unwrap();
            assert_eq!(check.by(), LABEL);
            assert!(check.largest_difference().relative() > 0.0, "one engine was asked twice");
        }
        assert!(device.training_engine(EngineKind::Dfdx, Precision::F32).is_err());
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn a_device_that_is_not_there_is_an_error() {
        let (device, _) = on_a_gpu();
        assert!(device.accelerator().is_some());
        let config = &configs()[0];
        let error = DfdxCudaEngine::new(1 << 20).scorer(config, &weights(config)).err().unwrap().to_string();
        assert!(error.contains("dfdx on cuda:1048576 gave up") && error.lines().count() == 1, "{error}");
    }
}
