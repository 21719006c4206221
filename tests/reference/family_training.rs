//! Training as the leaderboard's later scripts do it: MuonEq-R, fractional warm-down, moving averages, loops switched on.
//!
//! Against the numbers of PRs 1218, 1394 and 1493 in the folder that `GOLF_FAMILY_DIR` names.

use std::path::PathBuf;

use golf_harness::data::TokenBatch;
use golf_harness::engine::{Engine, EngineKind, create};
use golf_harness::manifest::{
    AdamConfig, MuonConfig, OptimizerConfig, OrthogonalizerPrecision, QatConfig, ScheduleConfig, SwaConfig,
};
use golf_harness::model::{
    HostTensor, Lanes, ModelConfig, ParallelResidual, Params, Recurrence, Skips, ValueEmbedding,
};
use golf_harness::optim::{MuonStep, Optimizer, clip_global_norm, move_average};
use golf_harness::train::Schedule;
use serde_json::Value;

use crate::support::named_by;
use crate::tensors;

/// How much more than PyTorch's own single precision these numbers may be away from double precision.
const SPREAD_FACTOR: f64 = 4.0;

mod needs_data {
    #[test]
    #[ignore = "needs GOLF_FAMILY_DIR"]
    fn muon_with_normalized_rows_follows_the_script() {
        super::muon_with_normalized_rows_follows_the_script();
    }

    #[test]
    #[ignore = "needs GOLF_FAMILY_DIR"]
    fn multipliers_of_the_fractional_warm_down_are_equal() {
        super::multipliers_of_the_fractional_warm_down_are_equal();
    }

    #[test]
    #[ignore = "needs GOLF_FAMILY_DIR"]
    fn twenty_steps_of_1218_and_1493_follow_pytorch() {
        super::twenty_steps_of_1218_and_1493_follow_pytorch();
    }
}

fn folder() -> PathBuf {
    named_by("GOLF_FAMILY_DIR")
}

fn training() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("training.json")).unwrap()).unwrap()
}

pub fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} in {value}"))
}

pub fn count(value: &Value, key: &str) -> usize {
    usize::try_from(value[key].as_u64().unwrap_or_else(|| panic!("{key} in {value}"))).unwrap()
}

fn muon_with_normalized_rows_follows_the_script() {
    let settings = &training()["muon_eqr"];
    let tensors = tensors::read(&folder().join("muon_eqr.safetensors"));
    for case in ["tall", "wide", "square"] {
        let start = &tensors[&format!("{case}.start")];
        let (sides, size) = ((start.shape[0], start.shape[1]), start.data.len());
        let gradients: Vec<f32> = tensors[&format!("{case}.grads")].data.iter().map(|&v| v as f32).collect();
        for (rule, row_normalize) in [("eqr", true), ("plain", false)] {
            for (precision, reference, tolerance) in
                [(OrthogonalizerPrecision::F32, "f64", 2e-6), (OrthogonalizerPrecision::Bf16, "script", 4e-3)]
            {
                let config = MuonConfig {
                    weight_decay: number(settings, "weight_decay"),
                    newton_schulz_steps: count(settings, "backend_steps") as u32,
                    precision,
                    row_normalize,
                    ..MuonConfig::default()
                };
                let expected = &tensors[&format!("{case}.{rule}.{reference}.after")];
                let mut weight: Vec<f32> = start.data.iter().map(|&v| v as f32).collect();
                let mut buffer = vec![0.0; size];
                for (step, (gradient, after)) in gradients.chunks(size).zip(expected.data.chunks(size)).enumerate() {
                    let muon = MuonStep::new(&config, number(settings, "lr"), number(settings, "momentum"));
                    muon.apply(&mut weight, &mut buffer, Some(gradient), sides);
                    let gap = weight.iter().zip(after).map(|(&w, &e)| (f64::from(w) - e).abs()).fold(0.0, f64::max);
                    assert!(gap <= tolerance, "{case} {rule} {reference} step {step}: {gap:e}");
                }
            }
        }
    }
}

