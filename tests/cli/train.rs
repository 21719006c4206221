//! `train` as people run it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use golf_harness::data::{Shard, write_shard};
use golf_harness::manifest;
use predicates::prelude::*;

use crate::support::{fixture, golf};

mod ranks;

/// A folder with shards cut from the smoke data, and a manifest of a model that trains in a second.
pub struct Workshop {
    pub folder: tempfile::TempDir,
}

pub const RECIPE: &str = "\
schema: golf-harness/manifest/v1
name: tiny
model: { num_layers: 2, model_dim: 16, num_heads: 2, num_kv_heads: 1, mlp_mult: 2, bigram_vocab_size: 64, bigram_dim: 8 }
optimizer: { muon: { momentum_warmup_steps: 5 } }
schedule:
  max_wallclock_seconds: 0
  iterations: 12
  warmdown_iters: 8
  warmup_steps: 2
  train_batch_tokens: 256
  train_seq_len: 16
  val_loss_every: 6
  train_log_every: 4
  swa: { every: 2, start_frac: 0.6 }
  qat: { start_frac: 0.8 }
";

impl Workshop {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cut = |from: &str, to: &str, count: usize| {
            let mut tokens = Vec::new();
            Shard::open(&fixture(from)).unwrap().read_into(0, count, &mut tokens).unwrap();
            write_shard(&folder.path().join("data").join(to), &tokens).unwrap();
        };
        cut("smoke/smoke_train_000000.bin", "fineweb_train_000000.bin", 3000);
        cut("smoke/smoke_train_000001.bin", "fineweb_train_000001.bin", 1000);
        cut("smoke/smoke_val_000000.bin", "fineweb_val_000000.bin", 500);
        std::fs::copy(fixture("smoke/tokenizer.model"), folder.path().join("t.model")).unwrap();
        let workshop = Workshop { folder };
        workshop.manifest(RECIPE);
        workshop
    }

    pub fn manifest(&self, recipe: &str) {
        let text = format!("{recipe}data: {{ path: data, tokenizer: {{ path: t.model }} }}\n");
        std::fs::write(self.path("tiny.yaml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, arguments: &[&str]) -> Command {
        let mut command = golf("train");
        command.current_dir(self.folder.path()).arg("tiny.yaml").args(["--threads", "1"]).args(arguments);
        command
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// Names in a folder, sorted; empty when there is none.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs into an error and returns its text, with this folder's path as `[DIR]`.
    fn refusal(&self, arguments: &[&str]) -> String {
        let output = self
            .train(arguments)
            .args(if arguments.contains(&"--quiet") { &[][..] } else { &["--quiet"] })
            .assert()
            .code(2)
            .stdout("")
            .get_output()
            .clone();
        String::from_utf8(output.stderr).unwrap().replace(self.folder.path().to_str().unwrap(), "[DIR]")
    }
}

#[test]
fn the_course_of_a_run_is_drawn_with_what_the_schedule_began() {
    let workshop = Workshop::new();
    workshop.train(&["--out", "run", "--plot", "curves.html", "--quiet"]).assert().success();
    let page = workshop.text("curves.html");
    // Of 12 steps the last 8 lower the rates; a multiplier below 0.6 begins at step 8, and 0.8 of 12 at step 10.
    for expected in ["warm-down: learning rates begin to fall after 5 steps", "after 9 steps", "QAT", "after 10 steps"]
    {
        assert!(page.contains(expected), "{expected} is not in:\n{page}");
    }
    assert_eq!(page.matches("<path class=\"line").count(), 4, "loss and validation, over steps and time");
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"), "{page}");

    workshop.train(&["--out", "run", "--overwrite", "--plot", "curves.svg", "--quiet"]).assert().success();
    assert!(workshop.text("curves.svg").contains("warm-down"));
    for (file, expected) in [("tiny.yaml", "must end in"), ("run/curves.txt", "must end in")] {
        assert!(workshop.refusal(&["--out", "new", "--plot", file]).contains(expected), "{file}");
    }
    std::fs::write(workshop.path("notes.html"), "mine").unwrap();
    let message = workshop.refusal(&["--out", "new", "--plot", "notes.html"]);
    assert!(message.contains("notes.html is there") && workshop.names("new").is_empty(), "{message}");
    assert_eq!(workshop.text("notes.html"), "mine");
}

/// Milliseconds differ from run to run, the last digits of a loss from one kind of processor to another.
fn without_measurements(log: &str) -> String {
    let word = |word: &str| match word.split_once(':') {
        Some((key @ ("train_loss" | "val_loss" | "val_bpb"), value)) if value != "enabled" => format!("{key}:[N]"),
        Some((key @ ("train_time" | "step_avg"), _)) => format!("{key}:[T]ms"),
        _ => word.to_string(),
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<String>>().join(" ");
    log.lines().map(line).collect::<Vec<String>>().join("\n")
}

#[test]
fn a_run_leaves_checkpoint_trace_log_and_manifest() {
    let workshop = Workshop::new();
    let output = workshop.train(&["--out", "run"]).assert().success().get_output().clone();
    let names = ["checkpoint.safetensors", "manifest.yaml", "trace.jsonl", "train.log"];
    assert_eq!(workshop.names("run"), names);

    let log = workshop.text("run/train.log");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.starts_with(&log) && stdout.lines().count() == log.lines().count() + 1, "{stdout}");
    insta::assert_snapshot!("log", without_measurements(&log));
    assert_eq!(workshop.text("run/trace.jsonl").lines().count(), 1 + 12);

    let written = manifest::load(&workshop.path("run/manifest.yaml")).unwrap();
    let training = written.results.training.unwrap();
    assert_eq!((training.steps, training.swa_snapshots), (12, 2));
    let digest = golf_harness::digest::ContentDigest::of(&workshop.read("run/checkpoint.safetensors"));
    assert_eq!(training.checkpoint, manifest::FileRef::new("checkpoint.safetensors", digest));
    assert_eq!(written.data.path, Path::new("../data"));
    assert_eq!(written.data.shards.len(), 3);
    assert!(written.environment.unwrap().cpu.ends_with("(1 threads)"));
    // The manifest of a run is a recipe again, and gives the same weights.
    golf("train")
        .current_dir(workshop.path("run"))
        .args(["manifest.yaml", "--out", "../again", "--threads", "2", "--quiet"])
        .assert()
        .success()
        .stdout(predicate::str::starts_with("trained 12 steps in ").and(predicate::str::contains("\n").count(1)));
    assert!(workshop.read("again/checkpoint.safetensors") == workshop.read("run/checkpoint.safetensors"));
}

#[test]
fn json_is_one_document() {
    let workshop = Workshop::new();
    let output = workshop.train(&["--json", "--iterations", "2"]).assert().success().get_output().clone();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["folder"], "runs/tiny");
    assert_eq!(document["training"]["steps"], 2);
    assert!(document["validation"]["val_bpb"].as_f64().unwrap() > 0.0);
}

#[test]
fn flags_win_over_the_environment_and_it_over_the_manifest() {
    let workshop = Workshop::new();
    workshop
        .train(&["--quiet", "--seed", "9"])
        .env("SEED", "8")
        .env("ITERATIONS", "3")
        .env("RUN_ID", "mine")
        .assert()
        .success();
    let written = manifest::load(&workshop.path("runs/mine/manifest.yaml")).unwrap();
    assert_eq!((written.schedule.seed, written.schedule.iterations), (9, 3));
}

#[test]
fn a_replay_gives_the_same_bytes_and_says_when_it_does_not() {
    let workshop = Workshop::new();
    workshop.train(&["--out", "run", "--quiet"]).assert().success();
    let replay = ["--replay", "run/trace.jsonl", "--quiet", "--out"];
    workshop.train(&[&replay[..], &["replayed"]].concat()).assert().success();
    for name in ["checkpoint.safetensors", "trace.jsonl"] {
        assert!(workshop.read(&format!("replayed/{name}")) == workshop.read(&format!("run/{name}")), "{name}");
    }
    // A trace from a machine with other rounding: the run is done, and the difference is a failed check.
    let text = workshop.text("run/trace.jsonl");
    let loss = text.lines().nth(3).unwrap().split("\"loss\":").nth(1).unwrap().split(',').next().unwrap();
    let elsewhere = text.replace(&format!("\"loss\":{loss}"), "\"loss\":6.5");
    std::fs::write(workshop.path("run/trace.jsonl"), elsewhere).unwrap();
    workshop.train(&[&replay[..], &["elsewhere"]].concat()).assert().code(1);
    assert!(workshop.text("elsewhere/train.log").contains("replay:differs step:3 recorded:6.5 replayed:"));
    assert!(workshop.read("elsewhere/checkpoint.safetensors") == workshop.read("run/checkpoint.safetensors"));
}

#[test]
fn text_in_another_order_is_the_same_on_any_number_of_ranks_and_in_a_replay() {
    let workshop = Workshop::new();
    workshop.train(&["--out", "stream", "--quiet"]).assert().success();
    let mut different = vec![workshop.read("stream/checkpoint.safetensors")];
    assert!(!workshop.text("stream/train.log").contains("train_loader:order"));
    for order in ["shuffled", "coprime"] {
        let set = format!("data.loader={order}");
        let train = |more: &[&str]| workshop.train(&[&["--set", &set, "--quiet"], more].concat()).assert().success();
        let same = |a: &str, b: &str| workshop.read(a) == workshop.read(b);
        train(&["--out", order]);
        assert!(workshop.text(&format!("{order}/train.log")).contains(&format!("train_loader:order:{order} seed:0")));
        let [weights, trace] = ["checkpoint.safetensors", "trace.jsonl"].map(|name| format!("{order}/{name}"));
        train(&["--ranks", "4", "--out", "ranks", "--overwrite"]);
        assert!(same(&weights, "ranks/checkpoint.safetensors"), "{order}");
        train(&["--replay", &trace, "--out", "replayed", "--overwrite"]);
        assert!(same(&weights, "replayed/checkpoint.safetensors") && same(&trace, "replayed/trace.jsonl"), "{order}");
        let refused = workshop.refusal(&["--replay", &trace, "--out", "other"]);
        assert!(refused.contains("`loader` is"), "{refused}");
        train(&["--set", "data.loader_seed=1", "--out", "seeded", "--overwrite"]);
        different.extend([workshop.read(&weights), workshop.read("seeded/checkpoint.safetensors")]);
    }
    assert!((0..different.len()).all(|a| (0..a).all(|b| different[a] != different[b])));
}

/// In an order whose position is found again by drawing anew; a stream's is a number.
#[test]
#[cfg(unix)]
fn ctrl_c_saves_a_state_that_resume_continues_bit_for_bit() {
    let workshop = Workshop::new();
    workshop.manifest(&RECIPE.replace("iterations: 12", "iterations: 60"));
    let shuffled = ["--set", "data.loader=shuffled"];
    workshop.train(&[&["--out", "straight", "--quiet"], &shuffled[..]].concat()).assert().success();

    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("train"));
    let arguments = ["tiny.yaml", "--threads", "1", "--replay", "straight/trace.jsonl", "--out", "broken", "--quiet"];
    command.current_dir(workshop.folder.path()).env_clear().args(arguments).args(shuffled);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&workshop.path("broken/train.log"), "step:2/60 train_loss");
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(
        message.starts_with("error: interrupted after step ") && message.contains("continue with --resume"),
        "{message}"
    );
    assert_eq!(workshop.names("broken"), ["trace.jsonl", "train.log", "training-state.safetensors"]);

    let resume = ["--replay", "straight/trace.jsonl", "--out", "broken", "--quiet"];
    let resume = [&resume[..], &shuffled].concat();
    insta::assert_snapshot!("in_use", workshop.refusal(&resume));
    workshop.train(&[&resume[..], &["--resume"]].concat()).assert().success();
    for name in ["checkpoint.safetensors", "trace.jsonl"] {
        assert!(workshop.read(&format!("broken/{name}")) == workshop.read(&format!("straight/{name}")), "{name}");
    }
}

