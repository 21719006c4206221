//! One of the reference's training runs of thirty steps, followed by an engine: losses, gradient norms, schedule,
//! weights, late QAT and SWA. Shared with the library's own tests, which know engines that nobody else can make.

use std::path::{Path, PathBuf};

use golf_harness::data::{BatchGeometry, Loader};
use golf_harness::engine::{Engine, Window};
use golf_harness::manifest::{MICRO_BATCHES_PER_STEP, Manifest, OrthogonalizerPrecision};
use golf_harness::model::{Params, read_safetensors};
use golf_harness::optim::FakeQuant;
use golf_harness::train::{Schedule, Trainer};
use serde_json::Value;

/// A port may lie as far from the reference as the reference's own precisions lie apart, times this: each is one draw
/// of the same rounding noise.
pub const SPREAD_FACTOR: f64 = 3.0;

/// One of the two runs in one of its variants.
pub struct Run<'a> {
    pub folder: &'a Path,
    pub reference: &'a Value,
    pub name: &'a str,
    pub precision: OrthogonalizerPrecision,
    pub engine: &'a dyn Engine,
}

impl Run<'_> {
    fn manifest(&self) -> Manifest {
        let (config, settings) = (&self.reference["config"], &self.reference["runs"][self.name]["settings"]);
        let text = format!(
            "schema: golf-harness/manifest/v1\nname: reference\n\
             model: {{ vocab_size: {vocab}, num_layers: {layers}, model_dim: {dim}, num_heads: {heads}, \
             num_kv_heads: {kv}, mlp_mult: {mlp}, bigram_vocab_size: {buckets}, bigram_dim: {width}, \
             logit_softcap: {softcap}, rope_base: {base} }}\n\
             optimizer: {{ muon: {{ momentum_warmup_steps: {ramp} }} }}\n\
             schedule: {{ max_wallclock_seconds: 0, iterations: {iterations}, warmdown_iters: {warmdown}, \
             train_batch_tokens: {batch}, train_seq_len: {seq}, swa: {{ enabled: {swa}, every: {every} }}, \
             qat: {{ enabled: {qat} }} }}\n",
            vocab = config["vocab"],
            layers = config["layers"],
            dim = config["dim"],
            heads = config["heads"],
            kv = config["kv"],
            mlp = config["mlp_mult"],
            buckets = config["bg_vocab"],
            width = config["bg_dim"],
            softcap = config["softcap"],
            base = config["rope_base"],
            ramp = settings["mw"],
            iterations = settings["iterations"],
            warmdown = settings["warmdown"],
            batch = self.reference["train_batch_tokens"],
            seq = self.reference["seq"],
            swa = settings["swa"],
            every = settings["swa_every"].as_u64().unwrap_or(50),
            qat = settings["qat"],
        );
        let mut manifest = golf_harness::manifest::parse(&text, Path::new("reference.yaml")).unwrap();
        manifest.optimizer.muon.precision = self.precision;
        manifest
    }

    fn variant(&self, tag: &str) -> &Value {
        &self.reference["runs"][self.name]["variants"][tag]
    }

    fn weights(&self, file: &str, manifest: &Manifest) -> Params {
        read_safetensors(&self.folder.join(file)).unwrap().arrange(&manifest.model).unwrap()
    }

    /// Trains and compares with the variant `tag`; `other` is the variant whose distance to it sets the tolerance.
    pub fn follow(&self, tag: &str, other: &str) {
        let manifest = self.manifest();
        let geometry = BatchGeometry::new(
            manifest.schedule.train_batch_tokens,
            manifest.schedule.train_seq_len,
            MICRO_BATCHES_PER_STEP,
            1,
            0,
        );
        let vocab_size = manifest.model.vocab_size as u32;
        let mut loader = Loader::open(&[shard(self.folder, self.reference)], geometry.unwrap(), vocab_size).unwrap();
        let init = self.weights("train_init.safetensors", &manifest);
        let mut trainer = Trainer::new(self.engine, &manifest, init);
        let schedule = Schedule::new(&manifest.schedule, &manifest.optimizer.muon);

        let (expected, spread) = (rows(self.variant(tag)), rows(self.variant(other)));
        assert_eq!((expected.len(), spread.len()), (30, 30));
        let distance = |(a, b): (&Value, &Value)| METRICS.map(|key| (number(a, key) - number(b, key)).abs());
        let wider = |a: [f64; 2], b: [f64; 2]| [a[0].max(b[0]), a[1].max(b[1])];
        let is_qat = |row: &Value| row["qat"].as_bool() == Some(true);
        let widest_where = |counts: &dyn Fn(&Value) -> bool| {
            expected.iter().zip(spread).filter(|(row, _)| counts(row)).map(distance).fold([0.0; 2], wider)
        };
        // Single precision drifts apart step by step. bfloat16, and a weight that rounds to another step of the
        // quantizer's grid, make jumps instead, now here, now there: their distance is taken over all such steps.
        let mut stored = 0;
        let mut widest = match self.precision {
            OrthogonalizerPrecision::F32 => [0.0; 2],
            OrthogonalizerPrecision::Bf16 => widest_where(&|_| true),
        };
        let qat_widest = widest_where(&is_qat);
        for (step, (expected, other)) in expected.iter().zip(spread).enumerate() {
            let plan = schedule.plan(step as u64, 0.0);
            let report = trainer.step(&plan, &mut loader).unwrap();
            let at = format!("{} {} {} {tag} step {}", self.folder.display(), self.engine.kind(), self.name, step + 1);
            assert_eq!(plan.lr_multiplier, number(expected, "lr_mul"), "{at}");
            assert_eq!(plan.muon_momentum, number(expected, "muon_momentum"), "{at}");
            assert_eq!(plan.fake_quant == FakeQuant::On, is_qat(expected), "{at}");
            assert_eq!(Some(trainer.snapshots()), expected["swa_count"].as_u64(), "{at}");
            widest = wider(widest, if is_qat(expected) { qat_widest } else { distance((expected, other)) });
            let jumps = [1.0, if self.precision == OrthogonalizerPrecision::Bf16 { NORM_IN_BF16 } else { 1.0 }];
            for (((key, found), widest), jumps) in
                METRICS.into_iter().zip([f64::from(report.loss), report.gradient_norm]).zip(widest).zip(jumps)
            {
                let want = number(expected, key);
                let tolerance = SPREAD_FACTOR * jumps * widest + ROUNDING * want.abs();
                assert!((found - want).abs() <= tolerance, "{at} {key}: {found} for {want} (allowed {tolerance:e})");
            }
            // Recorded for all steps, or for the first two alone.
            let micro_losses = expected["micro_losses"].as_array();
            assert!(step >= 2 || micro_losses.is_some(), "{at}");
            assert!(micro_losses.is_none_or(|losses| losses.len() == report.micro_losses.len()), "{at}");
            for (found, want) in report.micro_losses.iter().zip(micro_losses.into_iter().flatten()) {
                let want = want.as_f64().unwrap();
                let tolerance = 4.0 * SPREAD_FACTOR * widest[0] + 4.0 * ROUNDING * want;
                assert!((f64::from(*found) - want).abs() <= tolerance, "{at} micro loss: {found} for {want}");
            }
            let file = format!("train_{}_{}_after1.safetensors", self.name, file_tag(tag));
            if step == 0 && self.folder.join(&file).exists() {
                let tolerance = if tag == "bf16" { ONE_STEP_IN_BF16 } else { ONE_STEP };
                stored += 1;
                compare(trainer.weights().unwrap(), &self.weights(&file, &manifest), tolerance, &at);
            }
        }

        let finals = &self.variant(tag)["final"];
        let last = validate(self.engine, &manifest, trainer.weights().unwrap(), self.folder, self.reference);
        self.close(last, &finals["before_swa"], tag, "before SWA", &widest);
        let snapshots = trainer.snapshots();
        let weights = trainer.into_final_weights().unwrap();
        if snapshots > 1 {
            assert_eq!(finals["swa_count"].as_u64(), Some(snapshots));
            let averaged = validate(self.engine, &manifest, &weights, self.folder, self.reference);
            self.close(averaged, &finals["after_swa"], tag, "after SWA", &widest);
        }
        let file = format!("train_{}_{}_final.safetensors", self.name, file_tag(tag));
        if self.folder.join(&file).exists() {
            stored += 1;
            compare(&weights, &self.weights(&file, &manifest), ALL_STEPS, &format!("{} final", self.name));
        }
        // Of autocast runs no weights are stored.
        assert!(stored > 0 || tag == "autocast", "no weights of {} {tag} were compared", self.name);
    }

    fn close(&self, found: f64, expected: &Value, tag: &str, what: &str, widest: &[f64; 2]) {
        let want = number(expected, "plain_val_loss");
        let tolerance = SPREAD_FACTOR * widest[0] + ROUNDING * want;
        assert!(
            (found - want).abs() <= tolerance,
            "{} {tag} {what}: {found} for {want} (allowed {tolerance:e})",
            self.name
        );
    }
}

