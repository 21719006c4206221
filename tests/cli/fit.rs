//! `pack --fit`: what is found fits, is recorded, and is near the best there is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use golf_harness::data::{Shard, write_shard};
use golf_harness::{artifact, manifest};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{fixture, golf};

/// The network of `fixtures/reference/eval_weights.safetensors`.
const RECIPE: &str = "schema: golf-harness/manifest/v1\nname: tiny\n\
    model: { vocab_size: 1024, num_layers: 2, model_dim: 16, num_heads: 2, num_kv_heads: 1, mlp_mult: 2.0, \
    bigram_vocab_size: 64, bigram_dim: 8 }\n\
    quantization: { passthrough_max_elements: 100 }\n\
    eval: { seq_len: 64, stride: 64 }\n\
    data: { path: data, train_pattern: 'tiny_train_*.bin', val_pattern: 'tiny_val_*.bin' }\n";

/// A folder with a recipe, weights and two shards.
pub struct Workshop(pub TempDir);

impl Workshop {
    pub fn new() -> Self {
        let workshop = Workshop(tempfile::tempdir().unwrap());
        for (from, to) in
            [("smoke/smoke_train_000000.bin", "tiny_train_0.bin"), ("smoke/smoke_val_000000.bin", "tiny_val_0.bin")]
        {
            let mut tokens = Vec::new();
            Shard::open(&fixture(from)).unwrap().read_into(0, 3000, &mut tokens).unwrap();
            write_shard(&workshop.path("data").join(to), &tokens).unwrap();
        }
        std::fs::copy(fixture("reference/eval_weights.safetensors"), workshop.path("weights.safetensors")).unwrap();
        workshop.recipe("");
        workshop
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn recipe(&self, more: &str) {
        std::fs::write(self.path("recipe.yaml"), RECIPE.to_string() + more).unwrap();
    }

    pub fn pack(&self, flags: &[&str]) -> assert_cmd::Command {
        let mut command = golf("pack");
        command.current_dir(self.0.path()).args(["recipe.yaml", "--checkpoint", "weights.safetensors"]).args(flags);
        command
    }

    /// `pack --fit` on 512 tokens, as JSON.
    pub fn fit(&self, budget: u64, flags: &[&str]) -> Value {
        let budget = budget.to_string();
        let mut command =
            self.pack(&["--fit", &budget, "--calibration-tokens", "512", "-o", "a.golf", "--force", "--json"]);
        serde_json::from_slice(&command.args(flags).assert().success().get_output().stdout).unwrap()
    }

    pub fn error(&self, flags: &[&str]) -> String {
        let mut command = self.pack(&["--calibration-tokens", "512", "-o", "a.golf", "--force"]);
        String::from_utf8(command.args(flags).assert().code(2).get_output().stderr.clone()).unwrap()
    }
}

/// (total bytes, predicted damage) of the choice.
fn chosen(document: &Value) -> (u64, f64) {
    let curve = document["fit"]["curve"].as_array().unwrap();
    let points: Vec<&Value> = curve.iter().filter(|point| point["chosen"] == true).collect();
    assert_eq!(points.len(), 1);
    (points[0]["total_bytes"].as_u64().unwrap(), points[0]["predicted"].as_f64().unwrap())
}

/// Smallest and largest size on a curve.
fn range(document: &Value) -> (u64, u64) {
    let sizes = document["fit"]["curve"].as_array().unwrap().iter().map(|point| point["total_bytes"].as_u64().unwrap());
    (sizes.clone().min().unwrap(), sizes.max().unwrap())
}

#[test]
fn every_fit_fits_and_more_room_never_does_more_damage() {
    let workshop = Workshop::new();
    workshop.recipe("code: [{ path: train_gpt.py, bytes: 700 }]\n");
    let roomy = workshop.fit(16_000_000, &[]);
    let (smallest, largest) = range(&roomy);
    assert!(smallest > 700 && largest > smallest * 3 / 2, "{smallest} {largest}");
    // Where everything fits, everything is as precise as it can be.
    assert_eq!(chosen(&roomy), (largest, 0.0));

    let mut last = f64::INFINITY;
    for i in 0..=6u64 {
        let budget = smallest + (largest - smallest) * i / 6;
        let document = workshop.fit(budget, &[]);
        let (total, damage) = chosen(&document);
        let file = std::fs::metadata(workshop.path("a.golf")).unwrap().len();
        assert_eq!((document["pack"]["artifact"]["bytes"].as_u64(), file + 700), (Some(file), total));
        assert!(total <= budget, "{total} > {budget}");
        assert!(damage <= last, "{budget}: {damage} > {last}");
        last = damage;
        // The bound is inclusive: the same bytes are enough for the same choice.
        assert_eq!(chosen(&workshop.fit(total, &[])), (total, damage));
    }
}

#[test]
fn a_recorded_fit_packs_again_to_the_same_bytes_with_any_number_of_threads() {
    let workshop = Workshop::new();
    let (smallest, largest) = range(&workshop.fit(16_000_000, &[]));
    let budget = (smallest + largest) / 2;
    let one = workshop.fit(budget, &["--threads", "1", "--svg", "one.svg"]);
    let bytes = std::fs::read(workshop.path("a.golf")).unwrap();
    assert_eq!(one, workshop.fit(budget, &["--threads", "3", "--svg", "three.svg"]));
    assert_eq!(std::fs::read(workshop.path("a.golf")).unwrap(), bytes);
    let picture = |name: &str| std::fs::read_to_string(workshop.path(name)).unwrap();
    assert_eq!(picture("one.svg"), picture("three.svg"));

    let recorded = manifest::load(&workshop.path("a.golf.manifest.yaml")).unwrap();
    assert!(!recorded.quantization.classes.is_empty());
    let mut again = golf("pack");
    again.current_dir(workshop.0.path()).args(["a.golf.manifest.yaml", "--checkpoint", "weights.safetensors"]);
    again.args(["-o", "b.golf"]).assert().success();
    assert_eq!(std::fs::read(workshop.path("b.golf")).unwrap(), bytes);
    // What an earlier fit recorded does not stand in the way of the next.
    let mut refit = golf("pack");
    refit.current_dir(workshop.0.path()).args(["a.golf.manifest.yaml", "--checkpoint", "weights.safetensors"]);
    refit.args(["--calibration-tokens", "512", "-o", "a.golf", "--quiet", "--fit", &budget.to_string()]);
    refit.assert().success();
    assert_eq!(std::fs::read(workshop.path("a.golf")).unwrap(), bytes);
}

#[test]
fn pinned_classes_and_scales_are_kept() {
    let workshop = Workshop::new();
    let flags = ["--class", "blocks.*.attn.*=int8", "--scale-search", "percentiles", "--fit-by", "layer"];
    let document = workshop.fit(16_000_000, &flags);
    assert_eq!(document["fit"]["scale_search"], "percentiles");
    let groups: Vec<&str> = document["fit"]["costs"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|cost| cost["group"].as_str())
        .step_by(4)
        .collect();
    assert_eq!(
        groups,
        ["tok_emb.weight", "bigram.embed.weight", "bigram.proj.weight", "blocks.0.mlp.*", "blocks.1.mlp.*"]
    );
    for tensor in artifact::read(&workshop.path("a.golf")).unwrap().tensors {
        if tensor.name.contains(".attn.") {
            assert_eq!(tensor.class, golf_harness::quant::TensorClass::Int8, "{}", tensor.name);
        }
    }
}

#[test]
fn brute_force_over_every_assignment_is_less_than_one_step_better() {
    let workshop = Workshop::new();
    // Three groups are left: 64 assignments.
    let pins = ["--class", "blocks.?.attn.*=int6", "--class", "blocks.0.mlp.*=int5", "--class", "bigram.*=f16"];
    let flags = [&pins[..], &["--scale-search", "max"]].concat();
    let (smallest, largest) = range(&workshop.fit(16_000_000, &flags));
    let document = workshop.fit((2 * smallest + largest) / 3, &flags);
    let mut groups: Vec<&str> = Vec::new();
    let mut damages: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for cost in document["fit"]["costs"].as_array().unwrap() {
        let (group, class) = (cost["group"].as_str().unwrap(), cost["class"].as_str().unwrap());
        damages.insert((group, class), cost["damage"].as_f64().unwrap());
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    assert_eq!(groups, ["tok_emb.weight", "blocks.1.mlp.fc.weight", "blocks.1.mlp.proj.weight"]);
    let classes = ["f16", "int8", "int6", "int5"];
    let mut all: Vec<(u64, f64)> = Vec::new();
    for n in 0..64 {
        let assignment = [classes[n % 4], classes[n / 4 % 4], classes[n / 16]];
        let rules: Vec<String> =
            groups.iter().zip(assignment).map(|(group, class)| format!("--class={group}={class}")).collect();
        let mut command = workshop.pack(&flags);
        command.args(rules).args(["-o", "x.golf", "--quiet"]).assert().success();
        let damage = groups.iter().zip(assignment).map(|(group, class)| damages[&(*group, class)]).sum();
        all.push((std::fs::metadata(workshop.path("x.golf")).unwrap().len(), damage));
    }
    let step = |step: &Value| step["damage"].as_f64().unwrap();
    let largest_step = document["fit"]["path"].as_array().unwrap().iter().map(step).fold(0.0, f64::max);
    for i in 0..8 {
        let budget = smallest + (largest - smallest) * i / 7;
        let (_, found) = chosen(&workshop.fit(budget, &flags));
        let best =
            all.iter().filter(|(bytes, _)| *bytes <= budget).map(|(_, damage)| *damage).fold(f64::INFINITY, f64::min);
        assert!(found >= best - 1e-12 && found - best <= largest_step, "{budget}: {found} against {best}");
    }
}

#[test]
fn ways_are_searched_against_one_another_and_the_recorded_one_packs_again() {
    let workshop = Workshop::new();
    let ways = ["max", "deviation:6", "clip_search/gptq"];
    let flags: Vec<&str> = ways.iter().flat_map(|way| ["--fit-way", way]).chain(["--fit-by", "layer"]).collect();
    let (smallest, largest) = range(&workshop.fit(16_000_000, &flags));
    let document = workshop.fit((smallest + largest) / 2, &flags);
    let results = document["fit"]["ways"].as_array().unwrap();
    let names: Vec<&str> = results.iter().map(|way| way["scale_search"].as_str().unwrap()).collect();
    assert_eq!(names, ways);
    let (total, damage) = chosen(&document);
    // The choice is the least damage of all; its own way needs no more bytes than it takes for that.
    let damages = results.iter().filter_map(|way| way["damage"].as_f64());
    assert_eq!(damages.fold(f64::INFINITY, f64::min), damage);
    let own = results.iter().find(|way| way["scale_search"] == document["fit"]["scale_search"]).unwrap();
    assert!(own["model_bytes_at_equal_damage"].as_u64().unwrap() <= total);

    // GPTQ alone: what is recorded names the rule, and gives the same bytes again.
    let document = workshop.fit((smallest + largest) / 2, &["--fit-way", "clip_search/gptq", "--fit-by", "layer"]);
    assert_eq!(document["fit"]["scale_search"], "clip_search/gptq");
    let bytes = std::fs::read(workshop.path("a.golf")).unwrap();
    let recorded = manifest::load(&workshop.path("a.golf.manifest.yaml")).unwrap();
    let rules: Vec<String> = recorded.quantization.rules.iter().map(ToString::to_string).collect();
    assert_eq!(rules, ["bigram.embed.weight=clip_search", "*=clip_search/gptq"]);
    assert!(recorded.artifact.unwrap().hessians.is_some());
    let mut again = golf("pack");
    again.current_dir(workshop.0.path()).args(["a.golf.manifest.yaml", "--checkpoint", "weights.safetensors"]);
    again.args(["-o", "b.golf"]).assert().success();
    assert_eq!(std::fs::read(workshop.path("b.golf")).unwrap(), bytes);
}

#[test]
fn what_cannot_be_fitted_is_said_and_the_old_file_stays() {
    let workshop = Workshop::new();
    std::fs::write(workshop.path("a.golf"), b"old").unwrap();
    let error = workshop.error(&["--fit", "16000000", "--calibration", "data/tiny_val_0.bin"]);
    insta::assert_snapshot!(error, @"error: data/tiny_val_0.bin is validation data (its name matches data.val_pattern `tiny_val_*.bin`): settings chosen on what is scored invalidate a submission; calibrate on a training shard");
    std::fs::copy(workshop.path("data/tiny_val_0.bin"), workshop.path("innocent.bin")).unwrap();
    let error = workshop.error(&["--fit", "16000000", "--calibration", "innocent.bin"]);
    assert!(error.contains("64 of 64 runs of its tokens occur in the validation split"), "{error}");

    let (smallest, _) = range(&workshop.fit(16_000_000, &[]));
    std::fs::write(workshop.path("a.golf"), b"old").unwrap();
    let error = workshop.error(&["--fit", &(smallest / 2).to_string()]);
    assert!(error.contains("the smallest setting reached takes"), "{error}");
    assert!(error.contains(&golf_harness::units::Bytes(smallest / 2).to_string()), "{error}");

    workshop.recipe("code: [{ path: train_gpt.py, bytes: 60000 }]\n");
    let error = workshop.error(&["--fit", "50000"]);
    insta::assert_snapshot!(error, @"error: the code files take 60,000 bytes, more than the 50,000 of --fit; shorten the code or raise the budget");
    let error = workshop.error(&["--fit", "0"]);
    assert!(error.contains("must be 1 or more"), "{error}");
    let error = workshop.error(&["--fit", "1000000", "--calibration", "absent.bin"]);
    assert!(error.contains("calibration shard absent.bin: no such file"), "{error}");
    std::fs::remove_file(workshop.path("data/tiny_train_0.bin")).unwrap();
    let error = workshop.error(&["--fit", "1000000"]);
    assert!(error.contains("no training shard of the manifest is here"), "{error}");
    assert_eq!(std::fs::read(workshop.path("a.golf")).unwrap(), b"old");
}

#[test]
#[cfg(unix)]
fn an_interrupted_fit_leaves_the_old_file() {
    let workshop = Workshop::new();
    std::fs::write(workshop.path("a.golf"), b"old").unwrap();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("pack"))
        .current_dir(workshop.0.path())
        .args(["recipe.yaml", "--checkpoint", "weights.safetensors", "-o", "a.golf", "--force", "--fit", "1000000"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(150));
    let signaled = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signaled.success());
    let code = child.wait().unwrap().code();
    let now = std::fs::read(workshop.path("a.golf")).unwrap();
    match code {
        Some(130) => assert_eq!(now, b"old"),
        // Finished first: then the new file is whole.
        _ => assert!(artifact::parse(&now).is_ok()),
    }
}
