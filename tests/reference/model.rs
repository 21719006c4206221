//! Reference numbers: forward, gradients, probes.

use std::path::{Path, PathBuf};

use golf_harness::data::TokenBatch;
use golf_harness::engine::{
    DfdxEngine, Engine, EngineError, EngineKind, KernelsEngine, Precision, Scorer, Window, create,
};
use golf_harness::model::{ModelConfig, Params, RopePrecision, RopeTables, bigram_rows, init};
use golf_harness::optim::{FakeQuant, fake_quant_limit, fake_quantize_rows};
use golf_harness::random::RandomStream;
use serde_json::Value;

use crate::support::{ReferenceSet, on_a_gpu, on_both_sets};
use crate::tensors::{self, Reference};

on_both_sets! {
    likelihoods_and_logits_match,
    gradients_match,
    gradients_match_under_fake_quantization,
    bigram_rows_and_rope_tables_match,
    values_between_the_layers_match,
    fake_quantized_weights_match,
}

/// What an engine may be off by on likelihoods and logits, relative to max(1, value).
fn forward_tolerance(engine: &dyn Engine) -> f64 {
    if engine.kind() == EngineKind::Kernels { 1e-5 } else { 2e-5 }
}

/// What an engine may be off by on a tensor's gradient, in the relative 2-norm.
fn gradient_tolerance(engine: &dyn Engine) -> f64 {
    if engine.kind() == EngineKind::Kernels { 5e-5 } else { 1e-4 }
}

/// One reference network: weights, tokens and numbers under a common prefix.
pub struct Set {
    folder: PathBuf,
    pub tag: String,
    pub config: ModelConfig,
    pub weights: Params,
    pub rows: Vec<Vec<u16>>,
}

impl Set {
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}_{name}.safetensors", self.tag))
    }

    fn batch(&self) -> TokenBatch {
        let seq_len = self.rows[0].len() - 1;
        TokenBatch {
            inputs: self.rows.iter().flat_map(|row| row[..seq_len].to_vec()).collect(),
            targets: self.rows.iter().flat_map(|row| row[1..].to_vec()).collect(),
            seq_len,
        }
    }

    fn scorer(&self, engine: &dyn Engine) -> Box<dyn Scorer> {
        engine.scorer(&self.config, &self.weights).unwrap()
    }
}

/// Every network of a set of reference files.
pub fn sets(set: ReferenceSet) -> Vec<Set> {
    let mut sets = Vec::new();
    let folder = set.folder();
    let own = folder.join("models.json");
    let list = if own.exists() { own } else { folder.join("MANIFEST.json") };
    let list: Value = serde_json::from_slice(&std::fs::read(&list).unwrap()).unwrap();
    for (file, entry) in list["files"].as_object().unwrap() {
        let Some(tag) = file.strip_suffix("_weights.safetensors") else { continue };
        let io = folder.join(format!("{tag}_io.safetensors"));
        if io.exists() {
            sets.push(network(&folder, tag, &entry["config"]));
        }
    }
    assert!(!sets.is_empty());
    sets
}

fn network(folder: &Path, tag: &str, entry: &Value) -> Set {
    let size = |key: &str| usize::try_from(entry[key].as_u64().unwrap()).unwrap();
    let config = ModelConfig {
        vocab_size: size("vocab"),
        num_layers: size("layers"),
        model_dim: size("dim"),
        num_heads: size("heads"),
        num_kv_heads: size("kv"),
        mlp_mult: entry["mlp_mult"].as_f64().unwrap(),
        tie_embeddings: entry["tied"].as_bool().unwrap_or(true),
        rope_base: entry["rope_base"].as_f64().unwrap(),
        rope_tables: if entry["rope"] == "bf16" { RopePrecision::Bf16 } else { RopePrecision::F32 },
        logit_softcap: entry["softcap"].as_f64().unwrap(),
        bigram_vocab_size: size("bg_vocab"),
        bigram_dim: size("bg_dim"),
        ..ModelConfig::default()
    };
    let file = |name: &str| folder.join(format!("{tag}_{name}.safetensors"));
    let weights = tensors::params(&file("weights")).arrange(&config).unwrap();
    let tokens = &tensors::read(&file("io"))["tokens"];
    let rows = tokens.ids().chunks(tokens.shape[1]).map(<[u16]>::to_vec).collect();
    Set { folder: folder.to_path_buf(), tag: tag.to_string(), config, weights, rows }
}

/// Every engine, on a GPU too where there is one.
fn engines() -> Vec<Box<dyn Engine>> {
    let kinds = <EngineKind as clap::ValueEnum>::value_variants().iter();
    kinds.map(|&kind| create(kind)).chain(on_a_gpu()).collect()
}