fn multipliers_of_the_fractional_warm_down_are_equal() {
    let training = training();
    let rows = training["schedules"].as_array().unwrap();
    assert!(rows.len() > 20);
    for row in rows {
        let clock = row["effective_clock_ms"].as_f64();
        let config = ScheduleConfig {
            // What is reserved for the time after training.
            reserve_seconds: if clock.is_some() { 12.0 } else { 0.0 },
            max_wallclock_seconds: clock.map_or(0.0, |clock| clock / 1000.0 + 12.0),
            iterations: row["iterations"].as_u64().unwrap_or(20_000),
            warmdown_frac: Some(number(row, "warmdown_frac")),
            min_lr: number(row, "min_lr"),
            ..ScheduleConfig::default()
        };
        let step = row["step"].as_u64().unwrap_or(1);
        let elapsed_ms = row["elapsed_ms"].as_f64().unwrap_or(0.0);
        let found = Schedule::new(&config, &MuonConfig::default()).lr_multiplier(step, elapsed_ms);
        assert!((found - number(row, "multiplier")).abs() <= 1e-15, "{row}: {found}");
    }
}

fn twenty_steps_of_1218_and_1493_follow_pytorch() {
    let training = training();
    let runs = training["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs {
        for kind in [EngineKind::Dfdx, EngineKind::Kernels] {
            follow(run, &*create(kind));
        }
    }
}

/// The network of a run, as its entry tells it.
pub fn model(run: &Value) -> ModelConfig {
    let config = &run["config"];
    let (layers, dim) = (count(config, "num_layers"), count(config, "model_dim"));
    let value_blocks =
        || config["ve_layers"].as_str().unwrap().split(',').map(|block| block.parse().unwrap()).collect();
    let recurrence = (count(config, "num_loops") > 0).then(|| Recurrence::Loop {
        first: count(config, "loop_start"),
        last: count(config, "loop_end"),
        repeats: count(config, "num_loops"),
        // Runs that only score are on their last phase.
        from_fraction: vec![run["enable_looping_at"].as_f64().unwrap_or(0.5)],
    });
    let bigram = config["bigram"].as_array().map(|sizes| [0, 1].map(|side| sizes[side].as_u64().unwrap() as usize));
    let start = config["parallel_residual_start"].as_i64().unwrap();
    ModelConfig {
        vocab_size: count(config, "vocab_size"),
        num_layers: layers,
        model_dim: dim,
        num_heads: count(config, "num_heads"),
        num_kv_heads: count(config, "num_kv_heads"),
        mlp_mult: count(config, "mlp_hidden") as f64 / dim as f64,
        logit_softcap: number(config, "logit_softcap"),
        bigram_vocab_size: bigram.map_or(0, |[rows, _]| rows),
        bigram_dim: bigram.map_or(1, |[_, width]| width),
        smear: config["smear"].as_bool().unwrap(),
        skips: if config["skip_gates"] == true { Skips::Gated } else { Skips::Plain },
        mlp_negative_slope: 0.5,
        rope_dims: count(config, "rope_dims"),
        rope_train_length: Some(count(config, "rope_train_length")),
        xsa_last_n: count(config, "xsa_last_n"),
        ln_scale: config["ln_scale"].as_bool().unwrap(),
        value_embedding: (config["ve_enabled"] == true)
            .then(|| ValueEmbedding { dim: count(config, "ve_dim"), blocks: value_blocks() }),
        recurrence,
        parallel_residual: usize::try_from(start).ok().map(|start| ParallelResidual { start, lanes: Lanes::One }),
        ..ModelConfig::default()
    }
}

fn optimizer(run: &Value) -> OptimizerConfig {
    let optim = &run["optim"];
    OptimizerConfig {
        tied_embed_lr: number(optim, "tied_embed_lr"),
        matrix_lr: number(optim, "matrix_lr"),
        scalar_lr: number(optim, "scalar_lr"),
        grad_clip_norm: number(optim, "grad_clip_norm"),
        muon: MuonConfig {
            momentum: number(optim, "muon_momentum"),
            momentum_warmup_start: number(optim, "muon_momentum_warmup_start"),
            momentum_warmup_steps: optim["muon_momentum_warmup_steps"].as_u64().unwrap(),
            newton_schulz_steps: count(optim, "muon_backend_steps") as u32,
            weight_decay: number(optim, "muon_wd"),
            precision: OrthogonalizerPrecision::F32,
            // 1218 came before normalized rows.
            row_normalize: run["pr"].as_u64().unwrap() >= 1285,
        },
        adam: AdamConfig {
            beta1: number(optim, "beta1"),
            beta2: number(optim, "beta2"),
            eps: number(optim, "adam_eps"),
            weight_decay: number(optim, "adam_wd"),
            embed_weight_decay: Some(number(optim, "embed_wd")),
        },
        ..OptimizerConfig::default()
    }
}

