//! Muon, AdamW and schedules against PyTorch.

use std::collections::BTreeMap;
use std::path::Path;

use golf_harness::manifest::{AdamConfig, MuonConfig, OptimizerConfig, OrthogonalizerPrecision, ScheduleConfig};
use golf_harness::model::{ModelConfig, layout};
use golf_harness::optim::{AdamStep, FakeQuant, Group, Method, MuonStep, orthogonalize};
use golf_harness::train::Schedule;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::steps::SPREAD_FACTOR;
use crate::support::{ReferenceSet, on_both_sets};

on_both_sets! {
    muon_follows_pytorch_for_five_steps,
    adamw_follows_pytorch_for_five_steps,
    schedules_are_equal_in_every_bit,
    every_parameter_has_the_optimizer_of_the_reference,
}

/// Tensors of a reference file, widened to double precision.
struct Tensors(BTreeMap<String, (Vec<usize>, Vec<f64>)>);

impl Tensors {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let widen = |view: &safetensors::tensor::TensorView<'_>| match view.dtype() {
            Dtype::F32 => {
                view.data().chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
            }
            Dtype::F64 => view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
            other => panic!("{other:?}"),
        };
        Tensors(file.iter().map(|(name, view)| (name.to_string(), (view.shape().to_vec(), widen(&view)))).collect())
    }

    fn get(&self, name: &str) -> &[f64] {
        &self.0.get(name).unwrap_or_else(|| panic!("no tensor {name}")).1
    }

    fn f32(&self, name: &str) -> Vec<f32> {
        self.get(name).iter().map(|&value| value as f32).collect()
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// Norm of the difference over the norm of the reference.
fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let difference: f64 = found.iter().zip(expected).map(|(&f, e)| (f64::from(f) - e).powi(2)).sum();
    (difference / expected.iter().map(|e| e * e).sum::<f64>()).sqrt()
}

fn muon_follows_pytorch_for_five_steps(set: ReferenceSet) {
    let folder = set.folder();
    let tensors = Tensors::read(&folder.join("muon.safetensors"));
    let settings = &json(&folder.join("MANIFEST.json"))["files"]["muon.safetensors"];
    let (rates, momenta) = (numbers(&settings["lr"]), numbers(&settings["momentum"]));
    let names: Vec<&str> = tensors.0.keys().filter_map(|name| name.strip_suffix(".init")).collect();
    assert!(names.len() >= 3);
    for name in names {
        let sides = match tensors.0[&format!("{name}.init")].0[..] {
            [rows, columns] => (rows, columns),
            ref other => panic!("{name} {other:?}"),
        };
        for (precision, tag, reference) in
            [(OrthogonalizerPrecision::F32, "f32", "f64"), (OrthogonalizerPrecision::Bf16, "bf16", "bf16")]
        {
            // In f32 as near to the f64 run as PyTorch's own f32 run, times a factor: rounding depends on the
            // order of accumulation, and five iterations carry it on. In bf16 that order can flip a rounding
            // (2^-8 relative); with AVX2 kernels every bit agrees.
            let tolerance = |what: &str| match precision {
                OrthogonalizerPrecision::F32 => {
                    let own = tensors.f32(&format!("{name}.{what}.f32"));
                    SPREAD_FACTOR * relative_error(&own, tensors.get(&format!("{name}.{what}.f64")))
                }
                OrthogonalizerPrecision::Bf16 => 4e-3,
            };
            let config = MuonConfig {
                weight_decay: settings["weight_decay"].as_f64().unwrap(),
                newton_schulz_steps: settings["ns_steps"].as_u64().unwrap() as u32,
                precision,
                ..MuonConfig::default()
            };
            let gradient = tensors.f32(&format!("{name}.grad0"));
            let first = orthogonalize(&gradient, sides.0, sides.1, config.newton_schulz_steps, precision);
            let error = relative_error(&first, tensors.get(&format!("{name}.ns_of_grad0.{reference}")));
            let allowed = tolerance("ns_of_grad0");
            assert!(error <= allowed, "{name} {tag} orthogonalizer: {error:e} of {allowed:e}");

            let mut weight = tensors.f32(&format!("{name}.init"));
            let mut buffer = vec![0.0; weight.len()];
            for step in 0..5 {
                let gradient = tensors.f32(&format!("{name}.grad{step}"));
                let muon = MuonStep::new(&config, rates[step], momenta[step]);
                muon.apply(&mut weight, &mut buffer, Some(&gradient), sides);
                let what = format!("param_after{}", step + 1);
                let error = relative_error(&weight, tensors.get(&format!("{name}.{what}.{reference}")));
                let allowed = tolerance(&what);
                assert!(error <= allowed, "{name} {tag} {what}: {error:e} of {allowed:e}");
            }
            // The buffer involves no orthogonalizer: PyTorch's f32 bits exactly.
            assert_eq!(buffer, tensors.f32(&format!("{name}.momentum_after5.{tag}")), "{name} {tag} momentum");
        }
    }
}

