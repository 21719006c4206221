//! `reproduce` on good and bad input.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use assert_cmd::Command;

use crate::support::{fixture, golf};
use crate::train::{RECIPE, Workshop};

fn manifest(name: &str) -> std::path::PathBuf {
    fixture("..").join("manifests").join(name)
}

#[test]
fn without_its_data_it_says_what_is_missing_and_checks_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let output = golf("reproduce")
        .current_dir(folder.path())
        .arg(manifest("pr-286.yaml"))
        .env("DATA_PATH", "no-shards-here")
        .env("TOKENIZER_PATH", "no-tokenizer-here.model")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for expected in
        ["no-shards-here does not exist", "no-tokenizer-here.model does not exist", "518,159", "601.991", "verdict"]
    {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing may be left behind");
}

/// A recipe of seconds, and a claim that it does not meet: exit 1 where everything was computed.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop
        .manifest(&format!("{RECIPE}eval: {{ seq_len: 16, stride: 16 }}\nclaim: {{ metrics: {{ val_bpb: 1.5 }} }}\n"));
    workshop
}

fn quick(here: &Path, more: &[&str]) -> Command {
    let mut command = golf("reproduce");
    command.current_dir(here).args(["tiny.yaml", "--threads", "1", "--out", "run"]).args(more);
    command
}

