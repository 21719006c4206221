//! `--score`: artifacts that come out of a rerun, scored by this program, beside what the script says of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use golf_harness::model::{ModelConfig, layout};

use crate::command::{Submission, words};

/// Where this project's text and tokenizer lie.
fn smoke() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/smoke")
}

/// A manifest of a small network on the shipped text.
fn manifest() -> String {
    let data = smoke();
    format!(
        "schema: golf-harness/manifest/v1\nname: zeros\nclaim: {{ track: non_record_16mb }}\n\
         model: {{ vocab_size: 1024, num_layers: 2, model_dim: 16, num_heads: 2, num_kv_heads: 1, bigram_vocab_size: 64, bigram_dim: 64 }}\n\
         eval: {{ seq_len: 256, stride: 200, batch_windows: 32 }}\n\
         data:\n  path: {data}\n  train_pattern: smoke_train_*.bin\n  val_pattern: smoke_val_*.bin\n  \
         tokenizer: {{ path: {data}/tokenizer.model }}\n",
        data = data.display()
    )
}

/// A submission whose script writes that network with all weights zero, so that every token has the same probability, and
/// says what that comes to by counting tokens and bytes itself; `moved` is added to what it says.
fn zeros(moved: f64) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("zeros");
    std::fs::create_dir(&folder).unwrap();
    let model: ModelConfig = {
        let text: serde_json::Value = serde_yaml(&manifest());
        serde_json::from_value(text["model"].clone()).unwrap()
    };
    let shapes: Vec<String> =
        layout(&model).iter().map(|spec| format!("({:?}, {:?})", spec.name, spec.shape)).collect();
    let shipped = include_str!("../../../fixtures/submissions/runnable/train_gpt.py");
    let (reading, _) = shipped.split_once("class Trigrams").unwrap();
    let script = format!(
        "{reading}\n\
         SHAPES = [{}]\n\
         print(f'seed:{{SEED}}')\n\
         print('step:0/1 train_loss:7.0 train_time:0ms step_avg:0.00ms')\n\
         print('step:1/1 train_loss:7.0 train_time:1ms step_avg:1.00ms')\n\
         header, at = {{}}, 0\n\
         for name, shape in SHAPES:\n    \
             size = 4 * math.prod(shape)\n    \
             header[name] = {{'dtype': 'F32', 'shape': list(shape), 'data_offsets': [at, at + size]}}\n    \
             at += size\n\
         text = json.dumps(header).encode()\n\
         text += b' ' * (-len(text) % 8)\n\
         with open(ARTIFACT, 'wb') as file:\n    \
             file.write(zlib.compress(struct.pack('<Q', len(text)) + text + bytes(at)))\n\
         counts, spaces, boundaries = byte_counts()\n\
         tokens = [token for shard in shards('val') for token in shard]\n\
         pairs = list(zip(tokens, tokens[1:]))\n\
         size = sum(counts[b] + (spaces[b] and not boundaries[a]) for a, b in pairs)\n\
         bpb = math.log2(VOCAB_SIZE) * len(pairs) / size + {moved}\n\
         print('Serialized model int8+zlib: %d bytes' % os.path.getsize(ARTIFACT))\n\
         print(f'final_int8_zlib_roundtrip_exact val_loss:{{math.log(VOCAB_SIZE):.8f}} val_bpb:{{bpb:.8f}}')\n",
        shapes.join(", "),
    );
    std::fs::write(folder.join("train_gpt.py"), script).unwrap();
    std::fs::write(folder.join("README.md"), "# Zeros\n\n```bash\nSEED=1 python3 train_gpt.py\n```\n").unwrap();
    std::fs::write(folder.join("submission.json"), "{\"name\": \"Zeros\", \"track\": \"non-record-16mb\"}\n").unwrap();
    std::fs::write(root.path().join("zeros.yaml"), manifest()).unwrap();
    (root, folder)
}

fn serde_yaml(text: &str) -> serde_json::Value {
    golf_harness::manifest::parse(text, Path::new("zeros.yaml")).map(|m| serde_json::to_value(m).unwrap()).unwrap()
}