/// Twenty steps, with both averages, beside PyTorch's in double precision.
fn follow(run: &Value, engine: &dyn Engine) {
    let name = run["name"].as_str().unwrap();
    let (config, recipe) = (model(run), optimizer(run));
    config.check().unwrap();
    let init = tensors::read(&folder().join(format!("{name}_init.safetensors")));
    let reference = tensors::read(&folder().join(format!("{name}_f64.safetensors")));
    let start = init.iter().filter_map(|(name, tensor)| {
        let values = tensor.data.iter().map(|&v| v as f32).collect();
        Some((name.strip_prefix("init.")?.to_string(), HostTensor::new(tensor.shape.clone(), values)?))
    });
    let mut weights = Params::from_entries(start.collect()).arrange(&config).unwrap();
    let mut averages = [weights.clone(), weights.clone()];
    let rates: Vec<f64> = run["ema_rates"].as_array().unwrap().iter().map(|rate| rate.as_f64().unwrap()).collect();
    assert_eq!(rates, [0.997, 0.9]);

    let schedule = ScheduleConfig {
        iterations: run["steps"].as_u64().unwrap(),
        max_wallclock_seconds: 0.0,
        warmdown_frac: Some(number(&run["optim"], "warmdown_frac")),
        min_lr: number(&run["optim"], "min_lr"),
        swa: SwaConfig { enabled: false, ..SwaConfig::default() },
        qat: QatConfig { enabled: false, ..QatConfig::default() },
        ..ScheduleConfig::default()
    };
    let schedule = Schedule::new(&schedule, &recipe.muon).repeating(config.recurrence.as_ref());
    let mut optimizer = Optimizer::new(&recipe, &config);
    let gap = |what: &str| number(&run["max_abs_gap"], &format!("f32 vs f64 {what}"));
    let check = |what: &str, found: &Params| {
        let allowed = SPREAD_FACTOR * gap(what);
        for (tensor, values) in found.iter() {
            let expected = &reference[&format!("{what}.{tensor}")];
            let pairs = values.data().iter().zip(&expected.data);
            let worst = pairs.map(|(&found, &want)| (f64::from(found) - want).abs()).fold(0.0, f64::max);
            assert!(worst <= allowed, "{name} {} {what} {tensor}: {worst:e} of {allowed:e}", engine.kind());
        }
    };

    let (micro_steps, row) = (count(run, "micro_steps"), count(run, "T"));
    let per_micro = count(run, "rows") * row;
    let (inputs, targets) = (init["inputs"].ids(), init["targets"].ids());
    for step in 0..count(run, "steps") {
        let logged = &run["logs"]["f64"][step];
        let plan = schedule.plan(step as u64, 0.0);
        assert!((plan.lr_multiplier - number(logged, "lr_multiplier")).abs() < 1e-14, "{name} step {step}");
        assert!((plan.muon_momentum - number(logged, "muon_momentum")).abs() < 1e-14, "{name} step {step}");
        assert_eq!(plan.phase > 0, logged["looping"] == true, "{name} step {step}");
        let network = config.clone().in_phase(plan.phase);
        let (mut gradients, mut loss) = (Params::zeros(&config), 0.0);
        for micro in 0..micro_steps {
            let at = (step * micro_steps + micro) * per_micro;
            let batch = TokenBatch {
                inputs: inputs[at..at + per_micro].to_vec(),
                targets: targets[at..at + per_micro].to_vec(),
                seq_len: row,
            };
            let found =
                engine.loss_and_gradients(&network, &weights, &batch, golf_harness::optim::FakeQuant::Off).unwrap();
            gradients.add_assign(&found.gradients);
            loss += f64::from(found.loss) / micro_steps as f64;
        }
        let share = 1.0 / micro_steps as f32;
        gradients.iter_mut().for_each(|(_, tensor)| tensor.data_mut().iter_mut().for_each(|value| *value *= share));
        clip_global_norm(&mut gradients, recipe.grad_clip_norm);
        optimizer.step(&mut weights, &gradients, &plan);
        for (average, rate) in averages.iter_mut().zip(&rates) {
            move_average(average, &weights, *rate);
        }
        let want = number(logged, "loss");
        assert!((loss - want).abs() < 1e-4, "{name} {} step {step}: {loss} for {want}", engine.kind());
        if step == 0 {
            check("after1", &weights);
        }
    }
    check("final", &weights);
    check("ema0.997", &averages[0]);
    check("ema0.9", &averages[1]);
}
