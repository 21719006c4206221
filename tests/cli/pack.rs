//! `pack` on good and bad input.

use std::path::{Path, PathBuf};

use golf_harness::model::{HostTensor, ModelConfig, Params, write_safetensors};
use golf_harness::quant::TensorClass;
use golf_harness::{artifact, manifest};
use tempfile::TempDir;

use crate::support::{filtered, golf};

const MODEL: &str = "model: { vocab_size: 64, num_layers: 2, model_dim: 16, num_heads: 2, num_kv_heads: 1, \
                     bigram_vocab_size: 32, bigram_dim: 8 }\n\
                     quantization: { passthrough_max_elements: 100 }\n";

/// Something done to a workshop before packing.
type Damage = fn(&Workshop);

/// A folder with a recipe and weights that fit it.
struct Workshop(TempDir);

impl Workshop {
    fn new() -> Self {
        let workshop = Workshop(tempfile::tempdir().unwrap());
        workshop.recipe("code: [{ path: train_gpt.py, bytes: 56721 }]\n");
        write_safetensors(&workshop.path("weights.safetensors"), &weights()).unwrap();
        workshop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn recipe(&self, more: &str) {
        let text = format!("schema: golf-harness/manifest/v1\nname: tiny\n{MODEL}{more}");
        std::fs::write(self.path("recipe.yaml"), text).unwrap();
    }

    fn pack(&self, flags: &[&str]) -> assert_cmd::Command {
        let mut command = golf("pack");
        command.current_dir(self.0.path()).args(["recipe.yaml", "--checkpoint", "weights.safetensors"]).args(flags);
        command
    }

    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn config() -> ModelConfig {
    let text = format!("schema: golf-harness/manifest/v1\nname: tiny\n{MODEL}");
    manifest::parse(&text, Path::new("recipe.yaml")).unwrap().model
}

/// Deterministic weights of both signs; no two rows alike.
fn weights() -> Params {
    let mut params = Params::zeros(&config());
    for (t, (_, tensor)) in params.iter_mut().enumerate() {
        for (i, value) in tensor.data_mut().iter_mut().enumerate() {
            *value = (((i * 2_654_435_761 + t * 40_503) % 2003) as f32 - 1001.0) / 4000.0;
        }
    }
    params
}

fn stdout(command: &mut assert_cmd::Command, code: i32) -> String {
    String::from_utf8(command.assert().code(code).get_output().stdout.clone()).unwrap()
}

fn stderr(command: &mut assert_cmd::Command, code: i32) -> String {
    String::from_utf8(command.assert().code(code).get_output().stderr.clone()).unwrap()
}

#[test]
fn prints_the_table_and_the_budget() {
    let workshop = Workshop::new();
    insta::assert_snapshot!(filtered(
        &stdout(&mut workshop.pack(&["--out", "run"]), 0),
        &[(r"[0-9a-f]{64}", "[digest]")]
    ));
    insta::assert_snapshot!(
        "verbose",
        stdout(&mut workshop.pack(&["--out", "run", "-v"]), 0).split("\n\n").next().unwrap()
    );
}

#[test]
fn artifact_and_manifest_agree_and_decode() {
    let workshop = Workshop::new();
    workshop.pack(&["--out", "run", "--quiet"]).assert().success();
    let manifest = manifest::load(&workshop.path("run/manifest.yaml")).unwrap();
    let record = manifest.artifact.unwrap();
    let artifact = artifact::read(&workshop.path("run").join(&record.path)).unwrap();
    assert_eq!(
        (record.bytes, record.sha256, record.blake3),
        (artifact.file.bytes, artifact.file.sha256, artifact.file.blake3)
    );
    assert_eq!(record.payload, artifact.payload);
    assert_eq!(record.tensors, artifact.tensors);
    assert_eq!(record.zstd.unwrap().level, 22);
    // Paths still lead where they led, from the new folder.
    assert_eq!(manifest.code[0].path, Path::new("../train_gpt.py"));
    let arranged = artifact.params.arrange(&config()).unwrap();
    for (name, tensor) in weights().iter() {
        let decoded = arranged.get(name).unwrap();
        let step = tensor.data().iter().zip(decoded.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Half of the largest step: 0.25/15 for int5; the int8 floor of 1/127 is smaller.
        assert!(step <= 0.5 * 0.2503 / 15.0 + 1e-4, "{name}: {step}");
    }
}

#[test]
fn what_pytorch_loads_is_packed_sealed_and_taken_apart() {
    let workshop = Workshop::new();
    workshop.recipe("");
    let flags = ["--container", "torch:brotli/labels", "--out", "run"];
    let report = stdout(&mut workshop.pack(&flags), 0);
    assert!(report.contains("torch:brotli/labels: ") && report.contains(" bytes of torch.save, compressed as one"));
    let manifest = manifest::load(&workshop.path("run/manifest.yaml")).unwrap();
    let record = manifest.artifact.unwrap();
    assert_eq!((record.path.as_path(), record.zstd), (Path::new("model.ptz"), None));
    let file = std::fs::read(workshop.path("run/model.ptz")).unwrap();
    assert_eq!(record.bytes.0, file.len() as u64);
    let found = artifact::foreign::read(&workshop.path("run/model.ptz")).unwrap();
    assert_eq!(found.description(), "brotli > byte shuffle > torch zip > PR #286 export (w, m)");
    assert_eq!(found.content, record.payload);
    assert!(found.params().arrange(&config()).is_ok());
    let report = stdout(golf("verify").current_dir(workshop.0.path()).args(["run/manifest.yaml", "--json"]), 0);
    assert!(report.contains("artifact_decodes") || !report.contains("\"fail\""), "{report}");
    let listed = stdout(golf("pack").current_dir(workshop.0.path()).args(["--inspect", "run/model.ptz"]), 0);
    assert!(listed.contains("mlp.fc.weight"), "{listed}");

    // Packed again, by the recorded settings, the same bytes; written by itself it may be written again.
    let again = |flags: &[&str]| {
        golf("pack")
            .current_dir(workshop.0.path())
            .args(["run/manifest.yaml", "--checkpoint", "weights.safetensors", "-o", "final_model.int6.ptz"])
            .args(flags)
            .assert()
            .success();
        std::fs::read(workshop.path("final_model.int6.ptz")).unwrap()
    };
    assert!(again(&[]) == file && again(&["--threads", "1"]) == file);

    let error = stderr(&mut workshop.pack(&["--container", "torch", "--codec", "ans", "--out", "other"]), 2);
    assert!(error.contains("quantization.codec: is of golf files, and container is torch:zstd:22"), "{error}");
    let error = stderr(&mut workshop.pack(&["--container", "zip"]), 2);
    assert!(error.contains("is not golf, torch or torch:CODEC"), "{error}");
    let rule = ["--rule", "blocks.*=row_maximum+low_rank:2", "--out", "other"];
    let error = stderr(workshop.pack(&rule).args(["--container", "torch"]), 2);
    assert!(error.contains("quantization.container: holds what scripts load, and they add no low_rank"), "{error}");

    // Of a run that ended before its manifest named the file; in any other folder it may be a person's.
    std::fs::remove_file(workshop.path("run/manifest.yaml")).unwrap();
    let error = stderr(&mut workshop.pack(&flags), 2);
    assert!(error.contains("model.ptz"), "{error}");
    std::fs::write(workshop.path("run/trace.jsonl"), "{\"schema\":\"golf-harness/trace/v1\"}\n").unwrap();
    workshop.pack(&flags).assert().success();
    assert!(std::fs::read(workshop.path("run/model.ptz")).unwrap() == file);
}

#[test]
fn corrections_of_low_rank_are_tensors_of_a_golf_file() {
    let workshop = Workshop::new();
    let rule = ["--rule", "blocks.*.mlp.*=row_maximum+low_rank:2:int8:3"];
    workshop.pack(&["-o", "a.golf"]).args(rule).assert().success();
    let record = manifest::load(&workshop.path("a.golf.manifest.yaml")).unwrap().artifact.unwrap();
    // Three of four matrices are corrected, by two factors each.
    let factors = record.tensors.iter().filter(|tensor| tensor.name.contains(".low_rank.")).count();
    assert_eq!(factors, 6);
    assert!(artifact::read(&workshop.path("a.golf")).unwrap().params.arrange(&config()).is_ok());
    let listed = stdout(golf("pack").current_dir(workshop.0.path()).args(["--inspect", "a.golf"]), 0);
    assert!(listed.contains("mlp.fc.weight.low_rank.left"), "{listed}");
    let error = stderr(workshop.pack(&rule).args(["--prune-to", "9000", "--out", "other"]), 2);
    assert!(error.contains("quantization.prune_to: would change what low_rank"), "{error}");
}

#[test]
fn code_is_copied_into_the_run_folder_so_that_it_can_be_sealed() {
    let workshop = Workshop::new();
    std::fs::write(workshop.path("train_gpt.py"), "#".repeat(56_721)).unwrap();
    workshop.pack(&["--out", "run", "--quiet"]).assert().success();
    let manifest = manifest::load(&workshop.path("run/manifest.yaml")).unwrap();
    assert_eq!(manifest.code[0].path, Path::new("code/train_gpt.py"));

    let report = stdout(golf("verify").current_dir(workshop.0.path()).args(["run/manifest.yaml", "--json"]), 0);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let text = report.to_string();
    assert!(text.contains("\"sealed\""), "{text}");
}

#[test]
fn packing_again_gives_the_same_bytes_with_any_number_of_threads() {
    let workshop = Workshop::new();
    let file = |flags: &[&str]| {
        workshop.pack(flags).args(["-o", "a.golf"]).assert().success();
        std::fs::read(workshop.path("a.golf")).unwrap()
    };
    let one = file(&["--threads", "1"]);
    let ans = file(&["--codec", "ans", "--threads", "1"]);
    assert_ne!(one, ans);
    for threads in ["2", "3", "4"] {
        assert_eq!(one, file(&["--threads", threads]));
        assert_eq!(ans, file(&["--codec", "ans", "--threads", threads]));
    }
    assert_ne!(one, file(&["--prune", "0.5"]));
    assert!(workshop.files().contains(&"a.golf.manifest.yaml".to_string()));
}

#[test]
fn flags_win_over_environment_and_both_are_recorded() {
    let workshop = Workshop::new();
    let quantization = |command: &mut assert_cmd::Command| {
        let document: serde_json::Value =
            serde_json::from_str(&stdout(command.args(["--out", "r", "--json"]), 0)).unwrap();
        let recorded = manifest::load(&workshop.path("r/manifest.yaml")).unwrap().quantization;
        assert_eq!(serde_json::to_value(&recorded).unwrap(), document["quantization"]);
        (recorded.keep_last_k_fp16, recorded.prune_fraction, recorded.zstd_level)
    };
    assert_eq!(quantization(&mut workshop.pack(&[])), (1, 0.0, 22));
    assert_eq!(quantization(workshop.pack(&[]).env("KEEP_LAST_K_FP16", "2").env("PRUNE_FRAC", "0.1")), (2, 0.1, 22));
    let mut flags = workshop.pack(&["--keep-last-k", "0", "--set", "quantization.zstd_level=3"]);
    assert_eq!(quantization(flags.env("KEEP_LAST_K_FP16", "2")), (0, 0.0, 3));
    // Nothing but quantization is taken from the environment: the run is over.
    workshop.pack(&["--out", "r"]).env("SEED", "nonsense").assert().success();
    let error = stderr(&mut workshop.pack(&["--set", "schedule.seed=1"]), 2);
    insta::assert_snapshot!(error, @"error: --set schedule.seed=1: pack sets quantization.* only");
}

#[test]
fn classes_and_scales_are_recorded_and_pack_to_the_same_bytes() {
    let workshop = Workshop::new();
    let plain = {
        workshop.pack(&["-o", "plain.golf", "--quiet"]).assert().success();
        std::fs::read(workshop.path("plain.golf")).unwrap()
    };
    let flags = ["--class", "blocks.*.mlp.*=int6", "--class", "smear.gate=f32", "--scale-search", "mse", "-v"];
    let text = stdout(&mut workshop.pack(&[&flags[..], &["-o", "a.golf"]].concat()), 0);
    assert!(text.contains("blocks.0.mlp.fc.weight             int6  by name"), "{text}");
    let artifact = artifact::read(&workshop.path("a.golf")).unwrap();
    for tensor in &artifact.tensors {
        let named = if tensor.name.contains(".mlp.") {
            Some(TensorClass::Int6)
        } else {
            (tensor.name == "smear.gate").then_some(TensorClass::F32)
        };
        assert!(named.is_none_or(|class| class == tensor.class), "{tensor:?}");
    }
    let bytes = std::fs::read(workshop.path("a.golf")).unwrap();
    assert_ne!(bytes, plain);

    let mut again = golf("pack");
    again.current_dir(workshop.0.path()).args(["a.golf.manifest.yaml", "--checkpoint", "weights.safetensors"]);
    again.args(["-o", "b.golf"]).assert().success();
    assert_eq!(std::fs::read(workshop.path("b.golf")).unwrap(), bytes);
    // What was recorded can be taken back.
    let back = ["--set", "quantization.classes=", "--scale-search", "max", "-o", "c.golf"];
    let mut back_to_plain = golf("pack");
    back_to_plain.current_dir(workshop.0.path()).args(["a.golf.manifest.yaml", "--checkpoint", "weights.safetensors"]);
    back_to_plain.args(back).assert().success();
    assert_eq!(std::fs::read(workshop.path("c.golf")).unwrap(), plain);
}

#[test]
fn rules_are_recorded_and_what_they_cannot_be_is_said() {
    let workshop = Workshop::new();
    let flags = ["--rule", "blocks.*.mlp.*=deviation:9.5", "--rule", "*=clip_search", "-o", "a.golf", "--quiet"];
    workshop.pack(&flags).assert().success();
    let recorded = manifest::load(&workshop.path("a.golf.manifest.yaml")).unwrap();
    let rules: Vec<String> = recorded.quantization.rules.iter().map(ToString::to_string).collect();
    assert_eq!(rules, ["blocks.*.mlp.*=deviation:9.5", "*=clip_search"]);
    assert_eq!(recorded.artifact.unwrap().hessians, None);
    let bytes = std::fs::read(workshop.path("a.golf")).unwrap();
    let mut again = golf("pack");
    again.current_dir(workshop.0.path()).args(["a.golf.manifest.yaml", "--checkpoint", "weights.safetensors"]);
    again.args(["-o", "b.golf"]).assert().success();
    assert_eq!(std::fs::read(workshop.path("b.golf")).unwrap(), bytes);

    let before = workshop.files();
    let errors: Vec<String> = [
        &["--rule", "blocks.*.mpl.*=clip_search"][..],
        &["--rule", "blocks.*=deviation"],
        &["--rule", "blocks.*=deviation:12.85:0.2"],
        &["--set", "quantization.rules=blocks.*=quantile:2"],
        &["--prune-to", "57000"],
        &["--hessians", "train.bin"],
        &["--set", "quantization.calibration.sequences=0"],
    ]
    .iter()
    .map(|flags| stderr(workshop.pack(flags).args(["-o", "c.golf"]), 2))
    .collect();
    insta::assert_snapshot!(errors.concat());
    assert_eq!(workshop.files(), before);
}

#[test]
fn no_more_ones_become_zero_than_a_size_needs() {
    let workshop = Workshop::new();
    let pack = |flags: &[&str]| {
        let fixed = ["--class", "blocks.*.weight=int5", "--codec", "ans", "-o", "a.golf", "--json"];
        let text = stdout(&mut workshop.pack(&[flags, &fixed].concat()), 0);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        let params = artifact::read(&workshop.path("a.golf")).unwrap().params;
        (number(&document["budget"]["total"]), number(&document["pruned_weights"]), params)
    };
    let (whole, none, original) = pack(&[]);
    assert_eq!(none, 0);
    assert_eq!(pack(&["--prune-to", &whole.to_string()]).1, 0);
    let wanted = whole - 1;
    let (total, count, pruned) = pack(&["--prune-to", &wanted.to_string()]);
    assert!(total <= wanted && count > 0, "{total} {count}");
    let mut changed = 0;
    for ((name, before), (_, after)) in original.iter().zip(pruned.iter()) {
        let columns = before.shape().last().copied().unwrap_or(1);
        for (before, after) in before.data().chunks(columns).zip(after.data().chunks(columns)) {
            // These weights have every symbol in every row: the smallest that is not zero is 1 or -1.
            let nonzero = before.iter().map(|value| value.abs()).filter(|value| *value > 0.0);
            let one = nonzero.fold(f32::INFINITY, f32::min);
            for (before, after) in before.iter().zip(after).filter(|(before, after)| before != after) {
                assert!(*after == 0.0 && before.abs() == one, "{name}: {before} {after}");
                assert_ne!(name, "bigram.embed.weight", "int8 stays");
                changed += 1;
            }
        }
    }
    assert_eq!(changed, count);
    let recorded = manifest::load(&workshop.path("a.golf.manifest.yaml")).unwrap();
    assert_eq!(recorded.quantization.prune_to.map(|bytes| bytes.0), Some(wanted));
}

#[test]
#[cfg(not(feature = "engine"))]
fn gptq_needs_an_engine() {
    let error = stderr(&mut Workshop::new().pack(&["--rule", "blocks.*=clip_search/gptq", "-o", "a.golf"]), 2);
    assert!(error.contains("rounding gptq runs the network, and this `pack` was built without"), "{error}");
}

#[test]
fn a_pattern_without_tensor_is_an_error_with_near_names() {
    let workshop = Workshop::new();
    let before = workshop.files();
    let error = stderr(&mut workshop.pack(&["--class", "blocks.*.mpl.*=int6", "-o", "a.golf"]), 2);
    insta::assert_snapshot!(error, @"error: recipe.yaml: quantization.classes: pattern `blocks.*.mpl.*` matches no tensor of this model; near it are `blocks.*.mlp_scale`, `blocks.*.mlp.fc.weight`, `blocks.*.mlp.proj.weight`");
    let error = stderr(&mut workshop.pack(&["--class", "tok_emb.weight=int4", "-o", "a.golf"]), 2);
    assert!(error.contains("is not PATTERN=CLASS with class int5, int6, int8, f16 or f32"), "{error}");
    assert_eq!(workshop.files(), before);
}

#[test]
fn over_budget_is_written_and_exits_1() {
    let workshop = Workshop::new();
    workshop.recipe("code: [{ path: train_gpt.py, bytes: 16000000 }]\n");
    let text = stdout(&mut workshop.pack(&["--out", "run", "--quiet"]), 1);
    assert!(text.contains("OVER BUDGET"), "{text}");
    let record = manifest::load(&workshop.path("run/manifest.yaml")).unwrap().artifact.unwrap();
    assert!(text.contains(&format!("margin -{}", golf_harness::units::Bytes(record.bytes.0))), "{text}");
    assert!(artifact::read(&workshop.path("run/model.golf")).is_ok());
}

#[test]
fn bad_input_is_named_and_nothing_is_written() {
    let cases: [(&str, Damage); 8] = [
        ("missing checkpoint", |w| std::fs::remove_file(w.path("weights.safetensors")).unwrap()),
        ("empty checkpoint", |w| std::fs::write(w.path("weights.safetensors"), b"").unwrap()),
        ("truncated checkpoint", |w| {
            let bytes = std::fs::read(w.path("weights.safetensors")).unwrap();
            std::fs::write(w.path("weights.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("NaN weights", |w| {
            let mut bad = weights();
            bad.get_mut("blocks.1.mlp.fc.weight").unwrap().data_mut()[77] = f32::NAN;
            write_safetensors(&w.path("weights.safetensors"), &bad).unwrap();
        }),
        ("weights of another model", |w| {
            let mut entries = weights().into_entries();
            entries[1].1 = HostTensor::zeros(&[65, 16]);
            write_safetensors(&w.path("weights.safetensors"), &Params::from_entries(entries)).unwrap();
        }),
        ("weights beyond half precision", |w| {
            let mut bad = weights();
            bad.get_mut("blocks.0.mlp.fc.weight").unwrap().data_mut()[40] = 3e6;
            write_safetensors(&w.path("weights.safetensors"), &bad).unwrap();
        }),
        ("unknown key", |w| w.recipe("artifcat: 1\n")),
        ("impossible fraction", |w| {
            let text = std::fs::read_to_string(w.path("recipe.yaml")).unwrap();
            let text = text.replace("passthrough_max_elements: 100", "prune_fraction: 1.5");
            std::fs::write(w.path("recipe.yaml"), text).unwrap();
        }),
    ];
    let mut messages = String::new();
    for (what, damage) in cases {
        let workshop = Workshop::new();
        damage(&workshop);
        let before = workshop.files();
        let message = stderr(&mut workshop.pack(&["-o", "a.golf"]), 2);
        messages.push_str(&format!("{what}\n  {}\n", message.trim_end().replace('\n', "\n  ")));
        assert_eq!(workshop.files(), before, "{what}");
    }
    insta::assert_snapshot!(messages);
}

#[test]
fn a_recipe_without_training_needs_a_checkpoint() {
    let workshop = Workshop::new();
    let mut command = golf("pack");
    let error = stderr(command.current_dir(workshop.0.path()).arg("recipe.yaml"), 2);
    insta::assert_snapshot!(error, @"error: recipe.yaml names no trained checkpoint; train it first, or give one with --checkpoint FILE");
}

#[test]
fn a_run_folder_is_packed_in_place_and_its_checkpoint_must_be_the_trained_one() {
    let workshop = Workshop::new();
    let digest = golf_harness::digest::ContentDigest::of_file(&workshop.path("weights.safetensors")).unwrap();
    std::fs::create_dir(workshop.path("run")).unwrap();
    std::fs::rename(workshop.path("weights.safetensors"), workshop.path("run/checkpoint.safetensors")).unwrap();
    let manifest = std::fs::read_to_string(workshop.path("recipe.yaml")).unwrap();
    let training = format!(
        "results: {{ training: {{ steps: 1, train_time_ms: 1.0, train_loss: 1.0, swa_snapshots: 0,\n  checkpoint: \
         {{ path: checkpoint.safetensors, sha256: {} }}, trace: {{ path: trace.jsonl }} }} }}\n",
        digest.sha256
    );
    // As `train` leaves it.
    let path = workshop.path("run/manifest.yaml");
    manifest::save(&manifest::parse(&(manifest + &training), &path).unwrap(), &path).unwrap();
    let pack = || {
        let mut command = golf("pack");
        command.current_dir(workshop.0.path()).arg("run/manifest.yaml");
        command
    };
    pack().assert().success();
    let written = manifest::load(&workshop.path("run/manifest.yaml")).unwrap();
    assert_eq!(written.artifact.unwrap().path, Path::new("model.golf"));
    assert_eq!(written.code[0].path, Path::new("train_gpt.py"));
    assert_eq!(written.results.training.unwrap().checkpoint.path, Path::new("checkpoint.safetensors"));

    // What was found about these bytes stays with them.
    let scored = |label: &str| {
        let mut manifest = manifest::load(&path).unwrap();
        let score = "{ val_loss: 1.0, val_bpb: 1.0, tokens: 1, bytes: 1, windows: 1, engine: kernels }";
        manifest.results.scores.insert(label.into(), serde_yaml::from_str(score).unwrap());
        manifest::save(&manifest, &path).unwrap();
    };
    scored("packed/sliding");
    scored("checkpoint/sliding");
    let labels = || manifest::load(&path).unwrap().results.scores.into_keys().collect::<Vec<_>>();
    pack().assert().success();
    assert_eq!(labels(), ["checkpoint/sliding", "packed/sliding"]);
    pack().args(["--prune", "0.5"]).assert().success();
    assert_eq!(labels(), ["checkpoint/sliding"]);
    pack().args(["--prune", "0"]).assert().success();

    let old = std::fs::read(workshop.path("run/model.golf")).unwrap();
    let mut other = weights();
    other.get_mut("smear.gate").unwrap().data_mut()[0] += 0.5;
    write_safetensors(&workshop.path("run/checkpoint.safetensors"), &other).unwrap();
    let error = stderr(&mut pack(), 2);
    assert!(error.contains("the manifest's training results give"), "{error}");
    assert_eq!(std::fs::read(workshop.path("run/model.golf")).unwrap(), old);
}

#[test]
fn outputs_that_cannot_be_written_are_found_before_the_work() {
    let workshop = Workshop::new();
    std::fs::write(workshop.path("file"), b"in the way").unwrap();
    std::fs::create_dir(workshop.path("folder")).unwrap();
    for (target, part) in [("file/model.golf", "file"), ("folder", "a folder is there"), ("/proc/model.golf", "/proc")]
    {
        let error = stderr(&mut workshop.pack(&["-o", target]), 2);
        assert!(error.starts_with("error: ") && error.contains(part), "{error}");
    }
    assert_eq!(std::fs::read(workshop.path("file")).unwrap(), b"in the way");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_device_on_stdout_is_an_error() {
    let workshop = Workshop::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = std::process::Command::new(assert_cmd::cargo::cargo_bin("pack"))
        .current_dir(workshop.0.path())
        .args(["recipe.yaml", "--checkpoint", "weights.safetensors", "-o", "a.golf"])
        .stdout(full)
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
#[cfg(unix)]
fn an_interrupted_pack_leaves_the_old_files() {
    let workshop = Workshop::new();
    workshop.pack(&["-o", "a.golf", "--quiet"]).assert().success();
    let old = std::fs::read(workshop.path("a.golf")).unwrap();
    let before = workshop.files();
    // Weights large enough that the signal arrives while they are being packed.
    let wide = MODEL.replace("model_dim: 16", "model_dim: 768");
    let text = format!("schema: golf-harness/manifest/v1\nname: tiny\n{wide}");
    std::fs::write(workshop.path("recipe.yaml"), &text).unwrap();
    let config = manifest::parse(&text, Path::new("recipe.yaml")).unwrap().model;
    let mut params = Params::zeros(&config);
    for (_, tensor) in params.iter_mut() {
        tensor.data_mut().iter_mut().enumerate().for_each(|(i, value)| *value = ((i * 7919) % 1009) as f32 - 504.0);
    }
    write_safetensors(&workshop.path("weights.safetensors"), &params).unwrap();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("pack"))
        .current_dir(workshop.0.path())
        .args(["recipe.yaml", "--checkpoint", "weights.safetensors", "-o", "a.golf"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let signaled = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signaled.success());
    let code = child.wait().unwrap().code();
    assert_eq!(workshop.files(), before);
    let now = std::fs::read(workshop.path("a.golf")).unwrap();
    match code {
        Some(130) => assert_eq!(now, old),
        // Finished first: then the new file is whole.
        _ => assert!(artifact::parse(&now).is_ok()),
    }
}

#[test]
#[cfg(not(feature = "engine"))]
fn a_fit_needs_an_engine() {
    let error = stderr(&mut Workshop::new().pack(&["--fit", "1000000"]), 2);
    assert!(error.contains("was built without the numeric engines; build it with"), "{error}");
}

#[test]
fn every_class_is_in_use_here() {
    let workshop = Workshop::new();
    workshop.pack(&["-o", "a.golf", "--quiet"]).assert().success();
    let artifact = artifact::read(&workshop.path("a.golf")).unwrap();
    for class in [TensorClass::Int5, TensorClass::Int6, TensorClass::Int8, TensorClass::F16] {
        assert!(artifact.tensors.iter().any(|tensor| tensor.class == class), "{class}");
    }
}