fn likelihoods_and_logits_match(set: ReferenceSet) {
    for set in sets(set) {
        let io = tensors::read(&set.file("io"));
        for engine in engines() {
            let kind = engine.label();
            let scorer = set.scorer(&*engine);
            let windows: Vec<_> = set.rows.iter().map(|row| Window { tokens: row, first_scored: 0 }).collect();
            let nll = scorer.nll(&windows).unwrap().concat();
            let error = io["nll_f64"].largest_error(&nll);
            println!("{} {kind}: nll {error:.2e}", set.tag);
            assert!(error < forward_tolerance(&*engine), "{} {kind}: nll off by {error:e}", set.tag);

            if let Some(expected) = io.get("logits_f64") {
                let inputs = set.rows[0].len() - 1;
                let logits: Vec<f32> = set.rows.iter().flat_map(|row| scorer.logits(&row[..inputs]).unwrap()).collect();
                let error = expected.largest_error(&logits);
                assert!(error < forward_tolerance(&*engine), "{} {kind}: logits off by {error:e}", set.tag);
            }
        }
    }
}

/// PyTorch under bfloat16 autocast and ours round at other places, so tokens differ and their mean hardly does.
///
/// With embeddings four times as large, the network as it was drawn, a token costs 7 nats, far more than chance, and
/// logits reach where bfloat16 resolves 1/16: PyTorch itself is 3.6e-3 nats from double precision there.
#[test]
fn bf16_scores_match_pytorch_autocast() {
    bf16_scores_match("", 0.25);
    bf16_scores_match("drawn_", 1.0);
}

fn bf16_scores_match(prefix: &str, factor: f32) {
    let file = |set: &Set| set.folder.join("bf16_autocast.safetensors");
    let mut set = sets(ReferenceSet::Shipped).into_iter().find(|set| set.tag == "4L" && file(set).exists()).unwrap();
    set.weights.get_mut("tok_emb.weight").unwrap().data_mut().iter_mut().for_each(|value| *value *= factor);
    let expected = tensors::read(&file(&set));
    let autocast = &expected[&format!("{prefix}nll_bf16")].data;
    let exact = &expected[&format!("{prefix}nll_f64")].data;
    let rows: Vec<_> = expected["tokens"].ids().chunks(expected["tokens"].shape[1]).map(<[u16]>::to_vec).collect();
    let windows: Vec<_> = rows.iter().map(|row| Window { tokens: row, first_scored: 0 }).collect();
    let scorer = KernelsEngine::scoring_in(Precision::Bf16).scorer(&set.config, &set.weights).unwrap();
    let found: Vec<f64> = scorer.nll(&windows).unwrap().concat().into_iter().map(f64::from).collect();

    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let apart =
        |a: &[f64], b: &[f64]| (a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / a.len() as f64).sqrt();
    let (difference, noise) = (mean(&found) - mean(autocast), apart(autocast, exact));
    let (ours, between) = (apart(&found, exact), apart(&found, autocast));
    println!(
        "embeddings x {factor}: means {difference:+.2e} nats apart; rms of a token: {between:.2e} apart, \
         {ours:.2e} and {noise:.2e} from f64"
    );
    assert!(difference.abs() < 2e-3, "means differ by {difference:e} nats");
    // Rounded at all, and no more than PyTorch rounds; two independent draws of that noise lie sqrt(2) apart.
    assert!((0.3 * noise..1.5 * noise).contains(&ours));
    assert!(between < 2.0 * noise);
}

#[test]
fn only_the_targets_asked_for_come_back() {
    let set = &sets(ReferenceSet::Shipped)[0];
    for engine in engines() {
        let kind = engine.label();
        let scorer = set.scorer(&*engine);
        let nll = |first_scored| scorer.nll(&[Window { tokens: &set.rows[0], first_scored }]).unwrap().remove(0);
        let all = nll(0);
        for first in [1, 5, all.len() - 1, all.len()] {
            let tail = nll(first);
            assert_eq!(tail.len(), all.len() - first);
            // Kernels computes the last block for these positions alone: products of other shapes, rounded otherwise.
            let exact = engine.kind() == EngineKind::Dfdx;
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= if exact { 0.0 } else { 2e-6 * b.abs().max(1.0) };
            assert!(tail.iter().zip(&all[first..]).all(close), "{kind} from {first}");
        }
    }
}

fn gradients_match(set: ReferenceSet) {
    for set in sets(set) {
        let io = tensors::read(&set.file("io"));
        for engine in engines() {
            compare_gradients(&set, &*engine, FakeQuant::Off, io["loss_f64"].data[0], &set.file("grads_f64"));
        }
    }
}

