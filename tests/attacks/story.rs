//! An honest submission, invented: three runs of one small script, and the files that they leave.

use std::collections::BTreeMap;
use std::fmt::Write;

use golf_harness::random::RandomStream;

use crate::weights;

/// Bytes a sp1024 token of the validation text stands for on average: 151,078,222 bytes over 62,021,632 tokens.
pub const BYTES_PER_TOKEN: f64 = 151_078_222.0 / 62_021_632.0;
/// Tokens of the validation text under sp1024, cut to whole sequences of 1,024.
pub const VAL_TOKENS: u64 = 62_021_632;

/// One run, as its log will tell it.
#[derive(Clone)]
pub struct Run {
    pub seed: u64,
    pub world_size: u64,
    pub steps: u64,
    pub step_ms: f64,
    pub eval_ms: u64,
    pub val_tokens: u64,
    pub val_loss: f64,
    /// What the log divides by: bytes a token.
    pub bytes_per_token: f64,
    pub artifact_bytes: u64,
    pub device: &'static str,
}

impl Run {
    pub fn val_bpb(&self) -> f64 {
        self.val_loss / std::f64::consts::LN_2 / self.bytes_per_token
    }

    pub fn train_ms(&self) -> f64 {
        self.steps as f64 * self.step_ms
    }
}

/// A submission before it is written down.
#[derive(Clone)]
pub struct Story {
    pub title: String,
    pub script: String,
    pub artifact: Vec<u8>,
    pub runs: Vec<Run>,
    /// Mean that submission.json and the README claim; the runs' own if none.
    pub claimed_bpb: Option<f64>,
    pub claimed_loss: Option<f64>,
    pub claimed_artifact_bytes: Option<u64>,
    pub claimed_code_bytes: Option<u64>,
}

/// The files of a folder.
pub type Files = BTreeMap<String, Vec<u8>>;

impl Story {
    /// What an honest participant hands in; sizes, times and scores differ with the random numbers.
    pub fn honest(random: &mut RandomStream) -> Story {
        let artifact = weights::compressed(random);
        let loss = 1.93 + 0.06 * random.uniform();
        let step_ms = 80.0 + 10.0 * random.uniform();
        let runs = [42, 1337, 2024].map(|seed| {
            let step_ms = step_ms + 0.2 * random.normal();
            Run {
                seed,
                world_size: 8,
                steps: (599_900.0 / step_ms) as u64,
                step_ms,
                eval_ms: 150_000 + random.below(60_000),
                val_tokens: VAL_TOKENS,
                val_loss: loss + 0.0008 * random.normal(),
                bytes_per_token: BYTES_PER_TOKEN,
                artifact_bytes: artifact.len() as u64,
                device: "NVIDIA H100 80GB HBM3",
            }
        });
        Story {
            title: "Wider Windows".into(),
            script: SCRIPT.into(),
            artifact,
            runs: runs.into(),
            claimed_bpb: None,
            claimed_loss: None,
            claimed_artifact_bytes: None,
            claimed_code_bytes: None,
        }
    }

    pub fn mean(&self, of: impl Fn(&Run) -> f64) -> f64 {
        self.runs.iter().map(of).sum::<f64>() / self.runs.len() as f64
    }

    pub fn files(&self) -> Files {
        let mut files = Files::new();
        files.insert("submission.json".into(), self.json().into_bytes());
        files.insert("README.md".into(), self.readme().into_bytes());
        files.insert("train_gpt.py".into(), self.script.clone().into_bytes());
        files.insert("final_model.int8.ptz".into(), self.artifact.clone());
        for run in &self.runs {
            files.insert(log_name(run.seed), self.log(run, &self.script).into_bytes());
        }
        files
    }

    fn claimed(&self) -> (f64, f64) {
        let bpb = self.claimed_bpb.unwrap_or_else(|| self.mean(Run::val_bpb));
        (self.claimed_loss.unwrap_or_else(|| self.mean(|run| run.val_loss)), bpb)
    }

