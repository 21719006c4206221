//! The whole network on the device beside the CPU's.

use std::sync::Arc;

use super::{kernels, largest_error, on_both, on_hopper};
use crate::data::TokenBatch;
use crate::engine::cuda::backend::CudaKernels;
use crate::engine::cuda::device::{Device, Launch};
use crate::engine::cuda::engine::CudaEngine;
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::gemm::GemmDesc;
use crate::engine::cuda::stream_lock::StreamLock;
pub(in crate::engine::cuda) use crate::engine::network::tests::{
    family, noisy_weights as weights, plain_and_odd as configs,
};
use crate::engine::{Engine, EngineError, KernelsEngine, Precision, Window};
use crate::model::{ModelConfig, Params};
use crate::optim::FakeQuant;
use crate::random::RandomStream;

on_both!(
    likelihoods_match_the_cpu,
    scores_are_batch_invariant_and_repeatable,
    gradients_match_the_cpu,
    what_is_kept_changes_no_bit,
    bfloat16_likelihoods_are_as_far_off_as_the_cpus,
    bfloat16_gradients_match_single_precision,
);

on_hopper!(bfloat16_likelihoods_are_as_far_off_as_the_cpus, bfloat16_gradients_match_single_precision);

/// All of them, every other one with quantized weights in training.
fn trained() -> impl Iterator<Item = (ModelConfig, FakeQuant)> {
    configs().into_iter().chain(family()).zip([FakeQuant::Off, FakeQuant::On].into_iter().cycle())
}

fn tokens(config: &ModelConfig, len: usize) -> Vec<u16> {
    let mut stream = RandomStream::new(4, "tokens");
    (0..len).map(|_| stream.below(config.vocab_size as u64) as u16).collect()
}

/// Two or three windows at once, groups of one or two rows.
pub(in crate::engine::cuda) fn engine<D: Device + 'static>(device: &Arc<D>) -> CudaEngine<D> {
    CudaEngine::with_groups(kernels(device), 80, 40)
}

/// The same with activations and matrices stored in bfloat16.
pub(in crate::engine::cuda) fn narrow_engine<D: Device + 'static>(device: &Arc<D>) -> CudaEngine<D> {
    CudaEngine::with_groups(CudaKernels::new(Arc::clone(device), Precision::Bf16), 80, 40)
}

pub(in crate::engine::cuda) fn batch(config: &ModelConfig, rows: usize, seq_len: usize) -> TokenBatch {
    let tokens = tokens(config, rows * seq_len + 1);
    TokenBatch { inputs: tokens[..rows * seq_len].to_vec(), targets: tokens[1..].to_vec(), seq_len }
}

fn likelihoods_match_the_cpu<D: Device + 'static>(device: &Arc<D>) {
    for config in configs().into_iter().chain(family()) {
        let (weights, tokens) = (weights(&config), tokens(&config, 120));
        let windows = [
            Window { tokens: &tokens[..37], first_scored: 0 },
            Window { tokens: &tokens[10..47], first_scored: 30 },
            Window { tokens: &tokens[20..22], first_scored: 0 },
            Window { tokens: &tokens[40..77], first_scored: 30 },
            Window { tokens: &tokens[50..60], first_scored: 20 },
            Window { tokens: &tokens[70..107], first_scored: 30 },
        ];
        let cpu = KernelsEngine::default().scorer(&config, &weights).unwrap();
        let scorer = engine(device).scorer(&config, &weights).unwrap();
        let (found, expected) = (scorer.nll(&windows).unwrap(), cpu.nll(&windows).unwrap());
        for (found, expected) in found.iter().zip(&expected) {
            assert!(largest_error(found, expected) < 1e-5, "{:e}", largest_error(found, expected));
        }
        let logits = [&scorer, &cpu].map(|scorer| scorer.logits(&tokens[..20]).unwrap());
        assert!(largest_error(&logits[0], &logits[1]) < 1e-5);
        assert!(scorer.nll(&[]).unwrap().is_empty());
        assert!(matches!(scorer.logits(&[]), Err(EngineError::Window { tokens: 0 })));
    }
}