fn gradients_match_under_fake_quantization(set: ReferenceSet) {
    let mut checked = 0;
    for set in sets(set).iter().filter(|set| set.file("qat_grads").exists()) {
        let summary = std::fs::read(set.folder.join("model_summary.json")).unwrap();
        let summary: Value = serde_json::from_slice(&summary).unwrap();
        let loss = summary[&set.tag]["qat_loss_f64"].as_f64().unwrap();
        for engine in engines() {
            compare_gradients(set, &*engine, FakeQuant::On, loss, &set.file("qat_grads"));
        }
        checked += 1;
    }
    assert!(checked > 0);
}

fn compare_gradients(set: &Set, engine: &dyn Engine, fake_quant: FakeQuant, loss: f64, expected: &Path) {
    let kind = engine.label();
    let found = engine.loss_and_gradients(&set.config, &set.weights, &set.batch(), fake_quant).unwrap();
    let error = (f64::from(found.loss) - loss).abs() / loss;
    assert!(error < forward_tolerance(engine), "{} {kind}: loss {} where {loss} is expected", set.tag, found.loss);

    let expected = tensors::read(expected);
    assert_eq!(found.gradients.iter().len(), expected.len());
    let mut worst = (0.0, "");
    for (name, gradient) in found.gradients.iter().filter(|(_, gradient)| !gradient.is_empty()) {
        let error = expected[name].relative_distance(gradient.data());
        assert!(error < gradient_tolerance(engine), "{} {kind} {name}: gradient off by {error:e}", set.tag);
        if error > worst.0 {
            worst = (error, name);
        }
    }
    println!("{} {kind} {fake_quant:?}: worst gradient {:.2e} ({})", set.tag, worst.0, worst.1);
}

fn bigram_rows_and_rope_tables_match(set: ReferenceSet) {
    let mut checked = 0;
    for set in sets(set).iter().filter(|set| set.file("probes_f64").exists()) {
        let probes = tensors::read(&set.file("probes_f64"));
        if let Some(expected) = probes.get("bigram_hash_ids") {
            let inputs = set.rows[0].len() - 1;
            let rows = set.rows.iter().flat_map(|row| bigram_rows(&row[..inputs], set.config.bigram_vocab_size));
            assert!(rows.map(|row| row as f64).eq(expected.data.iter().copied()), "{}", set.tag);
        }
        let (cos, sin) = (&probes["rope_cos"], &probes["rope_sin"]);
        let tables = RopeTables::new(&set.config, cos.shape[0]);
        assert_eq!(cos.shape[1], tables.half);
        // bf16 tables are exact; single-precision ones carry the rounding of their angles.
        let tolerance = if set.config.rope_tables == RopePrecision::Bf16 { 0.0 } else { 4e-6 };
        for (expected, found) in [(cos, &tables.cos), (sin, &tables.sin)] {
            let error = expected.largest_error(found);
            assert!(error <= tolerance, "{}: rope table off by {error:e}", set.tag);
        }
        checked += 1;
    }
    assert!(checked > 0);
}

fn values_between_the_layers_match(set: ReferenceSet) {
    let mut checked = 0;
    for set in sets(set).iter().filter(|set| set.file("probes_f64").exists()) {
        let probes = tensors::read(&set.file("probes_f64"));
        let found = DfdxEngine.activations(&set.config, &set.weights, &set.batch()).unwrap().0;
        let compared_elsewhere = ["bigram_hash_ids", "rope_cos", "rope_sin"];
        for (name, expected) in probes.iter().filter(|(name, _)| !compared_elsewhere.contains(&name.as_str())) {
            let found = found.get(name).unwrap_or_else(|| panic!("{}: nothing is called {name}", set.tag));
            assert_eq!(found.len(), expected.shape.iter().product::<usize>(), "{} {name}", set.tag);
            let error = expected.relative_distance(found);
            assert!(error < 2e-5, "{} {name}: off by {error:e}", set.tag);
            checked += 1;
        }
    }
    let recorded = if set == ReferenceSet::Shipped { 37 } else { 25 };
    assert!(checked >= recorded, "{checked}");
}

fn fake_quantized_weights_match(set: ReferenceSet) {
    let mut checked = 0;
    for set in sets(set).iter().filter(|set| set.file("qat_weights").exists()) {
        for (name, expected) in tensors::read(&set.file("qat_weights")) {
            let Some(weight) = set.weights.get(&name) else { continue };
            let (_, columns) = weight.matrix_sides().unwrap();
            let mut values = weight.data().to_vec();
            fake_quantize_rows(&mut values, columns, fake_quant_limit(&name).unwrap());
            let Reference { data, .. } = expected;
            assert_eq!(values.len(), data.len(), "{name}");
            assert!(values.iter().zip(&data).all(|(&found, &expected)| found == expected as f32), "{name}");
            checked += 1;
        }
    }
    assert!(checked > 0);
}