/// Numbers of a step that are compared, in the order of [`Run::follow`]'s distances.
const METRICS: [&str; 2] = ["train_loss", "grad_norm_preclip"];
/// Relative rounding of a single-precision loss, for steps where the variants agree by chance.
const ROUNDING: f64 = 1e-6;
/// Relative distance of a tensor after one step in single precision. AdamW's first step is the gradient's sign,
/// which is rounding noise for the embeddings of tokens that hardly matter.
const ONE_STEP: f64 = 2e-4;
/// The same with a bfloat16 orthogonalizer: one input that rounds the other way moves all the small singular
/// directions of a nearly singular gradient, in PyTorch as here. bf16 and f32 lie 0.03 apart.
const ONE_STEP_IN_BF16: f64 = 0.03;
/// How much further gradient norms may lie apart with a bfloat16 orthogonalizer. The largest distance of one pair of
/// runs is a small sample of where jumps end: with and without the tile unit (both exact to single precision, and
/// alike against double precision with a single-precision orthogonalizer) the norm of step 30 lies 1.3 and less than
/// 1 of the distances that [`SPREAD_FACTOR`] allows from PyTorch's.
const NORM_IN_BF16: f64 = 2.0;
/// Relative distance of a tensor after all steps in single precision.
const ALL_STEPS: f64 = 1e-3;