fn rerun(folder: &Path, out: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(crate::support::program());
    command.arg(folder).arg("--out").arg(out).args(["--seeds", "1,2", "-q"]).args(arguments);
    command.arg("--data-path").arg(smoke()).arg("--tokenizer-path").arg(smoke().join("tokenizer.model"));
    words(&command.env("NO_COLOR", "1").output().unwrap())
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn what_the_script_says_of_its_artifact_is_held_to_a_score_of_our_own() {
    let (root, folder) = zeros(0.0);
    let (manifest, out) = (root.path().join("zeros.yaml"), root.path().join("out"));
    let (_, text, err) = rerun(&folder, &out, &[&format!("--score={}", manifest.display())]);
    assert_eq!(text.matches("agrees").count(), 2, "{text}{err}");
    assert!(text.contains("scored      by kernels") || text.contains("scored      by cuda"), "{text}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    for seed in report["scoring"]["seeds"].as_array().unwrap() {
        // ln 1024 nats a token, whatever the engine.
        assert!((seed["val_loss"].as_f64().unwrap() - 1024f64.ln()).abs() < 1e-5, "{seed}");
        assert!(seed["difference"].as_f64().unwrap().abs() < 1e-5, "{seed}");
    }
    for (file, words) in [
        ("report.md", "| seed | script | scored by golf-harness |"),
        ("report.html", "bpb of seed 2: script, and scored here"),
        ("statement.intoto.json", "\"scoring\""),
    ] {
        assert!(std::fs::read_to_string(out.join(file)).unwrap().contains(words), "{file}");
    }
    // A file that is not what the run left is not scored in its place.
    let artifact = out.join("seed-2/work/final_model.int8.ptz");
    std::fs::write(&artifact, std::fs::read(&artifact).unwrap().iter().rev().copied().collect::<Vec<u8>>()).unwrap();
    let (code, text, _) = rerun(&folder, &out, &[&format!("--score={}", manifest.display())]);
    assert_ne!(code, Some(0), "{text}");
    assert!(text.contains("NOT SCORED") && text.matches("agrees").count() == 1, "{text}");
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn a_script_that_says_less_than_its_artifact_scores_fails() {
    let (root, folder) = zeros(-0.001);
    // The network is described in the folder itself.
    std::fs::copy(root.path().join("zeros.yaml"), folder.join("manifest.yaml")).unwrap();
    let (code, text, err) = rerun(&folder, &root.path().join("out"), &["--score"]);
    assert_eq!(code, Some(1), "{text}{err}");
    assert_eq!(text.matches("+0.0010").count(), 2, "{text}");
    assert!(text.contains("score_differs: seed 1: its artifact scores"), "{text}");
}

#[test]
#[ignore = "needs bubblewrap and python3"]
fn what_cannot_be_scored_is_said_and_is_no_success() {
    let submission = Submission::claiming(0.0);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/smoke.yaml");
    let (code, text, err) = submission.rerun(&["--seeds", "1,2,3", "-q", &format!("--score={}", manifest.display())]);
    assert_eq!(code, Some(2), "{text}{err}");
    assert_eq!(text.matches("NOT SCORED").count(), 3, "{text}");
    assert!(text.contains("not_scored: seed 1: its artifact was not scored: "), "{text}");
    // What is missing is known before anything runs.
    let other = Submission::claiming(0.0);
    let absent = other.root.path().join("absent.yaml");
    std::fs::write(&absent, std::fs::read_to_string(&manifest).unwrap().replace("../fixtures/smoke", "/nowhere"))
        .unwrap();
    for (score, words) in [
        ("--score".to_string(), "no manifest.yaml"),
        (format!("--score={}", absent.display()), "/nowhere"),
        ("--score=/nowhere/m.yaml".to_string(), "/nowhere/m.yaml"),
    ] {
        let (code, text, err) = other.rerun(&["--seeds", "1", &score]);
        assert_eq!(code, Some(2), "{text}{err}");
        assert!(err.contains(words), "{err}");
        assert!(!other.out().exists());
    }
}
