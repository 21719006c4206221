//! Whole steps on the device beside the same engine with the host's optimizer.

use std::sync::Arc;

use crate::collective::Solo;
use crate::data::TokenBatch;
use crate::engine::cuda::device::Device;
use crate::engine::cuda::tests::network::{self, batch, engine, weights};
use crate::engine::cuda::tests::on_both;
use crate::engine::{DeviceTrainer, Engine, TrainerState, TrainerStep};
use crate::manifest::{OptimizerConfig, OrthogonalizerPrecision};
use crate::model::{ModelConfig, Params};
use crate::optim::{FakeQuant, Optimizer, StepPlan, SwaSum, clip_global_norm};

on_both!(
    five_steps_are_those_of_the_hosts_optimizer,
    a_state_goes_to_the_host_and_back,
    a_step_that_diverges_is_not_taken,
);

/// Two layers: an encoder block and a decoder block with its skip.
fn configs() -> [ModelConfig; 2] {
    network::configs().map(|config| ModelConfig { num_layers: 2, ..config })
}

/// Micro-batches of a step; half is an exact share.
const MICRO_BATCHES: usize = 2;
const SHARE: f32 = 0.5;

fn batches(config: &ModelConfig, step: usize) -> [TokenBatch; MICRO_BATCHES] {
    // Other tokens in every micro-batch, out of one stream; one of them in two groups of rows.
    let all = batch(config, 4, 20 * (step + 2));
    let piece = |rows: usize, start: usize| {
        let range = start..start + rows * 20;
        TokenBatch { inputs: all.inputs[range.clone()].to_vec(), targets: all.targets[range].to_vec(), seq_len: 20 }
    };
    [piece(3, 20 * step), piece(2, 20 * step + 7)]
}

/// Quantized from the third step on, snapshots after the fourth and fifth.
pub(super) fn plan(step: usize) -> StepPlan {
    let fake_quant = if step < 2 { FakeQuant::Off } else { FakeQuant::On };
    StepPlan { lr_multiplier: 1.0 - 0.1 * step as f64, muon_momentum: 0.9, fake_quant, swa_pick: step >= 3, phase: 0 }
}

pub(super) fn recipe(precision: OrthogonalizerPrecision) -> OptimizerConfig {
    let mut recipe = OptimizerConfig::default();
    recipe.muon.precision = precision;
    recipe
}

pub(super) fn start(config: &ModelConfig, recipe: &OptimizerConfig) -> TrainerState {
    let optimizer = Optimizer::new(recipe, config);
    TrainerState { weights: weights(config), optimizer, swa: SwaSum::default(), ema: None }
}

fn trainer(engine: &dyn Engine, config: &ModelConfig, state: &TrainerState) -> Box<dyn DeviceTrainer> {
    engine.device_trainer(config, &state.weights, &state.optimizer, &state.swa, &Solo).unwrap().unwrap()
}

fn step(trainer: &mut dyn DeviceTrainer, config: &ModelConfig, step: usize) -> TrainerStep {
    for batch in batches(config, step) {
        trainer.micro_batch(&batch, plan(step).fake_quant).unwrap();
    }
    trainer.step(&plan(step), SHARE).unwrap()
}

/// The step as the trainer takes it with the host's optimizer.
fn host_step(engine: &dyn Engine, config: &ModelConfig, state: &mut TrainerState, step: usize) -> TrainerStep {
    let (mut total, mut losses) = (Params::zeros(config), Vec::new());
    for batch in batches(config, step) {
        let found = engine.loss_and_gradients(config, &state.weights, &batch, plan(step).fake_quant).unwrap();
        losses.push(found.loss);
        for ((_, total), (_, gradient)) in total.iter_mut().zip(found.gradients.iter()) {
            total.data_mut().iter_mut().zip(gradient.data()).for_each(|(total, gradient)| *total += gradient);
        }
    }
    total.iter_mut().for_each(|(_, tensor)| tensor.data_mut().iter_mut().for_each(|value| *value *= SHARE));
    let gradient_norm = clip_global_norm(&mut total, state.optimizer.config().grad_clip_norm);
    state.optimizer.step(&mut state.weights, &total, &plan(step));
    if plan(step).swa_pick {
        state.swa.add(&state.weights);
    }
    TrainerStep { losses, gradient_norm }
}

/// Largest relative distance of a tensor, in the 2-norm.
fn distance(found: &Params, expected: &Params) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let tensors = found.iter().zip(expected.iter()).map(|((name, found), (_, expected))| {
        let pairs = found.data().iter().zip(expected.data());
        let apart = norm(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
        let distance = apart / norm(&mut expected.data().iter().map(|value| f64::from(*value))).max(1e-9);
        assert!(distance.is_finite(), "{name}");
        distance
    });
    tensors.fold(0.0, f64::max)
}