/// Both round at the same places; sums in another order may round to the next value, and that spreads.
fn bfloat16_likelihoods_are_as_far_off_as_the_cpus<D: Device + 'static>(device: &Arc<D>) {
    for config in configs().into_iter().chain(family()) {
        let (weights, tokens) = (weights(&config), tokens(&config, 120));
        let windows: Vec<_> =
            (0..4).map(|i| Window { tokens: &tokens[20 * i..20 * i + 37], first_scored: 9 * i }).collect();
        let nll = |engine: &dyn Engine| engine.scorer(&config, &weights).unwrap().nll(&windows).unwrap().concat();
        let exact = nll(&KernelsEngine::default());
        let distance = |found: &[f32]| {
            let squares = found.iter().zip(&exact).map(|(found, exact)| f64::from(found - exact).powi(2));
            (squares.sum::<f64>() / exact.len() as f64).sqrt()
        };
        let (cpu, found) = (nll(&KernelsEngine::scoring_in(Precision::Bf16)), nll(&narrow_engine(device)));
        assert!(distance(&cpu) > 0.0);
        assert!(distance(&found) <= 1.5 * distance(&cpu), "{:e} against {:e}", distance(&found), distance(&cpu));
        assert_eq!(found, nll(&narrow_engine(device)));
    }
}

/// Each value of the backward pass is rounded to one part in 512, some dozens of times on its way.
fn bfloat16_gradients_match_single_precision<D: Device + 'static>(device: &Arc<D>) {
    for (config, fake_quant) in trained() {
        let (weights, batch) = (weights(&config), batch(&config, 3, 20));
        let expected = KernelsEngine::default().loss_and_gradients(&config, &weights, &batch, fake_quant).unwrap();
        let found = narrow_engine(device).loss_and_gradients(&config, &weights, &batch, fake_quant).unwrap();
        assert!((found.loss - expected.loss).abs() < 1e-2 * expected.loss, "{} {}", found.loss, expected.loss);
        let expected_all = expected.gradients.clone();
        for ((name, found), (_, expected)) in found.gradients.iter().zip(expected.gradients.iter()) {
            let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
            let distance = norm(&mut found.data().iter().zip(expected.data()).map(|(a, b)| a - b));
            let size = norm(&mut expected.data().iter().copied());
            let size = match name {
                // Terms of a gain cancel, in some blocks to a few times their rounding; these are as large in any block.
                _ if name.ends_with(".q_gain") => {
                    let gains = expected_all.iter().filter(|(other, _)| other.ends_with(".q_gain"));
                    gains.map(|(_, gain)| norm(&mut gain.data().iter().copied())).fold(0.0, f32::max)
                }
                // The terms of this one number cancel: they are those of its matrix's gradient times the matrix, over the
                // scale.
                "bigram.scale" => {
                    let matrix = |name: &&str| weights.get(name).is_some();
                    let matrix = ["bigram.proj.weight", "bigram.embed.weight"].into_iter().find(matrix).unwrap();
                    let size = |params: &Params, name| norm(&mut params.get(name).unwrap().data().iter().copied());
                    size(&expected_all, matrix) * size(&weights, matrix) / size(&weights, name)
                }
                _ => size,
            };
            assert!(distance <= 0.05 * size, "{name}: {distance:e} of {size:e}");
        }
    }
}

fn scores_are_batch_invariant_and_repeatable<D: Device + 'static>(device: &Arc<D>) {
    let config = &configs()[0];
    let (weights, tokens) = (weights(config), tokens(config, 120));
    let windows: Vec<_> = (0..5).map(|i| Window { tokens: &tokens[i * 9..i * 9 + 33], first_scored: 24 }).collect();
    let scorer = engine(device).scorer(config, &weights).unwrap();
    let together = scorer.nll(&windows).unwrap();
    assert_eq!(together, scorer.nll(&windows).unwrap());
    let again = engine(device).scorer(config, &weights).unwrap();
    let alone: Vec<_> = windows.iter().flat_map(|&window| again.nll(&[window]).unwrap()).collect();
    assert_eq!(together, alone);

    let batch = batch(config, 3, 20);
    let run = || engine(device).loss_and_gradients(config, &weights, &batch, FakeQuant::Off).unwrap();
    let (first, second) = (run(), run());
    assert_eq!((first.loss.to_bits(), first.gradients), (second.loss.to_bits(), second.gradients));
}

