//! The networks of the leaderboard: every feature of the model section, forward and backward.
//!
//! The engines beside one another on networks of one feature each, beside PyTorch in double precision
//! (`ci/reference/family.py`), and beside the scripts' own modules in it (`GOLF_FAMILY_DIR`).

use std::path::{Path, PathBuf};

use golf_harness::data::TokenBatch;
use golf_harness::engine::{Engine, EngineKind, Window, create};
use golf_harness::model::{
    AttentionGate, InitRule, Lanes, ModelConfig, ParallelResidual, Params, Recurrence, RopePrecision, RopeTables,
    Skips, ValueEmbedding, init,
};
use golf_harness::optim::FakeQuant;
use golf_harness::random::RandomStream;
use serde_json::Value;

use crate::shipped::shipped;
use crate::support::named_by;
use crate::tensors;

mod needs_data {
    #[test]
    #[ignore = "needs GOLF_FAMILY_DIR"]
    fn networks_follow_the_scripts() {
        assert!(super::networks_follow(&super::folder()) >= 15);
    }

    #[test]
    #[ignore = "needs GOLF_FAMILY_DIR"]
    fn rope_tables_are_the_scripts() {
        super::rope_tables_are_the_scripts();
    }
}

/// What likelihoods may be off by, relative to max(1, value), and gradients, in the relative 2-norm.
const LIKELIHOOD: f64 = 2e-5;
const GRADIENT: f64 = 1e-4;

fn folder() -> PathBuf {
    named_by("GOLF_FAMILY_DIR")
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("MANIFEST.json")).unwrap()).unwrap()
}

fn both() -> [Box<dyn Engine>; 2] {
    [EngineKind::Dfdx, EngineKind::Kernels].map(create)
}

fn count(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap_or_else(|| panic!("a count: {value}"))).unwrap()
}

fn counts(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(count).collect()
}

/// The graph of an entry, as the manifest of the reference numbers tells it.
fn config(entry: &Value) -> ModelConfig {
    let graph = &entry["effective"];
    let (layers, dim, heads) = (count(&graph["layers"]), count(&graph["dim"]), count(&graph["heads"]));
    let rope_dims = count(&graph["rope_dims"]);
    let xsa = counts(&graph["xsa_blocks"]);
    assert!(xsa.iter().copied().eq(layers - xsa.len()..layers));
    let bigram = &graph["bigram"];
    let states = graph["states"].as_object().unwrap();
    // A loop of two blocks, run three times in its last state; a list of the same blocks, inserted once.
    let last = counts(
        &states.values().max_by_key(|state| state["virtual_order"].as_array().unwrap().len()).unwrap()["virtual_order"],
    );
    let is_insert = entry["pr"] == 1334;
    let recurrence = (last.len() > layers).then(|| match is_insert {
        true => Recurrence::Insert { blocks: vec![1, 2], from_step: 3000 },
        false => {
            let from_fraction = if states.len() == 3 { vec![0.5, 0.65] } else { vec![0.5] };
            Recurrence::Loop { first: 1, last: 2, repeats: 2, from_fraction }
        }
    });
    let parallel = &graph["parallel"];
    let lanes = match (parallel["kind"].as_str(), parallel["skips_after_split"].as_str()) {
        (Some("two lanes"), Some("lost")) => Lanes::TwoSkipsLost,
        (Some("two lanes"), _) => Lanes::Two,
        _ => Lanes::One,
    };
    let values = &graph["value_embedding"];
    ModelConfig {
        vocab_size: count(&graph["vocab"]),
        num_layers: layers,
        model_dim: dim,
        num_heads: heads,
        num_kv_heads: count(&graph["kv_heads"]),
        mlp_mult: count(&graph["mlp_hidden"]) as f64 / dim as f64,
        tie_embeddings: graph["tied"].as_bool().unwrap(),
        rope_base: graph["rope_base"].as_f64().unwrap(),
        logit_softcap: graph["softcap"].as_f64().unwrap(),
        bigram_vocab_size: bigram.as_array().map_or(0, |sizes| count(&sizes[0])),
        bigram_dim: bigram.as_array().map_or(1, |sizes| count(&sizes[1])),
        smear: graph["smear"].as_bool().unwrap(),
        smear_stops_at_begin: graph["smear_stops_at"].as_u64() == Some(1),
        attention_gate: graph["attention_gate"].as_object().map(|gate| {
            let number = |name: &str| gate[name].as_f64().unwrap();
            let (factor, slope) = (number("factor"), number("slope"));
            AttentionGate { width: count(&gate["width"]), factor, slope, init_std: 0.0 }
        }),
        skips: if graph["skip_gates"] == true { Skips::Gated } else { Skips::Plain },
        mlp_negative_slope: if graph["activation"] == "relu squared" { 0.0 } else { 0.5 },
        rope_dims: if rope_dims == dim / heads { 0 } else { rope_dims },
        rope_train_length: graph["rope_train_length"].as_u64().map(|length| length as usize),
        xsa_last_n: xsa.len(),
        ln_scale: graph["ln_scale"].as_bool().unwrap(),
        value_embedding: values
            .as_object()
            .map(|values| ValueEmbedding { dim: count(&values["width"]), blocks: counts(&values["blocks"]) }),
        recurrence,
        parallel_residual: parallel
            .as_object()
            .map(|parallel| ParallelResidual { start: count(&parallel["start"]), lanes }),
        ..ModelConfig::default()
    }
}