fn json(here: &Path, code: i32, more: &[&str]) -> serde_json::Value {
    let output = quick(here, &[&["--json"], more].concat()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{error}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {error}"))
}

fn refusal(here: &Path, more: &[&str]) -> String {
    let output = quick(here, more).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    error
}

#[test]
fn a_finished_run_is_shown_and_a_damaged_one_is_mended() {
    let workshop = workshop();
    let here = workshop.folder.path();
    let first = json(here, 1, &[]);
    assert_eq!(first["stages_done"], serde_json::json!(["train", "pack", "score"]));
    // Stride = window length: the sliding windows are the non-overlapping ones plus a tail.
    let tokens = |label: &str| first["scores"][label]["tokens"].as_u64().unwrap();
    assert_eq!(tokens("packed/sliding"), 499);
    assert_eq!(tokens("packed/non-overlapping"), 499 / 16 * 16);

    // What was recorded is shown as such, and is no reproduction.
    let second = json(here, 2, &[]);
    assert_eq!(second["recorded"], true);
    assert_eq!(second["stages_kept"], first["stages_done"]);
    assert_eq!(second["scores"], first["scores"]);

    // A damaged artifact is noticed, packed again and comes out the same.
    let artifact = here.join("run/model.golf");
    let packed = std::fs::read(&artifact).unwrap();
    std::fs::write(&artifact, b"damage").unwrap();
    let third = json(here, 1, &[]);
    assert_eq!(third["stages_kept"], serde_json::json!(["train"]));
    assert_eq!(third["scores"], first["scores"]);
    assert_eq!(std::fs::read(&artifact).unwrap(), packed);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_leaves_nothing() {
    let workshop = workshop();
    let here = workshop.folder.path();
    let names = || -> Vec<_> {
        let mut names: Vec<_> = std::fs::read_dir(here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let plan = |code, more: &[&str]| json(here, code, &[&["--dry-run"], more].concat())["plans"][0].clone();
    let actions = |plan: &serde_json::Value| -> Vec<String> {
        plan["stages"].as_array().unwrap().iter().map(|stage| stage["action"].as_str().unwrap().to_string()).collect()
    };
    let fresh = plan(0, &[]);
    assert_eq!(actions(&fresh), ["run", "run", "run", "run"]);
    let tokens: Vec<u64> =
        fresh["data"].as_array().unwrap().iter().filter_map(|file| file["tokens"].as_u64()).collect();
    assert_eq!(tokens, [3000, 1000, 500]);
    // 31 windows of 16 side by side and 32 with the tail, of two forms of the weights.
    assert!(fresh["stages"][2]["work"].as_str().unwrap().contains("126 windows of 16 tokens"), "{fresh:#}");
    let guess = json(here, 0, &["--estimate", "--seeds", "1,2"]);
    let of = |what: &str, end: &str| guess["estimate"][what][end].as_f64().unwrap();
    assert!(of("train", "low") > 0.0 && of("total", "low") < of("total", "high"), "{guess:#}");
    assert!(guess["plans"].is_null());
    let missing = plan(2, &["--data-path", "nowhere"]);
    assert!(missing["missing"][0].as_str().unwrap().contains("nowhere"), "{missing:#}");
    assert_eq!(names(), before, "nothing may be left behind");

    json(here, 1, &[]);
    let inside = std::fs::read_dir(here.join("run")).unwrap().count();
    assert_eq!(actions(&plan(0, &[])), ["keep", "keep", "keep", "run"]);
    assert_eq!(actions(&plan(0, &["--fresh"])), ["run", "run", "run", "run"]);
    let refused = plan(2, &["--set", "schedule.seed=7"]);
    assert!(refused["refusal"].as_str().unwrap().contains("schedule.seed is 1337 there and 7 here"), "{refused:#}");
    std::fs::write(here.join("run/model.golf"), b"damage").unwrap();
    let damaged = plan(0, &[]);
    assert_eq!(actions(&damaged), ["keep", "run", "run", "run"]);
    assert!(damaged["stages"][1]["reason"].as_str().unwrap().contains("model.golf is gone or has changed"));
    assert_eq!(std::fs::read_dir(here.join("run")).unwrap().count(), inside);
}

/// The artifact is scored with weights that learn, too: as `score` does it, to the bit.
#[test]
fn test_time_training_is_a_part_of_scoring() {
    let workshop = Workshop::new();
    let ttt = "ttt: { chunk_tokens: 100, learning_rate: 0.05, epochs: 2, sequences_per_step: 2 }";
    workshop.manifest(&format!(
        "{RECIPE}eval: {{ seq_len: 16, stride: 8, {ttt} }}\nclaim: {{ metrics: {{ val_bpb: 1.5 }} }}\n"
    ));
    let here = workshop.folder.path();
    let plan = json(here, 0, &["--dry-run"])["plans"][0].clone();
    let work = plan["stages"][2]["work"].as_str().unwrap();
    // 499 predictions: 1 + 483 / 8 windows, rounded up, in five chunks.
    assert!(work.ends_with("; then 62 of the artifact in 5 chunks, each learned from once it is scored"), "{work}");
    assert!(plan["stages"][2]["writes"][0].as_str().unwrap().ends_with("run/ttt-trace.jsonl"), "{plan:#}");

    let first = json(here, 1, &[]);
    let labels: Vec<&String> = first["scores"].as_object().unwrap().keys().collect();
    let expected = ["checkpoint/non-overlapping", "checkpoint/sliding", "packed/non-overlapping", "packed/sliding"];
    assert_eq!(labels, [&expected[..], &["packed/sliding-ttt"]].concat());
    let row = |name: &str| {
        let rows = first["table"].as_array().unwrap();
        rows.iter().find(|row| row["metric"] == name).unwrap()["reproduced"].clone()
    };
    let learned = &first["scores"]["packed/sliding-ttt"];
    assert_eq!(row("val_bpb"), learned["val_bpb"]);
    assert_eq!(row("val_tokens").as_f64(), learned["tokens"].as_f64());
    assert_ne!(learned["val_bpb"], first["scores"]["packed/sliding"]["val_bpb"]);

    let score = |more: &[&str]| -> serde_json::Value {
        let mut command = golf("score");
        command.current_dir(here).args(["run/manifest.yaml", "--sliding", "--threads", "1", "--json"]).args(more);
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(score(&[])["scores"]["packed/sliding-ttt"]["val_bpb"], learned["val_bpb"]);
    assert_eq!(
        score(&["--no-ttt"])["scores"]["packed/sliding"]["val_bpb"],
        first["scores"]["packed/sliding"]["val_bpb"]
    );
    golf("score").current_dir(here).args(["check-trace", "run/ttt-trace.jsonl"]).assert().success();

    // The trace counts as the stage's: `score` beside it changes nothing, damage has the stage done again.
    assert_eq!(json(here, 2, &[])["recorded"], true);
    let trace = std::fs::read(here.join("run/ttt-trace.jsonl")).unwrap();
    std::fs::write(here.join("run/ttt-trace.jsonl"), &trace[..trace.len() - 1]).unwrap();
    let verified = golf("verify").current_dir(here).arg("run/manifest.yaml").output().unwrap();
    assert!(String::from_utf8_lossy(&verified.stdout).contains("ttt-trace.jsonl"), "{verified:?}");
    let again = json(here, 1, &[]);
    assert_eq!(again["stages_kept"], serde_json::json!(["train", "pack"]));
    assert_eq!(again["scores"], first["scores"]);
    assert!(std::fs::read(here.join("run/ttt-trace.jsonl")).unwrap() == trace);
    let refused = refusal(here, &["--set", "eval.ttt.epochs=1"]);
    assert!(refused.contains("eval.ttt.epochs is 2 there and 1 here"), "{refused}");
    let text = String::from_utf8(quick(here, &["--fresh"]).output().unwrap().stdout).unwrap();
    assert!(text.contains("with test-time training"), "{text}");
}

#[test]
fn several_seeds_end_in_a_table_that_the_folder_keeps() {
    let workshop = workshop();
    let here = workshop.folder.path();
    let done = quick(here, &["--seeds", "1,2,3"]).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(here.join("run/seeds.json")).unwrap()).unwrap();
    let scores: Vec<f64> =
        kept["seeds"].as_array().unwrap().iter().map(|line| line["val_bpb"].as_f64().unwrap()).collect();
    let mean = scores.iter().sum::<f64>() / 3.0;
    let sd = (scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
    assert!((kept["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert!((kept["sd"].as_f64().unwrap() - sd).abs() < 1e-12);
    // Student's t with two degrees of freedom has a closed form.
    let t = (mean - 1.5).abs() / (sd / 3f64.sqrt());
    let p = 1.0 - t / (2.0 + t * t).sqrt();
    assert!((kept["p"].as_f64().unwrap() - p).abs() < 1e-9, "{kept:#} {p}");
    for expected in [format!("{mean:.6}"), format!("{sd:.6}"), "one-sample t-test".to_string()] {
        assert!(text.contains(&expected), "{expected} is not in:\n{text}");
    }
    let page = std::fs::read_to_string(here.join("run/report.html")).unwrap();
    assert!(page.contains(&format!("{mean:.6}")) && page.contains("One-sample test against the claim"), "{page}");
    // Somebody's file stays, and is named before anything is computed.
    std::fs::write(here.join("run/seeds.json"), "mine").unwrap();
    assert!(refusal(here, &["--seeds", "1,2,3", "--fresh"]).contains("seeds.json"));
}

/// Bytes of everything that the library and the binaries are compiled from.
fn source_bytes(path: &Path) -> u64 {
    match std::fs::read_dir(path) {
        Err(_) => std::fs::metadata(path).unwrap().len(),
        Ok(entries) => entries.map(|entry| source_bytes(&entry.unwrap().path())).sum(),
    }
}

#[test]
fn a_recipe_without_a_script_counts_this_program_and_reaches_the_level_it_earns() {
    let workshop = Workshop::new();
    let (windows, tolerance) = ("eval: { seq_len: 16, stride: 16 }", "tolerance: { retrained_bpb: 1 }");
    let claim = "claim: { metrics: { val_bpb: 2.5 }, seeds: [1337], track: non_record_16mb }";
    let recipe = format!("{RECIPE}{windows}\n{tolerance}\n{claim}\n");
    workshop.manifest(&format!("{recipe}program: {{ name: golf-harness }}\n"));
    let here = workshop.folder.path();
    let done = json(here, 0, &[]);
    let report = &done["report"];
    assert_eq!(report["assurance"]["level"], "retrained", "{report:#}");
    let findings = report["findings"].as_array().unwrap();
    let severity = |rule: &str| &findings.iter().find(|finding| finding["rule"] == rule).unwrap()["severity"];
    assert_eq!((severity("manifest_without_code"), severity("manifest_over_budget")), (&"pass".into(), &"pass".into()));

    let sources = ["Cargo.toml", "Cargo.lock", "build.rs", "src", "bins"];
    let root = fixture("..");
    let expected: u64 = sources.iter().map(|name| source_bytes(&root.join(name))).sum();
    let rows = done["table"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["metric"] == name).unwrap()["reproduced"].as_f64();
    assert_eq!(row("code_bytes"), Some(expected as f64));
    let model = std::fs::metadata(here.join("run/model.golf")).unwrap().len();
    assert_eq!(row("total_bytes"), Some((expected + model) as f64));

    // The program that reads the folder later vouches for its own source and for no other.
    let path = here.join("run/manifest.yaml");
    let verdict_of = |manifest: &golf_harness::manifest::Manifest| {
        golf_harness::manifest::save(manifest, &path).unwrap();
        let output = golf("verify").arg(&path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let mut written = golf_harness::manifest::load(&path).unwrap();
    let text = verdict_of(&written);
    assert!(text.contains("sealed"), "{text}");
    written.program.as_mut().unwrap().source.as_mut().unwrap().digest = "0".repeat(16);
    let text = verdict_of(&written);
    assert!(text.contains("documented") && text.contains("a check by the build that the manifest counts"), "{text}");
}

#[test]
fn a_record_folder_of_three_seeds_passes_without_a_warning() {
    let workshop = Workshop::new();
    workshop.manifest(&format!(
        "{RECIPE}eval: {{ seq_len: 16, stride: 16 }}\nclaim: {{ title: Tiny network, author: A, track: non_record_16mb }}\n"
    ));
    let here = workshop.folder.path();
    std::fs::create_dir(here.join("mine")).unwrap();
    std::fs::write(here.join("mine/notes.txt"), "x").unwrap();
    let message = refusal(here, &["--seeds", "1,2,3", "--submission", "mine"]);
    assert!(message.contains("mine is there and not empty") && !here.join("run").exists(), "{message}");
    assert!(refusal(here, &["--seeds", "1,2,1"]).contains("1 stands there twice"));

    let done = quick(here, &["--json", "--seeds", "1,2,3", "--submission", "new"]).output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let text = |name: &str| std::fs::read_to_string(here.join("new").join(name)).unwrap();
    let size = |path: &str| std::fs::metadata(here.join(path)).unwrap().len();
    let handed_in: serde_json::Value = serde_json::from_str(&text("submission.json")).unwrap();
    let mut sum = 0.0;
    for (at, seed) in ["1", "2", "3"].into_iter().enumerate() {
        let (score, claimed) = (&found["seeds"][at]["scores"]["packed/sliding"], &handed_in["seed_results"][seed]);
        sum += score["val_bpb"].as_f64().unwrap();
        let near = |name: &str| (claimed[name].as_f64().unwrap() - score[name].as_f64().unwrap()).abs() <= 5.1e-9;
        assert!(near("val_bpb") && near("val_loss"), "{handed_in}");
        // What lies on disk is what is claimed.
        let total = size(&format!("run/seed-{seed}/model.golf")) + size("new/train_gpt.py");
        assert_eq!(claimed["bytes_total"].as_u64(), Some(total));
        let trained = std::fs::read_to_string(here.join(format!("run/seed-{seed}/train.log"))).unwrap();
        assert!(trained.contains(&format!("seed:{seed}\n")));
        assert!(text(&format!("train_seed{seed}.log")).starts_with(&trained));
    }
    assert!((handed_in["val_bpb"].as_f64().unwrap() - sum / 3.0).abs() < 2e-8, "{handed_in}");
    assert_eq!(golf_harness::manifest::load(&here.join("new/manifest.yaml")).unwrap().schedule.iterations, 12);
    let audit = golf("verify").arg("-v").arg(here.join("new")).output().unwrap();
    let audit = String::from_utf8(audit.stdout).unwrap();
    // 499 tokens are not the challenge's validation text: the one failure is of the text, and true.
    assert!(
        audit.contains("0 warnings, 1 failure") && audit.contains("fail     val_subset"),
        "{audit}\n{}",
        text("README.md")
    );

    // The same command goes on from what is there, and says what it kept.
    json(here, 2, &["--seeds", "1,2,3", "--submission", "newer"]);
    let again = std::fs::read_to_string(here.join("newer/README.md")).unwrap();
    assert_eq!(again.matches("kept from an earlier call: train, pack, score").count(), 3, "{again}");

    // With a board, the README has the test against the record that stood, and the folder passes as before.
    let board = "schema: golf-harness/board/v1\ntrack: 10min_16mb\nas_of: 2026-05-01\nrecords:\n\
                 - {title: Tiny, date: '2026-03-20', val_bpb: 9.5, n: 3, sd: 0.1, source: s}\n";
    std::fs::write(here.join("board.yaml"), board).unwrap();
    json(here, 2, &["--seeds", "1,2,3", "--submission", "tested", "--against", "board.yaml"]);
    let readme = std::fs::read_to_string(here.join("tested/README.md")).unwrap();
    assert!(readme.contains("* Against Tiny (2026-03-20): ") && readme.contains("margin 0: t "), "{readme}");
    let audit = golf("verify").arg("-v").arg(here.join("tested")).output().unwrap();
    let audit = String::from_utf8(audit.stdout).unwrap();
    assert!(audit.contains("0 warnings, 1 failure") && audit.contains("fail     val_subset"), "{audit}\n{readme}");
}

#[test]
fn another_recipe_or_seed_is_refused_by_name_and_fresh_deletes_only_what_a_run_made() {
    let workshop = workshop();
    let here = workshop.folder.path();
    json(here, 1, &[]);
    std::fs::write(here.join("run/notes.txt"), "mine").unwrap();
    let before = std::fs::read(here.join("run/checkpoint.safetensors")).unwrap();
    for (setting, field) in [
        ("schedule.seed=7", "schedule.seed is 1337 there and 7 here"),
        ("optimizer.matrix_lr=0.5", "optimizer.matrix_lr"),
        ("quantization.zstd_level=3", "quantization.zstd_level is 22 there and 3 here"),
        ("eval.stride=8", "eval.stride"),
    ] {
        let message = refusal(here, &["--set", setting]);
        assert!(message.contains(field) && message.contains("--fresh"), "{message}");
    }
    assert_eq!(std::fs::read(here.join("run/checkpoint.safetensors")).unwrap(), before);

    // Another build: the recorded input is made another one.
    let path = here.join("run/manifest.yaml");
    let mut written = golf_harness::manifest::load(&path).unwrap();
    for stage in written.results.stages.values_mut() {
        let build = stage.inputs.iter_mut().find(|input| input.path == Path::new("build")).unwrap();
        std::mem::swap(&mut build.sha256, &mut build.blake3);
    }
    golf_harness::manifest::save(&written, &path).unwrap();
    let message = refusal(here, &[]);
    assert!(message.contains("another build") && message.contains("--fresh"), "{message}");

    let other = ["--fresh", "--set", "schedule.seed=7", "--set", "quantization.container=torch"];
    let fresh = json(here, 1, &other);
    assert_eq!(fresh["stages_done"], serde_json::json!(["train", "pack", "score"]));
    assert_eq!(std::fs::read(here.join("run/notes.txt")).unwrap(), b"mine");
    // What was packed from the weights before is none of this run's.
    assert!(here.join("run/model.ptz").is_file() && !here.join("run/model.golf").exists());
}

#[test]
fn a_finished_run_is_not_trained_again_because_a_file_beside_the_training_text_changed() {
    let workshop = workshop();
    let here = workshop.folder.path();
    json(here, 1, &[]);
    let before = std::fs::read(here.join("run/checkpoint.safetensors")).unwrap();
    let path = here.join("run/manifest.yaml");
    let mut written = golf_harness::manifest::load(&path).unwrap();
    let train = written.results.stages.get_mut("train").unwrap();
    let shard = train.inputs.iter_mut().find(|input| input.path.to_string_lossy().contains("val")).unwrap();
    std::mem::swap(&mut shard.sha256, &mut shard.blake3);
    golf_harness::manifest::save(&written, &path).unwrap();
    let message = refusal(here, &[]);
    assert!(message.contains("is another one now") && message.contains("--fresh"), "{message}");
    assert_eq!(std::fs::read(here.join("run/checkpoint.safetensors")).unwrap(), before);
}

#[test]
fn code_that_grew_is_another_run_where_weights_are_pruned_to_a_size() {
    let workshop = workshop();
    let here = workshop.folder.path();
    let recipe = std::fs::read_to_string(here.join("tiny.yaml")).unwrap();
    let with_code = |text: &str| {
        std::fs::write(here.join("train_gpt.py"), text).unwrap();
        let code = format!("code: [{{ path: train_gpt.py, bytes: {} }}]\n", text.len());
        let recipe = format!("{recipe}{code}quantization: {{ prune_to: 16000000 }}\n");
        std::fs::write(here.join("tiny.yaml"), recipe).unwrap();
    };
    with_code("# a script\n");
    json(here, 1, &[]);
    with_code("# a script of more lines\n# than before\n");
    let message = refusal(here, &[]);
    assert!(message.contains("code is 11 there and 39 here"), "{message}");
}

#[test]
fn a_stage_of_another_build_is_done_again_and_says_why() {
    let workshop = workshop();
    let here = workshop.folder.path();
    json(here, 1, &[]);
    // Not finished: the score is missing; and the pack is of another build.
    let path = here.join("run/manifest.yaml");
    let mut written = golf_harness::manifest::load(&path).unwrap();
    written.results.stages.remove("score");
    let stage = written.results.stages.get_mut("pack").unwrap();
    let build = stage.inputs.iter_mut().find(|input| input.path == Path::new("build")).unwrap();
    std::mem::swap(&mut build.sha256, &mut build.blake3);
    golf_harness::manifest::save(&written, &path).unwrap();
    let output = quick(here, &[]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("train  kept from the earlier run"), "{text}");
    assert!(text.contains("pack   done again: another build of this program made it"), "{text}");
}

#[test]
fn files_that_no_run_made_are_neither_replaced_nor_deleted() {
    let workshop = workshop();
    let here = workshop.folder.path();
    std::fs::create_dir(here.join("run")).unwrap();
    for name in ["train.log", "checkpoint.safetensors", "model.golf", "manifest.yaml", "trace.jsonl"] {
        let path = here.join("run").join(name);
        std::fs::write(&path, "schema: mine").unwrap();
        for more in [&[][..], &["--fresh"]] {
            let message = refusal(here, more);
            assert!(message.contains(name) && message.contains("was not made by a run"), "{message}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"schema: mine");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
#[cfg(unix)]
fn a_reader_that_leaves_ends_no_reproduction() {
    let workshop = workshop();
    let here = workshop.folder.path();
    let arguments = ["tiny.yaml", "--threads", "1", "--out", "run"];
    assert_eq!(crate::outputs::with_closed_pipe(here, "reproduce", &arguments), 1);
    assert!(here.join("run/model.golf").exists());
    let written = golf_harness::manifest::load(&here.join("run/manifest.yaml")).unwrap();
    assert_eq!(written.results.scores.len(), 4);
}

/// `kill -9` at some moment after the first state: the same command goes on, to the bits of a run without a break.
#[test]
#[cfg(unix)]
fn a_killed_reproduction_goes_on_to_the_same_bits() {
    let workshop = workshop();
    let here = workshop.folder.path();
    // Small steps, each with a state: a killed run has some behind it and most before it, at any level of optimization.
    let settings = [
        "schedule.iterations=60",
        "schedule.val_loss_every=0",
        "schedule.warmup_steps=0",
        "schedule.train_batch_tokens=128",
        "model.num_layers=1",
        "eval.seq_len=64",
        "eval.stride=64",
    ];
    let mut longer: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    longer.extend(["--checkpoint-seconds", "0.001"]);
    let mut arguments = vec!["tiny.yaml", "--threads", "1", "--out", "run", "--quiet"];
    arguments.extend(&longer);
    let spawn = || {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("reproduce"));
        command.current_dir(here).env_clear().args(&arguments).stdout(Stdio::null()).spawn().unwrap()
    };
    let mut child = spawn();
    let start = Instant::now();
    while !here.join("run/training-state.safetensors").exists() && child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(5));
    }
    let signal =
        |name: &str| std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(signal("-STOP").success());
    // A second one is told whose the folder is.
    let message = refusal(here, &longer);
    assert!(message.contains(&format!("in use by process {}", child.id())), "{message}");
    assert!(signal("-CONT").success());
    std::thread::sleep(Duration::from_millis(u64::from(std::process::id() % 20)));
    child.kill().unwrap();
    child.wait().unwrap();
    json(here, 1, &longer);
    let resumed = std::fs::read(here.join("run/checkpoint.safetensors")).unwrap();
    let log = std::fs::read_to_string(here.join("run/train.log")).unwrap();
    assert!(log.contains("resume:step:"), "{log}");
    std::fs::remove_dir_all(here.join("run")).unwrap();
    json(here, 1, &longer);
    assert!(std::fs::read(here.join("run/checkpoint.safetensors")).unwrap() == resumed);
}

/// Each stage describes an interrupt in its own way; the exit code is one.
#[test]
#[cfg(unix)]
fn a_signal_while_it_scores_is_an_interrupt_too() {
    let workshop = workshop();
    let here = workshop.folder.path();
    let settings = ["schedule.iterations=1", "schedule.warmup_steps=0", "eval.seq_len=256", "eval.stride=1"];
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("reproduce"));
    command.current_dir(here).env_clear().args(["tiny.yaml", "--threads", "1", "--out", "run", "--quiet"]);
    command.args(settings.iter().flat_map(|setting| ["--set", setting]));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while !here.join("run/model.golf").exists() {
        assert!(start.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    let signal = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signal.success());
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains("interrupted"), "{message}");
}