fn adamw_follows_pytorch_for_five_steps(set: ReferenceSet) {
    let folder = set.folder();
    let tensors = Tensors::read(&folder.join("adamw.safetensors"));
    let settings = &json(&folder.join("MANIFEST.json"))["files"]["adamw.safetensors"];
    let betas = numbers(&settings["betas"]);
    let config = AdamConfig {
        beta1: betas[0],
        beta2: betas[1],
        eps: settings["eps"].as_f64().unwrap(),
        weight_decay: settings["weight_decay"].as_f64().unwrap(),
        embed_weight_decay: None,
    };
    let mut weight = tensors.f32("init");
    let (mut first, mut second) = (vec![0.0; weight.len()], vec![0.0; weight.len()]);
    for (step, rate) in numbers(&settings["lr"]).into_iter().enumerate() {
        let gradient = tensors.f32(&format!("grad{step}"));
        let adam = AdamStep::new(&config, rate, config.weight_decay, step as u64 + 1);
        adam.apply(&mut weight, &mut first, &mut second, Some(&gradient));
        let error = relative_error(&weight, tensors.get(&format!("param_after{}.float64", step + 1)));
        assert!(error < 2e-7, "{} step {}: {error:e}", folder.display(), step + 1);
    }
}

fn schedules_are_equal_in_every_bit(set: ReferenceSet) {
    let folder = set.folder();
    let reference = json(&folder.join("schedules.json"));
    let muon = MuonConfig::default();
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap();
    let switch = |row: &Value| if row["qat_active"].as_bool().unwrap() { FakeQuant::On } else { FakeQuant::Off };
    for row in reference["lr_mul_wallclock"].as_array().unwrap() {
        let config = ScheduleConfig {
            max_wallclock_seconds: number(row, "cap_ms") / 1000.0,
            warmdown_iters: row["warmdown_iters"].as_u64().unwrap(),
            ..ScheduleConfig::default()
        };
        let plan = Schedule::new(&config, &muon).plan(row["step"].as_u64().unwrap(), number(row, "elapsed_ms"));
        assert_eq!((plan.lr_multiplier, plan.fake_quant), (number(row, "lr_mul"), switch(row)), "{row}");
    }
    for row in reference["lr_mul_step_based"].as_array().unwrap() {
        let config = ScheduleConfig {
            max_wallclock_seconds: 0.0,
            iterations: row["iterations"].as_u64().unwrap(),
            warmdown_iters: row["warmdown_iters"].as_u64().unwrap(),
            ..ScheduleConfig::default()
        };
        let plan = Schedule::new(&config, &muon).plan(row["step"].as_u64().unwrap(), 0.0);
        assert_eq!((plan.lr_multiplier, plan.fake_quant), (number(row, "lr_mul"), switch(row)), "{row}");
    }
    let default = Schedule::new(&ScheduleConfig::default(), &muon);
    for row in reference["muon_momentum"].as_array().unwrap() {
        assert_eq!(default.muon_momentum(row["step"].as_u64().unwrap()), number(row, "momentum"), "{row}");
    }
}

fn every_parameter_has_the_optimizer_of_the_reference(set: ReferenceSet) {
    let optimizer = OptimizerConfig::default();
    let reference = json(&set.folder().join("schedules.json"));
    let assignment = reference["assignment_full_config"].as_object().unwrap();
    let specs = layout(&ModelConfig::default());
    assert_eq!(specs.len(), assignment.len());
    for spec in specs {
        let group = Group::of(spec.role, &optimizer, true);
        let found = match (group.method, group.learning_rate) {
            (Method::Muon, 0.025) => "muon",
            (Method::AdamW, 0.03) => "adamw_tok",
            (Method::AdamW, 0.02) => "adamw_scalar",
            other => panic!("{}: {other:?}", spec.name),
        };
        assert_eq!(assignment[&spec.name][0], found, "{}", spec.name);
    }
}