#[test]
fn networks_follow_pytorch() {
    assert_eq!(networks_follow(&shipped().join("family")), 6);
}

/// Holds both engines against every network of a folder; how many there are.
fn networks_follow(folder: &Path) -> usize {
    let manifest = manifest(folder);
    let networks = manifest["networks"].as_array().unwrap();
    for entry in networks {
        let name = entry["name"].as_str().unwrap();
        let file = |what: &str| folder.join(format!("{name}_{what}.safetensors"));
        let whole = config(entry);
        whole.check().unwrap_or_else(|error| panic!("{name}: {error}"));
        let weights =
            tensors::params(&file("weights")).arrange(&whole).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (io, grads) = (tensors::read(&file("io")), tensors::read(&file("grads_f64")));
        let tokens = &io["tokens"];
        let rows: Vec<Vec<u16>> = tokens.ids().chunks(tokens.shape[1]).map(<[u16]>::to_vec).collect();
        for state in entry["effective"]["states"].as_object().unwrap().keys() {
            let (suffix, phase) = match state.as_str() {
                "only" => (String::new(), None),
                "off" | "phase0" => (format!(".{state}"), Some(0)),
                "on" | "phase1" => (format!(".{state}"), Some(1)),
                "phase2" => (format!(".{state}"), Some(2)),
                other => panic!("{name}: state {other}"),
            };
            let config = phase.map_or(whole.clone(), |phase| whole.clone().in_phase(phase));
            for engine in both() {
                let at = format!("{name}{suffix} {}", engine.kind());
                let scorer = engine.scorer(&config, &weights).unwrap_or_else(|error| panic!("{at}: {error}"));
                let windows: Vec<_> = rows.iter().map(|row| Window { tokens: row, first_scored: 0 }).collect();
                let error = io[&format!("nll_f64{suffix}")].largest_error(&scorer.nll(&windows).unwrap().concat());
                assert!(error < LIKELIHOOD, "{at}: likelihoods off by {error:e}");

                let seq_len = tokens.shape[1] - 1;
                let batch = TokenBatch {
                    inputs: rows.iter().flat_map(|row| row[..seq_len].to_vec()).collect(),
                    targets: rows.iter().flat_map(|row| row[1..].to_vec()).collect(),
                    seq_len,
                };
                let found = engine.loss_and_gradients(&config, &weights, &batch, FakeQuant::Off).unwrap();
                let mut compared = 0;
                for (tensor, gradient) in found.gradients.iter() {
                    let Some(expected) = grads.get(&format!("{tensor}{suffix}")) else {
                        panic!("{at}: no reference gradient of {tensor}")
                    };
                    let error = expected.relative_distance(gradient.data());
                    assert!(error < GRADIENT, "{at} {tensor}: gradient off by {error:e}");
                    compared += 1;
                }
                println!("{at}: likelihoods {error:.1e}, {compared} gradients");
            }
        }
    }
    networks.len()
}