/// Weights are stored for the f32 and bf16 variants; the f32 ones are also what f64 is compared with.
fn file_tag(tag: &str) -> &str {
    if tag == "f64" { "f32" } else { tag }
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap()
}

fn rows(variant: &Value) -> &[Value] {
    variant["steps"].as_array().unwrap()
}

/// The training shard: beside the reference files, or the sample in `GOLF_SAMPLE_DIR`.
fn shard(folder: &Path, reference: &Value) -> PathBuf {
    sample(folder, reference, "fineweb_sample_train_000000.bin")
}

fn sample(folder: &Path, reference: &Value, name: &str) -> PathBuf {
    match reference["train_shard"].as_str() {
        Some(name) => folder.join(name),
        None => PathBuf::from(std::env::var_os("GOLF_SAMPLE_DIR").expect("GOLF_SAMPLE_DIR is not set")).join(name),
    }
}

/// Mean loss over whole non-overlapping sequences of the validation tokens' beginning.
fn validate(engine: &dyn Engine, manifest: &Manifest, weights: &Params, folder: &Path, reference: &Value) -> f64 {
    let path = sample(folder, reference, "fineweb_sample_val_000000.bin");
    let tokens = golf_harness::data::Shard::open(&path).unwrap().read_all().unwrap();
    let count = reference["val_tokens"].as_u64().unwrap_or(6001) as usize;
    let seq = manifest.schedule.train_seq_len as usize;
    let rows = (count - 1) / seq;
    let windows: Vec<Window<'_>> =
        (0..rows).map(|row| Window { tokens: &tokens[row * seq..(row + 1) * seq + 1], first_scored: 0 }).collect();
    let scorer = engine.scorer(&manifest.model, weights).unwrap();
    let nll: f64 = scorer.nll(&windows).unwrap().iter().flatten().map(|&nll| f64::from(nll)).sum();
    nll / (rows * seq) as f64
}

/// Relative distance of every tensor.
fn compare(found: &Params, expected: &Params, tolerance: f64, at: &str) {
    for ((name, found), (_, expected)) in found.iter().zip(expected.iter()) {
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
        let pairs = found.data().iter().zip(expected.data());
        let difference = norm(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
        let size = norm(&mut expected.data().iter().map(|value| f64::from(*value)));
        assert!(difference <= tolerance * size, "{at} {name}: {difference:e} of {size:e}");
    }
}

/// The runs of a folder of reference files.
pub fn runs(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("train_runs.json")).unwrap()).unwrap()
}
