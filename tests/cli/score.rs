//! `score` on good and bad input.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use golf_harness::data::{Shard, Tokenizer, write_shard};
use golf_harness::digest::ContentDigest;
use golf_harness::manifest;
use golf_harness::model::{HostTensor, ModelConfig, Params, write_safetensors};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{filtered, fixture, golf};

/// Tokens of the two validation shards.
const SHARD_TOKENS: [usize; 2] = [331, 190];

/// A folder with data, weights and a run that `pack` finished.
struct Workshop(TempDir);

impl Workshop {
    fn new() -> Self {
        let workshop = Workshop(tempfile::tempdir().unwrap());
        let mut split = Shard::open(&fixture("smoke/smoke_val_000000.bin")).unwrap();
        for (i, tokens) in SHARD_TOKENS.into_iter().enumerate() {
            let mut part = Vec::new();
            split.read_into(i as u64 * SHARD_TOKENS[0] as u64, tokens, &mut part).unwrap();
            write_shard(&workshop.path(&format!("data/tiny_val_{i:06}.bin")), &part).unwrap();
        }
        std::fs::copy(fixture("smoke/tokenizer.model"), workshop.path("data/tokenizer.model")).unwrap();
        workshop.write("recipe.yaml", RECIPE);
        write_safetensors(&workshop.path("weights.safetensors"), &weights()).unwrap();
        golf("pack")
            .current_dir(workshop.0.path())
            .args(["recipe.yaml", "--checkpoint", "weights.safetensors", "--out", "run", "--quiet"])
            .assert()
            .success();
        workshop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// `score` with any arguments, run in the folder.
    fn command(&self, args: &[&str]) -> assert_cmd::Command {
        let mut command = golf("score");
        command.current_dir(self.0.path()).args(args);
        command
    }

    /// `score run/manifest.yaml` with flags, as JSON.
    fn json(&self, flags: &[&str]) -> Value {
        json(&mut self.command(&[&["run/manifest.yaml", "--json"], flags].concat()))
    }

    /// Standard error of a command that ends with that code and leaves no new file behind.
    fn fails(&self, args: &[&str], code: i32) -> String {
        let before = self.files();
        let output = self.command(args).assert().code(code).get_output().clone();
        assert_eq!(self.files(), before, "{args:?} left something behind");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let names = |folder: &str| -> Vec<String> {
            let entries = std::fs::read_dir(self.path(folder)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let mut names = [names("."), names("run"), names("data")].concat();
        names.sort();
        names
    }
}

const RECIPE: &str = "schema: golf-harness/manifest/v1\n\
    name: tiny\n\
    model: { num_layers: 2, model_dim: 16, num_heads: 2, num_kv_heads: 1, bigram_vocab_size: 32, bigram_dim: 8 }\n\
    quantization: { passthrough_max_elements: 100 }\n\
    eval: { seq_len: 32, stride: 8, batch_windows: 5 }\n\
    data: { path: data, val_pattern: 'tiny_val_*.bin', tokenizer: { path: data/tokenizer.model } }\n";

fn config() -> ModelConfig {
    manifest::parse(RECIPE, Path::new("recipe.yaml")).unwrap().model
}

/// Deterministic weights of both signs; no two rows alike.
fn weights() -> Params {
    let mut params = Params::zeros(&config());
    for (t, (_, tensor)) in params.iter_mut().enumerate() {
        for (i, value) in tensor.data_mut().iter_mut().enumerate() {
            *value = (((i * 2_654_435_761 + t * 40_503) % 2003) as f32 - 1001.0) / 1500.0;
        }
    }
    params
}

fn stdout(command: &mut assert_cmd::Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

fn json(command: &mut assert_cmd::Command) -> Value {
    serde_json::from_str(&stdout(command)).unwrap()
}

/// Numbers that vector units may round differently from one kind of processor to the next.
fn without_numbers(text: &str) -> String {
    let filters = [
        (r"\d\.\d{8}", "[.number.]"),
        (r"val_loss:\d\.\d{4} val_bpb:\d\.\d{4}", "val_loss:[n] val_bpb:[n]"),
        (r"eval_time:\d+ms", "eval_time:[t]ms"),
        (r"than \d\.\de-\d+", "than [difference]"),
        (r"[0-9a-f]{64}", "[digest]"),
        (r"/\S*/data/", "[...]/data/"),
    ];
    filtered(text, &filters)
}

/// What must not depend on how the work was done.
fn essence(mut report: Value) -> Value {
    for key in ["run", "processors", "recount"] {
        report.as_object_mut().unwrap().remove(key).unwrap();
    }
    report
}

#[test]
fn packed_and_unpacked_stand_side_by_side() {
    let workshop = Workshop::new();
    let args = ["run/manifest.yaml", "--checkpoint", "weights.safetensors"];
    insta::assert_snapshot!(without_numbers(&stdout(&mut workshop.command(&args))));
    let verbose = [&args[..], &["-v", "--engine", "both", "--max-tokens", "300"]].concat();
    insta::assert_snapshot!("verbose", without_numbers(&stdout(&mut workshop.command(&verbose))));

    let report = workshop.json(&["--checkpoint", "weights.safetensors"]);
    let bpb = |label: &str| report["scores"][label]["val_bpb"].as_f64().unwrap();
    for windowing in ["sliding", "plain"] {
        let gap = bpb(&format!("packed/{windowing}")) - bpb(&format!("checkpoint/{windowing}"));
        assert_eq!(report["quantisation_gap"][windowing]["val_bpb"].as_f64(), Some(gap));
        assert!(gap != 0.0);
    }
    assert_eq!(report["headline"], "packed/sliding");
}

#[test]
fn a_recount_reports_how_far_the_engines_are_apart() {
    let workshop = Workshop::new();
    let nll = |engine: &str| -> Vec<f32> {
        workshop.json(&["--sliding", "--engine", engine, "--nll-out", engine]);
        workshop.bytes(engine).as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    let (kernels, dfdx) = (nll("kernels"), nll("dfdx"));
    let apart = |(a, b): (&f32, &f32)| f64::from((a - b).abs()) / f64::from(b.abs()).max(1.0);
    let largest = kernels.iter().zip(&dfdx).map(apart).fold(0.0, f64::max);
    assert!(largest > 0.0, "two engines that round alike everywhere are one engine");

    let both = workshop.json(&["--sliding", "--engine", "both", "--nll-out", "both"]);
    let reported = both["recount"]["largest_difference"].as_f64().unwrap();
    assert!((reported / largest - 1.0).abs() < 1e-6, "{reported:e} where {largest:e} was found");
    assert_eq!(both["recount"]["engine"], "dfdx");
    assert_eq!(workshop.bytes("both"), workshop.bytes("kernels"));
    assert!(workshop.json(&["--sliding"])["recount"].is_null());
}

#[test]
fn vector_width_and_precision_are_chosen_and_reported() {
    let workshop = Workshop::new();
    let nll = |name: &str, flags: &[&str]| -> (Vec<f32>, Value) {
        let report = workshop.json(&[&["--sliding", "--nll-out", name][..], flags].concat());
        (workshop.bytes(name).as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(), report)
    };
    let (widest, report) = nll("widest", &[]);
    assert_eq!(report["engine"], "kernels");
    let apart = |values: &[f32]| {
        let one = |(a, b): (&f32, &f32)| (a - b).abs() / a.abs().max(1.0);
        widest.iter().zip(values).map(one).fold(0.0, f32::max)
    };
    // The bound docs/engine.md states between processor families, on the narrower of two.
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        let (narrow, report) = nll("narrow", &["--isa", "avx2"]);
        assert!(apart(&narrow) < 1e-5, "{:e}", apart(&narrow));
        assert!(report["processors"][0].as_str().unwrap().ends_with("(held to AVX2)"));
    }
    let (rounded, report) = nll("rounded", &["--precision", "bf16"]);
    assert_eq!(report["engine"], "kernels (bf16)");
    assert!((1e-5..0.1).contains(&apart(&rounded)), "{:e}", apart(&rounded));
    // In bfloat16 products have one definition: with AMX or wide vectors or without, the likelihoods are the same bits.
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        let (narrow, _) = nll("narrow", &["--precision", "bf16", "--isa", "avx2"]);
        assert!(narrow.iter().map(|nll| nll.to_bits()).eq(rounded.iter().map(|nll| nll.to_bits())));
    }
    let both = ["run/manifest.yaml", "--engine", "both", "--precision", "bf16"];
    let refused = workshop.command(&both).assert().code(2);
    assert!(String::from_utf8_lossy(&refused.get_output().stderr).contains("needs --engine kernels"));
}

#[test]
fn json_agrees_with_the_likelihoods_and_with_the_inputs() {
    let workshop = Workshop::new();
    let report = workshop.json(&["--nll-out", "nll.f32"]);
    let nll: Vec<f32> =
        workshop.bytes("nll.f32").as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let score = &report["scores"]["packed/sliding"];
    assert_eq!(nll.len(), SHARD_TOKENS.iter().sum::<usize>() - 1);
    assert_eq!(score["tokens"].as_u64(), Some(nll.len() as u64));
    assert_eq!(score["windows"].as_u64(), Some(1 + (nll.len() as u64 - 32).div_ceil(8)));
    // So few numbers of one size that double precision sums them without rounding.
    let total: f64 = nll.iter().map(|&value| f64::from(value)).sum();
    assert_eq!(score["total_nats"].as_f64(), Some(total));
    assert_eq!(score["val_loss"].as_f64(), Some(total / nll.len() as f64));

    let (tokenizer, _) = Tokenizer::read(&fixture("smoke/tokenizer.model")).unwrap();
    let tokens = Shard::open(&fixture("smoke/smoke_val_000000.bin")).unwrap().read_all().unwrap();
    let bytes = tokenizer.byte_table().bytes_of_targets(&tokens[..nll.len() + 1]);
    assert_eq!(score["bytes"].as_u64(), Some(bytes));
    let bpb = total / std::f64::consts::LN_2 / bytes as f64;
    assert!((score["val_bpb"].as_f64().unwrap() / bpb - 1.0).abs() < 1e-15);
    assert_eq!(report["scores"]["packed/plain"]["tokens"].as_u64(), Some(nll.len() as u64 / 32 * 32));

    let inputs = report["inputs"].as_array().unwrap();
    let files = ["run/model.golf", "data/tiny_val_000000.bin", "data/tiny_val_000001.bin", "data/tokenizer.model"];
    assert_eq!(inputs.len(), files.len());
    for (input, file) in inputs.iter().zip(files) {
        let digest = serde_json::to_value(ContentDigest::of(&workshop.bytes(file))).unwrap();
        assert_eq!(input["content"], digest, "{file}");
    }
    let identity = manifest::identity(&manifest::load(&workshop.path("run/manifest.yaml")).unwrap());
    assert_eq!(report["manifest_identity"], identity.to_string());
    assert_eq!(report["subset"], Value::Null);
}

#[test]
fn threads_batches_and_repetition_change_no_bit() {
    let workshop = Workshop::new();
    for engine in ["kernels", "dfdx"] {
        let run = |flags: &[&str]| {
            let report = workshop.json(&[&["--engine", engine, "--nll-out", "nll.f32"], flags].concat());
            (essence(report), workshop.bytes("nll.f32"))
        };
        let first = run(&[]);
        for flags in [
            &[][..],
            &["--threads", "1"],
            &["--threads", "2", "--batch-windows", "1"],
            &["--threads", "4", "--batch-windows", "7"],
            &["--threads", "3", "--batch-windows", "18446744073709551615"],
        ] {
            assert_eq!(run(flags), first, "{engine} {flags:?}");
        }
    }
}

#[test]
fn parts_merge_to_the_bits_of_the_whole() {
    let workshop = Workshop::new();
    let models = ["--checkpoint", "weights.safetensors"];
    let whole = workshop.json(&[&models[..], &["--nll-out", "whole.f32"]].concat());
    for parts in [1, 2, 3, 8, 90] {
        let mut nll = Vec::new();
        let mut merge = vec!["merge".to_string(), "--json".to_string()];
        // Backwards: the order of the records does not matter.
        for index in (1..=parts).rev() {
            let (shard, part) = (format!("{index}/{parts}"), format!("part-{index}.json"));
            let threads = (1 + index % 3).to_string();
            let flags = ["--shard", &shard, "-o", &part, "--nll-out", "part.f32", "--threads", &threads];
            workshop.json(&[&models[..], &flags].concat());
            nll = [workshop.bytes("part.f32"), nll].concat();
            merge.push(part);
        }
        let args: Vec<&str> = merge.iter().map(String::as_str).collect();
        let merged = json(&mut workshop.command(&args));
        assert_eq!(essence(merged), essence(whole.clone()), "{parts} parts");
        assert_eq!(nll, workshop.bytes("whole.f32"), "{parts} parts");
    }
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let workshop = Workshop::new();
    let part = |shard: &str, name: &str, flags: &[&str]| {
        workshop.json(&[&["--shard", shard, "-o", name], flags].concat());
    };
    part("1/2", "one.json", &[]);
    part("2/2", "two.json", &[]);
    part("2/3", "third.json", &[]);
    part("2/2", "stride.json", &["--stride", "4"]);
    part("2/2", "sliding.json", &["--sliding"]);
    part("2/2", "engine.json", &["--engine", "dfdx"]);
    part("2/2", "subset.json", &["--max-tokens", "200"]);
    let other = Workshop::new();
    let mut tokens = Shard::open(&other.path("data/tiny_val_000001.bin")).unwrap().read_all().unwrap();
    tokens[5] ^= 1;
    write_shard(&other.path("data/tiny_val_000001.bin"), &tokens).unwrap();
    let elsewhere = workshop.path("elsewhere.json");
    other.json(&["--shard", "2/2", "-o", elsewhere.to_str().unwrap()]);
    let two = String::from_utf8(workshop.bytes("two.json")).unwrap();
    let edit = |name: &str, from: &str, to: &str| {
        let edited = two.replacen(from, to, 1);
        assert_ne!(edited, two, "{from}");
        workshop.write(name, &edited);
    };
    edit("tokens.json", "\"tokens\": 2", "\"tokens\": 1");
    edit("huge.json", "\"tokens\": 521", "\"tokens\": 18446744073709551615");
    edit("schema.json", "score-part/v1", "score-part/v9");
    edit("negative.json", "\"index\": 2", "\"index\": -2");
    edit("extra.json", "\"processor\"", "\"speed\": 1,\n  \"processor\"");
    workshop.write("empty.json", "");

    let mut messages = String::new();
    for second in [
        &[][..],
        &["one.json"],
        &["third.json"],
        &["stride.json"],
        &["sliding.json"],
        &["engine.json"],
        &["subset.json"],
        &["elsewhere.json"],
        &["tokens.json"],
        &["huge.json"],
        &["schema.json"],
        &["negative.json"],
        &["extra.json"],
        &["empty.json"],
        &["missing.json"],
        &["data/tokenizer.model"],
    ] {
        messages += &workshop.fails(&[&["merge", "one.json"], second].concat(), 2);
    }
    insta::assert_snapshot!(without_numbers(&messages));
    workshop.command(&["merge", "one.json", "two.json"]).assert().success();
}

#[test]
fn the_scorer_passes_its_probes() {
    let workshop = Workshop::new();
    let args = ["run/manifest.yaml", "--probe", "--checkpoint", "weights.safetensors"];
    insta::assert_snapshot!(stdout(&mut workshop.command(&args)));
    let report = workshop.json(&["--probe", "--probe-windows", "3", "--engine", "dfdx"]);
    assert_eq!(report["passed"], true);
    let probes = report["passes"][0]["probes"].as_array().unwrap();
    assert_eq!(probes.len(), 6);
    assert!(probes.iter().all(|probe| probe["failures"] == 0 && probe["checks"].as_u64() > Some(0)), "{probes:?}");
}

#[test]
fn flags_win_over_variables_and_these_over_the_manifest() {
    let workshop = Workshop::new();
    let windows = |variables: &[(&str, &str)], flags: &[&str]| {
        let args = [&["run/manifest.yaml", "--json"], flags].concat();
        let report = json(workshop.command(&args).envs(variables.iter().copied()));
        report["scores"]["packed/sliding"]["windows"].as_u64().unwrap()
    };
    let expected = |seq_len: u64, stride: u64| 1 + (520 - seq_len).div_ceil(stride);
    assert_eq!(windows(&[], &[]), expected(32, 8));
    assert_eq!(windows(&[("EVAL_STRIDE", "16"), ("SEED", "not a number")], &[]), expected(32, 16));
    assert_eq!(windows(&[("EVAL_STRIDE", "16")], &["--stride", "4"]), expected(32, 4));
    assert_eq!(windows(&[("EVAL_SEQ_LEN", "16")], &["--set", "eval.stride=2"]), expected(16, 2));
    let moved = workshop.path("moved");
    std::fs::rename(workshop.path("data"), &moved).unwrap();
    let flags = ["--tokenizer-path", "moved/tokenizer.model"];
    assert_eq!(windows(&[("DATA_PATH", "moved")], &flags), expected(32, 8));
}

#[test]
fn a_subset_says_that_it_is_one() {
    let workshop = Workshop::new();
    let flags = ["run/manifest.yaml", "--plain", "--max-tokens", "100"];
    insta::assert_snapshot!(without_numbers(&stdout(&mut workshop.command(&flags))));
    let report = workshop.json(&["--max-tokens", "100"]);
    assert_eq!(report["subset"]["first_tokens"], 100);
    assert_eq!(report["subset"]["of"], 521);
    assert_eq!(report["scores"]["packed/sliding"]["tokens"], 99);
    // As many as there are is the whole split.
    assert_eq!(workshop.json(&["--max-tokens", "521"])["subset"], Value::Null);
}

#[test]
fn scores_are_recorded_on_request_and_only_where_they_belong() {
    let workshop = Workshop::new();
    let manifest = || manifest::load(&workshop.path("run/manifest.yaml")).unwrap();
    let before = manifest();
    let report = workshop.json(&["--record", "--threads", "1"]);
    let after = manifest();
    assert_eq!(manifest::identity(&after), manifest::identity(&before));
    let labels: Vec<&String> = after.results.scores.keys().collect();
    assert_eq!(labels, ["packed/plain", "packed/sliding"]);
    let recorded = &after.results.scores["packed/sliding"];
    let reported = &report["scores"]["packed/sliding"];
    assert_eq!(Some(recorded.val_bpb.0), reported["val_bpb"].as_f64());
    assert_eq!((Some(recorded.bytes), recorded.engine.as_str()), (reported["bytes"].as_u64(), "kernels"));

    let mut messages = String::new();
    for flags in [
        &["--stride", "4"][..],
        &["--max-tokens", "100"],
        &["--shard", "1/2"],
        &["--checkpoint", "weights.safetensors"],
        &["--artifact", "other.golf"],
    ] {
        if flags[0] == "--artifact" {
            let pack = ["recipe.yaml", "--checkpoint", "weights.safetensors", "--prune", "0.5", "-o", "other.golf"];
            golf("pack").current_dir(workshop.0.path()).args(pack).assert().success();
        }
        messages += &workshop.fails(&[&["run/manifest.yaml", "--record"], flags].concat(), 2);
    }
    insta::assert_snapshot!(without_numbers(&messages));
    assert_eq!(manifest(), after);
}

/// Something done to a workshop, and the arguments that run into it.
type Trouble = (fn(&Workshop), &'static [&'static str]);

#[test]
fn bad_input_is_named() {
    let troubles: [Trouble; 26] = [
        (|_| (), &[]),
        (|_| (), &["run"]),
        (|_| (), &["absent.yaml"]),
        (|_| (), &["recipe.yaml"]),
        (|_| (), &["run/manifest.yaml", "--stride", "0"]),
        (|_| (), &["run/manifest.yaml", "--stride", "33"]),
        (|_| (), &["run/manifest.yaml", "--shard", "3/2"]),
        (|_| (), &["run/manifest.yaml", "--threads", "0"]),
        (|_| (), &["run/manifest.yaml", "--plain", "--sliding"]),
        (|_| (), &["run/manifest.yaml", "--set", "schedule.seed=1"]),
        (|_| (), &["run/manifest.yaml", "--nll-out", "weights.safetensors/nll.f32"]),
        (|_| (), &["run/manifest.yaml", "--nll-out", "data"]),
        (|_| (), &["run/manifest.yaml", "--shard", "1/2", "-o", "data"]),
        (|_| (), &["run/manifest.yaml", "--checkpoint", "absent.safetensors"]),
        (|_| (), &["run/manifest.yaml", "--plain", "--seq-len", "600"]),
        (|w| drop(std::fs::remove_file(w.path("run/model.golf"))), &["run/manifest.yaml"]),
        (|w| cut(&w.path("run/model.golf"), 1000), &["run/manifest.yaml"]),
        (|w| cut(&w.path("run/model.golf"), 1000), &["run/manifest.yaml", "--artifact", "run/model.golf"]),
        (|w| cut(&w.path("weights.safetensors"), 1000), &["recipe.yaml", "--checkpoint", "weights.safetensors"]),
        (|w| poison(w), &["recipe.yaml", "--checkpoint", "weights.safetensors"]),
        (|w| overflow(w), &["recipe.yaml", "--checkpoint", "weights.safetensors"]),
        (|_| (), &["run/manifest.yaml", "--set", "model.num_layers=3"]),
        (|_| (), &["run/manifest.yaml", "--set", "model.vocab_size=512"]),
        (|w| w.write("data/tokenizer.model", "no model"), &["run/manifest.yaml"]),
        (|w| drop(write_shard(&w.path("data/tiny_val_000001.bin"), &[1, 1024])), &["run/manifest.yaml"]),
        (|w| leave_one_token(w), &["run/manifest.yaml"]),
    ];
    let mut messages = String::new();
    for (damage, args) in troubles {
        let workshop = Workshop::new();
        damage(&workshop);
        messages += &format!("$ score {}\n{}\n", args.join(" "), workshop.fails(args, 2));
    }
    insta::assert_snapshot!(without_numbers(&messages));
}

fn cut(path: &Path, bytes: usize) {
    let content = std::fs::read(path).unwrap();
    std::fs::write(path, &content[..bytes]).unwrap();
}

/// One NaN among the weights.
fn poison(workshop: &Workshop) {
    let mut params = weights();
    params.get_mut("blocks.1.mlp.fc.weight").unwrap().data_mut()[17] = f32::NAN;
    write_safetensors(&workshop.path("weights.safetensors"), &params).unwrap();
}

/// Finite weights whose products are not.
fn overflow(workshop: &Workshop) {
    let mut params = weights();
    let tensor = params.get_mut("blocks.0.mlp.fc.weight").unwrap();
    *tensor = HostTensor::full(tensor.shape(), 1e30);
    write_safetensors(&workshop.path("weights.safetensors"), &params).unwrap();
}

fn leave_one_token(workshop: &Workshop) {
    std::fs::remove_file(workshop.path("data/tiny_val_000001.bin")).unwrap();
    write_shard(&workshop.path("data/tiny_val_000000.bin"), &[1]).unwrap();
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let workshop = Workshop::new();
    std::fs::copy(fixture("smoke/smoke_val_000000.bin"), workshop.path("data/tiny_val_000002.bin")).unwrap();
    workshop.write("nll.f32", "an older file");
    let before = workshop.files();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("score"))
        .current_dir(workshop.0.path())
        .args(["run/manifest.yaml", "--stride", "1", "--engine", "dfdx", "--nll-out", "nll.f32"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The temporary file appears once all inputs are open; from there on it takes minutes.
    let deadline = Instant::now() + Duration::from_secs(120);
    while workshop.files() == before {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: interrupted\n");
    assert_eq!(workshop.files(), before);
    assert_eq!(workshop.bytes("nll.f32"), b"an older file");
}