fn five_steps_are_those_of_the_hosts_optimizer<D: Device + 'static>(device: &Arc<D>) {
    let engine = &engine(device);
    use OrthogonalizerPrecision::{Bf16, F32};
    let [looped, lanes, _, gated] = network::family();
    let configs = configs().into_iter().chain([looped, lanes, gated]);
    for (config, precision) in configs.zip([F32, Bf16, F32, F32, F32]) {
        let config = &config;
        let mut expected = start(config, &recipe(precision));
        let mut trainer = trainer(engine, config, &expected);
        // Sums of the orthogonalizer's products come in another order, and bfloat16 magnifies what that changes; there the
        // device rounds sums once, too, where the host rounds their parts.
        let allowed = if precision == OrthogonalizerPrecision::F32 { 4e-5 } else { 0.05 };
        for i in 0..5 {
            // Blocks that are run again are from the third step on.
            let phase = usize::from(i >= 2);
            trainer.set_phase(phase);
            let config = &config.clone().in_phase(phase);
            let found = step(&mut *trainer, config, i);
            let host = host_step(engine, config, &mut expected, i);
            let state = trainer.state().unwrap();
            if i == 0 {
                // What Muon has no part in has the same bits.
                assert_eq!(found.losses, host.losses);
                assert!((found.gradient_norm / host.gradient_norm - 1.0).abs() < 1e-13);
                let adamw = |params: &Params| {
                    let is_free =
                        |name: &str| !name.contains(".attn.c_") && !name.contains("proj") && !name.contains("fc");
                    let kept = params.iter().filter(|(name, _)| is_free(name));
                    kept.map(|(name, tensor)| (name.to_string(), tensor.clone())).collect::<Vec<_>>()
                };
                assert_eq!(adamw(&state.weights), adamw(&expected.weights));
            }
            for (found, host) in found.losses.iter().zip(&host.losses) {
                assert!(f64::from((found - host).abs()) <= allowed * f64::from(*host), "step {i}: {found} for {host}");
            }
            assert!((found.gradient_norm / host.gradient_norm - 1.0).abs() <= 10.0 * allowed, "step {i}");
            let apart = distance(&state.weights, &expected.weights);
            assert!(apart <= allowed, "step {i}: weights {apart:e} apart");
            assert_eq!(state.optimizer.steps(), i as u64 + 1);
        }
        let state = trainer.state().unwrap();
        assert_eq!(state.swa.count(), 2);
        assert!(distance(state.swa.sum().unwrap(), expected.swa.sum().unwrap()) <= allowed);
        let moments = |state: &TrainerState| {
            let named = state.optimizer.moments().map(|(name, tensor)| (name, tensor.clone())).collect();
            Params::from_entries(named)
        };
        assert!(distance(&moments(&state), &moments(&expected)) <= 20.0 * allowed);
    }
}

fn a_state_goes_to_the_host_and_back<D: Device + 'static>(device: &Arc<D>) {
    let engine = &engine(device);
    for (config, steps) in configs().into_iter().zip([2..4, 3..5]) {
        let last = steps.end - 1;
        let begin = start(&config, &recipe(OrthogonalizerPrecision::Bf16));
        let mut straight = trainer(engine, &config, &begin);
        assert_eq!(straight.state().unwrap(), begin);
        let reports: Vec<_> = steps.clone().map(|i| step(&mut *straight, &config, i)).collect();

        let mut broken = trainer(engine, &config, &begin);
        assert_eq!(step(&mut *broken, &config, steps.start), reports[0]);
        let kept = broken.state().unwrap();
        assert_eq!((broken.steps(), broken.snapshots()), (1, kept.swa.count()));
        let mut resumed = trainer(engine, &config, &kept);
        assert_eq!(step(&mut *resumed, &config, last), reports[1]);
        assert_eq!(resumed.state().unwrap(), straight.state().unwrap());
    }
}

fn a_step_that_diverges_is_not_taken<D: Device + 'static>(device: &Arc<D>) {
    let (engine, config) = (&engine(device), &configs()[0]);
    let mut state = start(config, &recipe(OrthogonalizerPrecision::Bf16));
    state.weights.get_mut("blocks.1.mlp.fc.weight").unwrap().data_mut()[3] = f32::INFINITY;
    let mut trainer = trainer(engine, config, &state);
    let report = step(&mut *trainer, config, 4);
    assert!(report.losses.iter().any(|loss| !loss.is_finite()) || !report.gradient_norm.is_finite());
    assert_eq!(trainer.state().unwrap(), state);
}