fn wait_for(path: &Path, text: &str) {
    let start = Instant::now();
    while !std::fs::read_to_string(path).is_ok_and(|log| log.contains(text)) {
        assert!(start.elapsed() < Duration::from_secs(120), "no `{text}` in {}", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn damaged_inputs_are_named_and_nothing_is_written() {
    let mut messages = String::new();
    let mut refuse = |what: &str, damage: &dyn Fn(&Workshop), arguments: &[&str]| {
        let workshop = Workshop::new();
        damage(&workshop);
        messages.push_str(&format!("# {what}\n{}\n", workshop.refusal(&[arguments, &["--out", "run"]].concat())));
        assert_eq!(workshop.names("run"), [] as [&str; 0], "{what}");
    };
    let shard = "data/fineweb_train_000001.bin";
    let change = |change: fn(&mut Vec<u8>)| {
        move |workshop: &Workshop| {
            let mut bytes = workshop.read(shard);
            change(&mut bytes);
            std::fs::write(workshop.path(shard), bytes).unwrap();
        }
    };
    let recipe =
        |from: &'static str, to: &'static str| move |workshop: &Workshop| workshop.manifest(&RECIPE.replace(from, to));
    refuse("no shards", &|w| std::fs::remove_dir_all(w.path("data")).unwrap(), &[]);
    refuse("empty shard", &change(|bytes| bytes.clear()), &[]);
    refuse("truncated shard", &change(|bytes| bytes.truncate(1500)), &[]);
    refuse("wrong magic", &change(|bytes| bytes[0] ^= 1), &[]);
    refuse("no tokenizer", &|w| std::fs::remove_file(w.path("t.model")).unwrap(), &[]);
    refuse("damaged tokenizer", &|w| std::fs::write(w.path("t.model"), "not a model").unwrap(), &[]);
    refuse("wrong vocabulary", &recipe("num_layers: 2", "num_layers: 2, vocab_size: 512"), &[]);
    refuse("unknown key", &recipe("warmdown_iters", "warmdown_iter"), &[]);
    refuse("impossible sizes", &recipe("num_layers: 2", "num_layers: 99999999999"), &[]);
    refuse("batch that does not divide", &recipe("tokens: 256", "tokens: 250"), &[]);
    refuse("no manifest", &|w| std::fs::remove_file(w.path("tiny.yaml")).unwrap(), &[]);
    refuse("nothing to resume", &|_| {}, &["--resume"]);
    refuse("no such trace", &|_| {}, &["--replay", "absent.jsonl"]);
    refuse("too little validation", &|w| write_shard(&w.path("data/fineweb_val_000000.bin"), &[1; 16]).unwrap(), &[]);
    insta::assert_snapshot!("bad_input", messages);
}

#[test]
fn a_token_outside_the_vocabulary_stops_the_run_when_it_is_read() {
    let workshop = Workshop::new();
    write_shard(&workshop.path("data/fineweb_train_000001.bin"), &[1, 5000, 7]).unwrap();
    let message = workshop.refusal(&["--out", "run", "--quiet"]);
    assert!(message.contains("fineweb_train_000001.bin: token 1 (offset 1026) is id 5000"), "{message}");
    assert_eq!(workshop.names("run"), ["trace.jsonl", "train.log"]);
}

#[test]
fn a_run_folder_that_cannot_be_written_is_found_before_training() {
    let workshop = Workshop::new();
    std::fs::write(workshop.path("file"), "in the way").unwrap();
    insta::assert_snapshot!("unwritable", workshop.refusal(&["--out", "file/run"]));
}

/// A limit on file size stands in for a full disk: the same failing write, without needing a disk to fill.
#[test]
#[cfg(unix)]
fn a_write_that_fails_leaves_no_half_written_file() {
    let workshop = Workshop::new();
    // SIGXFSZ ignored, files limited to 16 blocks of 512 bytes: less than a checkpoint or a state.
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" tiny.yaml --threads 1 --quiet --out run --checkpoint-every 5";
    let binary = assert_cmd::cargo::cargo_bin("train");
    let mut command = Command::new("sh");
    command.current_dir(workshop.folder.path()).env_clear().arg("-c").arg(script).arg(binary);
    command.assert().code(2).stderr(
        predicate::str::starts_with("error: cannot write run/training-state.safetensors: ")
            .and(predicate::str::contains("File too large")),
    );
    assert_eq!(workshop.names("run"), ["trace.jsonl", "train.log"]);
}

#[cfg(target_os = "linux")]
mod needs_root {
    use super::*;

    #[test]
    #[ignore = "needs root, to mount a small file system"]
    fn a_full_disk_leaves_no_half_written_file() {
        let workshop = Workshop::new();
        let disk = workshop.path("disk");
        std::fs::create_dir(&disk).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=48k", "tmpfs"]).arg(&disk);
        assert!(mount.status().unwrap().success());
        let result = workshop.train(&["--quiet", "--out", "disk/run"]).output().unwrap();
        let left = workshop.names("disk/run");
        std::process::Command::new("umount").arg(&disk).status().unwrap();
        let message = String::from_utf8(result.stderr).unwrap();
        assert_eq!(result.status.code(), Some(2), "{message}");
        let expected = "error: cannot write disk/run/checkpoint.safetensors: No space left on device";
        assert!(message.starts_with(expected), "{message}");
        assert_eq!(left, ["trace.jsonl", "train.log"]);
    }
}

#[test]
fn help_shows_examples() {
    golf("train")
        .arg("--help")
        .assert()
        .success()
        .stdout(predicate::str::contains("Examples:\n  golf-harness train manifests/smoke.yaml"));
}