#[test]
fn neither_threads_nor_neighbors_change_a_bit() {
    // Sizes at which the matrix products of both engines are split between threads.
    let config = ModelConfig { num_layers: 2, model_dim: 128, num_heads: 4, num_kv_heads: 2, ..ModelConfig::default() };
    let mut weights = init(&config, 3);
    // The projections start at zero; something has to flow through them.
    for (name, tensor) in weights.iter_mut().filter(|(name, _)| name.ends_with("proj.weight")) {
        let mut stream = RandomStream::new(3, name);
        tensor.data_mut().iter_mut().for_each(|value| *value = 0.1 * stream.normal() as f32);
    }
    let mut stream = RandomStream::new(3, "tokens");
    let mut rows = |count: usize, length: usize| -> Vec<Vec<u16>> {
        (0..count).map(|_| (0..length).map(|_| stream.below(1024) as u16).collect()).collect()
    };
    let windows = rows(5, 301);
    // The smoke run's micro-batch, of fewer tokens than a group may have, and a larger one that ends in a part of a group.
    let batches = [8, 30].map(|count| {
        let batch = rows(count, 129);
        TokenBatch {
            inputs: batch.iter().flat_map(|row| row[..128].to_vec()).collect(),
            targets: batch.iter().flat_map(|row| row[1..].to_vec()).collect(),
            seq_len: 128,
        }
    });
    for engine in engines() {
        let kind = engine.label();
        let scorer = engine.scorer(&config, &weights).unwrap();
        let window = |i: usize| Window { tokens: &windows[i], first_scored: 200 };
        let alone: Vec<_> = (0..5).map(|i| scorer.nll(&[window(i)]).unwrap().remove(0)).collect();
        let train = |batch| engine.loss_and_gradients(&config, &weights, batch, FakeQuant::Off).unwrap();
        let gradients = batches.each_ref().map(train);
        for threads in [1, 2, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let together = pool.install(|| scorer.nll(&[4, 3, 2, 1, 0].map(window)).unwrap());
            assert!(together.iter().rev().eq(&alone), "{kind}, {threads} threads");
            let again = pool.install(|| batches.each_ref().map(train));
            for (again, gradients) in again.iter().zip(&gradients) {
                assert_eq!(again.loss.to_bits(), gradients.loss.to_bits(), "{kind}, {threads} threads");
                assert_eq!(again.gradients, gradients.gradients, "{kind}, {threads} threads");
            }
        }
    }
}

#[test]
fn the_future_changes_nothing_before_it() {
    let set = &sets(ReferenceSet::Shipped)[0];
    for engine in engines() {
        let kind = engine.label();
        let scorer = set.scorer(&*engine);
        let mut changed = set.rows[0].clone();
        let cut = changed.len() / 2;
        changed[cut..].iter_mut().for_each(|id| *id = (*id + 1) % set.config.vocab_size as u16);
        let nll = |tokens: &[u16]| scorer.nll(&[Window { tokens, first_scored: 0 }]).unwrap().remove(0);
        let (before, after) = (nll(&set.rows[0]), nll(&changed));
        // Target `cut` is the first that changed; the likelihoods of those before it are functions of the past.
        assert_eq!(before[..cut - 1], after[..cut - 1], "{kind}");
        assert_ne!(before[cut..], after[cut..], "{kind}");
    }
}

#[test]
fn input_that_cannot_be_scored_is_an_error() {
    let set = &sets(ReferenceSet::Shipped)[0];
    let vocab = set.config.vocab_size as u16;
    for engine in engines() {
        let scorer = set.scorer(&*engine);
        let error = |tokens: &[u16]| scorer.nll(&[Window { tokens, first_scored: 0 }]).unwrap_err();
        assert!(matches!(error(&[]), EngineError::Window { tokens: 0 }));
        assert!(matches!(error(&[1]), EngineError::Window { tokens: 1 }));
        assert!(matches!(error(&[1, vocab, 2]), EngineError::Token { position: 1, .. }));
        assert!(scorer.logits(&[]).is_err() && scorer.logits(&[vocab]).is_err());

        let ragged = TokenBatch { inputs: vec![1; 5], targets: vec![1; 5], seq_len: 2 };
        let result = engine.loss_and_gradients(&set.config, &set.weights, &ragged, FakeQuant::Off);
        assert!(matches!(result, Err(EngineError::Batch { inputs: 5, .. })));
        let other = ModelConfig { num_layers: set.config.num_layers + 1, ..set.config.clone() };
        assert!(matches!(engine.scorer(&other, &set.weights), Err(EngineError::Layout(_))));
    }
}