/// Relative distance of every gradient, in the 2-norm.
fn gradients_match_the_cpu<D: Device + 'static>(device: &Arc<D>) {
    for (config, fake_quant) in trained() {
        let (weights, batch) = (weights(&config), batch(&config, 3, 20));
        let expected = KernelsEngine::default().loss_and_gradients(&config, &weights, &batch, fake_quant).unwrap();
        let found = engine(device).loss_and_gradients(&config, &weights, &batch, fake_quant).unwrap();
        assert!((found.loss - expected.loss).abs() < 1e-5 * expected.loss);
        for ((name, found), (_, expected)) in found.gradients.iter().zip(expected.gradients.iter()) {
            let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
            let distance = norm(&mut found.data().iter().zip(expected.data()).map(|(a, b)| a - b));
            let size = norm(&mut expected.data().iter().copied());
            assert!(distance <= 5e-5 * size, "{name}: {distance:e} of {size:e}");
        }
    }
}

/// What the backward pass makes again where it is not kept.
fn what_is_kept_changes_no_bit<D: Device + 'static>(device: &Arc<D>) {
    for ((config, fake_quant), precision) in trained().zip([Precision::Bf16, Precision::F32].into_iter().cycle()) {
        let (weights, batch) = (weights(&config), batch(&config, 3, 20));
        let kernels = CudaKernels::new(Arc::clone(device), precision);
        let [kept, again] = [kernels.clone(), kernels.making_again()].map(|kernels| {
            let engine = CudaEngine::with_groups(kernels, 80, 40);
            engine.loss_and_gradients(&config, &weights, &batch, fake_quant).unwrap()
        });
        assert_eq!((kept.loss.to_bits(), kept.gradients), (again.loss.to_bits(), again.gradients));
    }
}

/// A device whose memory ends, to see that its error comes out.
#[derive(Default)]
struct Small {
    stream_lock: StreamLock,
}

impl Device for Small {
    type Memory = ();
    type Graph = ();

    fn stream_lock(&self) -> &StreamLock {
        &self.stream_lock
    }

    fn begin_capture(&self) -> Result<(), DeviceError> {
        unreachable!("nothing runs after a failure")
    }

    fn end_capture(&self) -> Result<(), DeviceError> {
        unreachable!("nothing runs after a failure")
    }

    unsafe fn replay(&self, (): &()) -> Result<(), DeviceError> {
        unreachable!("nothing runs after a failure")
    }

    fn allocate(&self, bytes: usize) -> Result<(), DeviceError> {
        Err(DeviceError::new(format!("cannot allocate {bytes} bytes"), "out of memory"))
    }

    fn address(_: &()) -> u64 {
        unreachable!("nothing is allocated")
    }

    unsafe fn write(&self, _: u64, _: &[u32]) -> Result<(), DeviceError> {
        unreachable!("nothing runs after a failure")
    }

    unsafe fn read(&self, _: u64, _: &mut [f32]) -> Result<(), DeviceError> {
        unreachable!("nothing runs after a failure")
    }

    unsafe fn copy(&self, _: u64, _: u64, _: usize) -> Result<(), DeviceError> {
        unreachable!("nothing runs after a failure")
    }

    unsafe fn clear(&self, _: u64, _: usize) -> Result<(), DeviceError> {
        unreachable!("nothing runs after a failure")
    }

    unsafe fn launch(&self, _: &Launch<'_>) -> Result<(), DeviceError> {
        unreachable!("nothing runs after a failure")
    }

    unsafe fn gemm(&self, _: &GemmDesc<'_>) -> Result<bool, DeviceError> {
        unreachable!("nothing runs after a failure")
    }
}

#[test]
fn a_device_that_is_too_small_is_an_error_and_no_panic() {
    let config = &configs()[0];
    let (weights, engine) = (weights(config), engine(&Arc::<Small>::default()));
    let error = engine.scorer(config, &weights).err().unwrap();
    assert!(error.to_string().contains("out of memory"), "{error}");
    let result = engine.loss_and_gradients(config, &weights, &batch(config, 1, 8), FakeQuant::Off);
    assert!(matches!(result, Err(EngineError::Device(_))));
}

#[test]
fn heads_wider_than_the_kernels_take_are_refused() {
    let config = ModelConfig { num_heads: 1, num_kv_heads: 1, model_dim: 130, ..configs()[0].clone() };
    let error = engine(&Arc::<Small>::default()).scorer(&config, &weights(&config)).err().unwrap();
    assert!(error.to_string().contains("130 channels; the kernels take up to 128"), "{error}");
}