fn rope_tables_are_the_scripts() {
    let manifest = manifest(&folder());
    let tables = tensors::read(&folder().join("rope_tables.safetensors"));
    let mut compared = 0;
    for (name, case) in manifest["rope_tables"].as_object().unwrap() {
        let Some(rotated) = case["r"].as_u64() else { continue };
        let width = count(&case["d"]);
        let rope_dims = if rotated as usize == width { 0 } else { rotated as usize };
        let config = ModelConfig { rope_dims, rope_train_length: Some(count(&case["n0"])), ..ModelConfig::default() };
        assert_eq!(config.head_dim(), width);
        let bf16 = ModelConfig { rope_tables: RopePrecision::Bf16, ..config.clone() };
        // An angle of 2,047 in single precision is known to 6e-5; bfloat16 tables are exact.
        for (prefix, config, tolerance) in [("", config, 2e-4), ("bf16_eager_", bf16, 0.0)] {
            let Some(positions) = tables.get(&format!("{prefix}{name}.positions")) else { continue };
            let found = RopeTables::new(&config, count(&case["T"]));
            for (what, found) in [("cos", &found.cos), ("sin", &found.sin)] {
                let half = rotated as usize / 2;
                let rows = positions.data.iter().flat_map(|&at| &found[at as usize * half..(at as usize + 1) * half]);
                let rows: Vec<f32> = rows.copied().collect();
                let error = tables[&format!("{prefix}{name}.{what}")].largest_error(&rows);
                assert!(error <= tolerance, "{prefix}{name} {what}: off by {error:e}");
            }
            compared += 1;
        }
    }
    assert!(compared >= 7, "{compared}");
}

/// A small network with nothing that is not asked for.
fn plain() -> ModelConfig {
    ModelConfig {
        vocab_size: 50,
        num_layers: 4,
        model_dim: 24,
        num_heads: 3,
        num_kv_heads: 1,
        mlp_mult: 2.0,
        bigram_vocab_size: 0,
        smear: false,
        ..ModelConfig::default()
    }
}

/// A network for each feature, and one with as many as go together.
fn networks() -> Vec<(&'static str, ModelConfig)> {
    let looped = Recurrence::Loop { first: 1, last: 2, repeats: 2, from_fraction: vec![0.5] };
    let inserted = Recurrence::Insert { blocks: vec![1, 2], from_step: 10 };
    let values = |dim| Some(ValueEmbedding { dim, blocks: vec![3, 1] });
    let gate = |width, factor| Some(AttentionGate { width, factor, slope: 0.5, init_std: 0.0 });
    let parallel = |start, lanes| Some(ParallelResidual { start, lanes });
    vec![
        ("plain", plain()),
        ("smear", ModelConfig { smear: true, ..plain() }),
        ("smear that stops", ModelConfig { smear: true, smear_stops_at_begin: true, vocab_size: 4, ..plain() }),
        ("bigram alone", ModelConfig { bigram_vocab_size: 32, bigram_dim: 16, ..plain() }),
        ("no skips", ModelConfig { skips: Skips::None, ..plain() }),
        ("gated skips", ModelConfig { skips: Skips::Gated, ..plain() }),
        ("no mix", ModelConfig { resid_mix: false, ..plain() }),
        ("leaky", ModelConfig { mlp_negative_slope: 0.5, ..plain() }),
        ("partial rotation", ModelConfig { rope_dims: 4, ..plain() }),
        ("larger base", ModelConfig { rope_dims: 4, rope_train_length: Some(8), ..plain() }),
        ("own value excluded", ModelConfig { xsa_last_n: 2, ..plain() }),
        ("gated heads", ModelConfig { attention_gate: gate(3, 2.0), ..plain() }),
        ("heads gated by all channels", ModelConfig { attention_gate: gate(24, 1.0), xsa_last_n: 2, ..plain() }),
        ("scaled norms", ModelConfig { ln_scale: true, ..plain() }),
        ("value embedding", ModelConfig { value_embedding: values(10), xsa_last_n: 4, ..plain() }),
        ("value embedding without projection", ModelConfig { value_embedding: values(8), ..plain() }),
        ("loop", ModelConfig { recurrence: Some(looped.clone()), skips: Skips::Gated, ..plain() }),
        ("loop off", ModelConfig { recurrence: Some(looped.clone()), ..plain() }.in_phase(0)),
        ("inserted", ModelConfig { recurrence: Some(inserted), skips: Skips::Gated, ..plain() }),
        ("one lane", ModelConfig { parallel_residual: parallel(2, Lanes::One), ..plain() }),
        ("two lanes", ModelConfig { parallel_residual: parallel(2, Lanes::Two), num_layers: 6, ..plain() }),
        (
            "two lanes, skips lost",
            ModelConfig {
                parallel_residual: parallel(4, Lanes::TwoSkipsLost),
                num_layers: 6,
                skips: Skips::Gated,
                ..plain()
            },
        ),
        (
            "everything",
            ModelConfig {
                bigram_vocab_size: 32,
                bigram_dim: 16,
                smear: true,
                skips: Skips::Gated,
                mlp_negative_slope: 0.5,
                rope_dims: 4,
                xsa_last_n: 4,
                ln_scale: true,
                attention_gate: gate(5, 2.0),
                value_embedding: values(10),
                recurrence: Some(looped),
                parallel_residual: parallel(3, Lanes::Two),
                init: InitRule::OrthogonalAnySize,
                ..plain()
            },
        ),
    ]
}