    pub fn json(&self) -> String {
        let (loss, bpb) = self.claimed();
        let code = self.claimed_code_bytes.unwrap_or(self.script.len() as u64);
        let model = self.claimed_artifact_bytes.unwrap_or(self.artifact.len() as u64);
        let seeds: Vec<String> = self.runs.iter().map(|run| run.seed.to_string()).collect();
        format!(
            r#"{{
  "author": "Ada Example",
  "github_id": "ada-example",
  "name": "{}",
  "date": "2026-04-20",
  "track": "10min_16mb",
  "val_loss": {loss:.8},
  "val_bpb": {bpb:.8},
  "seeds": [{}],
  "bytes_total": {},
  "bytes_model_int8_zlib": {model},
  "bytes_code": {code},
  "hardware": "8xH100 SXM"
}}
"#,
            self.title,
            seeds.join(", "),
            code + model,
        )
    }

    pub fn readme(&self) -> String {
        let (_, bpb) = self.claimed();
        let mut rows = String::new();
        for run in &self.runs {
            let _ = writeln!(rows, "| {} | {:.8} | {} |", run.seed, run.val_bpb(), run.artifact_bytes);
        }
        format!(
            "# {}\n\nMean val_bpb over the seeds below: **{bpb:.4}**. Evaluation in sliding windows at stride 64, \
             int8 weights\nbehind zlib. Everything else is the baseline's, runs differ in the seed only.\n\n\
             ```bash\nSEED=42 torchrun --standalone --nproc_per_node=8 train_gpt.py\n```\n\n\
             | seed | val_bpb | artifact bytes |\n|---|---|---|\n{rows}",
            self.title
        )
    }

    /// The log of a run, with the script that printed it at its top.
    pub fn log(&self, run: &Run, listing: &str) -> String {
        let mut log = format!("{listing}\n{}\n", "=".repeat(100));
        let _ = writeln!(log, "Running Python 3.12.9\nRunning PyTorch 2.8.0+cu128");
        for device in 0..run.world_size {
            let _ = writeln!(log, "| {device} {} On | 00000000:{device}B:00.0 Off | 0 |", run.device);
        }
        let _ = writeln!(log, "{}", "=".repeat(100));
        let _ = writeln!(
            log,
            "val_bpb:enabled tokenizer_kind=sentencepiece tokenizer_path=./data/tokenizers/fineweb_1024_bpe.model\n\
             train_loader:dataset:fineweb10B_sp1024 train_shards:80\n\
             val_loader:shards pattern=./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin tokens:{}\n\
             model_params:{}\nworld_size:{} grad_accum_steps:{}\nseed:{}",
            run.val_tokens,
            weights::PARAMETERS,
            run.world_size,
            8 / run.world_size.clamp(1, 8),
            run.seed
        );
        let total = run.steps.max(20_000);
        for step in (0..run.steps).step_by(500) {
            let ms = step as f64 * run.step_ms;
            let loss = run.val_loss + 5.0 * (-(step as f64) / 600.0).exp() + 0.02;
            let bpb = loss / std::f64::consts::LN_2 / run.bytes_per_token;
            let average = if step == 0 { 0.01 } else { run.step_ms };
            let _ = writeln!(
                log,
                "step:{step}/{total} val_loss:{loss:.4} val_bpb:{bpb:.4} train_time:{ms:.0}ms step_avg:{average:.2}ms"
            );
        }
        let (steps, ms) = (run.steps, run.train_ms());
        let (loss, bpb) = (run.val_loss, run.val_bpb());
        let code = listing.len();
        let _ = writeln!(
            log,
            "step:{steps}/{total} val_loss:{:.4} val_bpb:{:.4} train_time:{ms:.0}ms step_avg:{:.2}ms\n\
             stopping_early: wallclock_cap train_time:{ms:.0}ms step:{steps}/{total}\n\
             Serialized model: 98004211 bytes\nCode size: {code} bytes\nTotal submission size: {} bytes\n\
             Serialized model int8+zlib: {} bytes\nTotal submission size int8+zlib: {} bytes\n\
             final_int8_zlib_roundtrip val_loss:{loss:.4} val_bpb:{bpb:.4} eval_time:{}ms\n\
             final_int8_zlib_roundtrip_exact val_loss:{loss:.8} val_bpb:{bpb:.8}",
            loss + 0.01,
            (loss + 0.01) / std::f64::consts::LN_2 / run.bytes_per_token,
            run.step_ms,
            98_004_211 + code,
            run.artifact_bytes,
            run.artifact_bytes + code as u64,
            run.eval_ms,
        );
        log
    }
}

pub fn log_name(seed: u64) -> String {
    format!("train_seed{seed}.log")
}

/// Puts `with` in the place of the only `what` in a text file of the folder.
pub fn replace(files: &mut Files, path: &str, what: &str, with: &str) {
    let file = files.get_mut(path).unwrap_or_else(|| panic!("no {path}"));
    let text = String::from_utf8(std::mem::take(file)).expect("text");
    assert_eq!(text.matches(what).count(), 1, "{what:?} in {path}");
    *file = text.replace(what, with).into_bytes();
}

/// A stand-in with the parts of a training script that rules look at. It is never run.
pub const SCRIPT: &str = include_str!("script.py");
