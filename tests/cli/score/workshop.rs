//! A folder to score in.

use std::path::{Path, PathBuf};

use golf_harness::data::{Shard, write_shard};
use golf_harness::manifest;
use golf_harness::model::{ModelConfig, Params, write_safetensors};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{filtered, fixture, golf};

/// Tokens of the two validation shards.
pub const SHARD_TOKENS: [usize; 2] = [331, 190];

/// A folder with data, weights and a run that `pack` finished.
pub struct Workshop(TempDir);

impl Workshop {
    pub fn new() -> Self {
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

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// `score` with any arguments, run in the folder.
    pub fn command(&self, args: &[&str]) -> assert_cmd::Command {
        let mut command = golf("score");
        command.current_dir(self.0.path()).args(args);
        command
    }

    /// `score run/manifest.yaml` with flags, as JSON.
    pub fn json(&self, flags: &[&str]) -> Value {
        json(&mut self.command(&[&["run/manifest.yaml", "--json"], flags].concat()))
    }

    /// Standard error of a command that ends with that code and leaves no new file behind.
    pub fn fails(&self, args: &[&str], code: i32) -> String {
        let before = self.files();
        let output = self.command(args).assert().code(code).get_output().clone();
        assert_eq!(self.files(), before, "{args:?} left something behind");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    pub fn files(&self) -> Vec<String> {
        let names = |folder: &str| -> Vec<String> {
            let entries = std::fs::read_dir(self.path(folder)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let mut names = [names("."), names("run"), names("data")].concat();
        names.sort();
        names
    }
}

pub const RECIPE: &str = "schema: golf-harness/manifest/v1\n\
    name: tiny\n\
    model: { num_layers: 2, model_dim: 16, num_heads: 2, num_kv_heads: 1, bigram_vocab_size: 32, bigram_dim: 8 }\n\
    quantization: { passthrough_max_elements: 100 }\n\
    eval: { seq_len: 32, stride: 8, batch_windows: 5 }\n\
    data: { path: data, val_pattern: 'tiny_val_*.bin', tokenizer: { path: data/tokenizer.model } }\n";

pub fn config() -> ModelConfig {
    manifest::parse(RECIPE, Path::new("recipe.yaml")).unwrap().model
}

/// Deterministic weights of both signs; no two rows alike.
pub fn weights() -> Params {
    let mut params = Params::zeros(&config());
    for (t, (_, tensor)) in params.iter_mut().enumerate() {
        for (i, value) in tensor.data_mut().iter_mut().enumerate() {
            *value = (((i * 2_654_435_761 + t * 40_503) % 2003) as f32 - 1001.0) / 1500.0;
        }
    }
    params
}

pub fn stdout(command: &mut assert_cmd::Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

pub fn json(command: &mut assert_cmd::Command) -> Value {
    serde_json::from_str(&stdout(command)).unwrap()
}

/// Numbers that vector units may round differently from one kind of processor to the next.
pub fn without_numbers(text: &str) -> String {
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
pub fn essence(mut report: Value) -> Value {
    for key in ["run", "processors", "cross_check"] {
        report.as_object_mut().unwrap().remove(key).unwrap();
    }
    report
}