/// Weights without a zero or a one that would hide a term.
fn weights(config: &ModelConfig) -> Params {
    let mut weights = init(config, 3);
    let mut stream = RandomStream::new(4, "weights");
    for (_, tensor) in weights.iter_mut() {
        tensor.data_mut().iter_mut().for_each(|value| *value += (0.2 * stream.normal()) as f32);
    }
    weights
}

#[test]
fn both_engines_agree_on_every_feature() {
    for (name, config) in networks() {
        config.check().unwrap_or_else(|error| panic!("{name}: {error}"));
        let weights = weights(&config);
        let mut stream = RandomStream::new(5, "tokens");
        let (rows, seq_len) = (3, 13);
        let tokens: Vec<u16> =
            (0..rows * (seq_len + 1)).map(|_| stream.below(config.vocab_size as u64) as u16).collect();
        let rows: Vec<&[u16]> = tokens.chunks(seq_len + 1).collect();
        let batch = TokenBatch {
            inputs: rows.iter().flat_map(|row| row[..seq_len].to_vec()).collect(),
            targets: rows.iter().flat_map(|row| row[1..].to_vec()).collect(),
            seq_len,
        };
        let [reference, kernels] = both();
        // Also from a position on, where the last visit is computed in part.
        for first_scored in [0, 7] {
            let windows: Vec<_> = rows.iter().map(|tokens| Window { tokens, first_scored }).collect();
            let nll = |engine: &dyn Engine| engine.scorer(&config, &weights).unwrap().nll(&windows).unwrap().concat();
            let (expected, found) = (nll(&*reference), nll(&*kernels));
            let worst = expected
                .iter()
                .zip(&found)
                .map(|(a, b)| f64::from((a - b).abs() / a.abs().max(1.0)))
                .fold(0.0, f64::max);
            assert!(worst < LIKELIHOOD, "{name} from {first_scored}: likelihoods {worst:e} apart");
        }
        let gradients = |engine: &dyn Engine| {
            engine.loss_and_gradients(&config, &weights, &batch, FakeQuant::Off).unwrap().gradients
        };
        let (expected, found) = (gradients(&*reference), gradients(&*kernels));
        for ((tensor, expected), (_, found)) in expected.iter().zip(found.iter()) {
            let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
            let pairs = expected.data().iter().zip(found.data());
            let apart = norm(&mut pairs.map(|(&a, &b)| f64::from(a) - f64::from(b)));
            let size = norm(&mut expected.data().iter().map(|&value| f64::from(value)));
            assert!(apart <= GRADIENT * size.max(1e-6), "{name} {tensor}: gradients {apart:e} apart of {size:e}");
        }
    }
}
