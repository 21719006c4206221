//! The run's log, line by line in the challenge's own format, so that existing tools read it.
//!
//! Kinds of lines and their digits as in the log of PR #286.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{TrainError, Validation};
use crate::atomic_write;
use crate::collective::Rank;
use crate::data::Dataset;
use crate::manifest::{LoaderOrder, MICRO_BATCHES_PER_STEP, Manifest};
use crate::model::ParamRole;
use crate::optim::Group;
use crate::progress::Progress;
use crate::regular_file;

/// `train.log`, with a copy of each line for whoever watches.
pub(super) struct RunLog<'w> {
    path: PathBuf,
    /// `None` on the ranks that write nothing.
    file: Option<File>,
    bytes: u64,
    watcher: &'w mut dyn Write,
    progress: Progress,
}

impl<'w> RunLog<'w> {
    /// A log cut back to `bytes` (0: a new one): later lines belong to steps that will be taken again.
    pub(super) fn open(
        path: &Path,
        bytes: u64,
        watcher: &'w mut dyn Write,
        progress: Progress,
    ) -> Result<Self, TrainError> {
        let attempt = || -> io::Result<File> {
            // A log that was deleted meanwhile starts again; the trace has every number.
            let kept = if bytes == 0 { Vec::new() } else { regular_file::read_head(path, bytes).or_else(none_yet)? };
            // Under a new name first: the old file may have another name or be the end of a link.
            atomic_write::write_open(path, &kept).map_err(io::Error::other)
        };
        let failed = |source| TrainError::Log { path: path.to_path_buf(), source };
        let file = attempt().map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Ok(RunLog { path: path.to_path_buf(), file: Some(file), bytes, watcher, progress })
    }

    /// The log of a rank that is not rank 0: nothing is written.
    pub(super) fn none(watcher: &'w mut dyn Write) -> Self {
        RunLog { path: PathBuf::new(), file: None, bytes: 0, watcher, progress: Progress::hidden() }
    }

    /// Length of the log.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a line.
    pub(super) fn line(&mut self, text: &str) -> Result<(), TrainError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let line = format!("{text}\n");
        let failed = |source| TrainError::Log { path: self.path.clone(), source };
        file.write_all(line.as_bytes()).map_err(failed)?;
        self.bytes += line.len() as u64;
        // A watcher that left (`train | head`) is no reason to stop training.
        self.progress.suspend(|| drop(self.watcher.write_all(line.as_bytes()).and_then(|()| self.watcher.flush())));
        Ok(())
    }

    /// Makes everything so far durable.
    pub(super) fn sync(&mut self) -> Result<(), TrainError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.sync_data().map_err(|source| TrainError::Log { path: self.path.clone(), source })
    }
}

/// What there is to keep of a file that is not there.
fn none_yet(error: io::Error) -> io::Result<Vec<u8>> {
    if error.kind() == io::ErrorKind::NotFound { Ok(Vec::new()) } else { Err(error) }
}

/// The lines before the first step.
///
/// `world_size` is of the ranks at work where there are several, else of those the recipe was written for.
pub(super) fn heading(
    manifest: &Manifest,
    data: &Dataset,
    parameters: usize,
    val_tokens: usize,
    rank: Rank,
) -> Vec<String> {
    let Manifest { model, optimizer, schedule, quantization, eval, .. } = manifest;
    let world_size = if rank.world_size() > 1 { rank.world_size() as u64 } else { u64::from(schedule.world_size) };
    let tokenizer = data.tokenizer.as_ref().map(|file| file.path.display().to_string()).unwrap_or_default();
    let dataset = data.train.first().and_then(|file| file.path.parent()).and_then(Path::file_name).unwrap_or_default();
    let pattern = data.val.first().and_then(|file| file.path.parent()).unwrap_or(Path::new("."));
    let rate = |role| float(Group::of(role, optimizer, model.tie_embeddings).learning_rate);
    let attention = if model.num_kv_heads == model.num_heads { "mha" } else { "gqa" };
    let head = if model.tie_embeddings { String::new() } else { format!(" head_lr:{}", rate(ParamRole::Head)) };
    let loader = &manifest.data;
    let order = (loader.loader != LoaderOrder::Sequential)
        .then(|| format!("train_loader:order:{} seed:{}", loader.loader, loader.loader_seed));
    let mut lines = vec![
        format!("val_bpb:enabled tokenizer_kind=sentencepiece tokenizer_path={tokenizer}"),
        format!("train_loader:dataset:{} train_shards:{}", dataset.display(), data.train.len()),
        format!(
            "val_loader:shards pattern={} tokens:{}",
            pattern.join(&manifest.data.val_pattern).display(),
            val_tokens.saturating_sub(1)
        ),
        format!("model_params:{parameters}"),
        format!("world_size:{} grad_accum_steps:{}", world_size, MICRO_BATCHES_PER_STEP / world_size.max(1)),
        format!("attention_mode:{attention} num_heads:{} num_kv_heads:{}", model.num_heads, model.num_kv_heads),
        format!(
            "tie_embeddings:{} embed_lr:{}{head} matrix_lr:{} scalar_lr:{}",
            boolean(model.tie_embeddings),
            rate(ParamRole::Embedding),
            rate(ParamRole::Matrix),
            rate(ParamRole::Control)
        ),
        format!(
            "train_batch_tokens:{} train_seq_len:{} iterations:{} warmup_steps:{} max_wallclock_seconds:{:.3}",
            schedule.train_batch_tokens,
            schedule.train_seq_len,
            schedule.iterations,
            schedule.warmup_steps,
            schedule.max_wallclock_seconds
        ),
        format!(
            "eval_seq_len:{} eval_stride:{} eval_batch_seqs:{} muon_weight_decay:{} adam_weight_decay:{} \
             qat_enabled:{} qat_start_frac:{} keep_last_k_fp16:{}",
            eval.seq_len,
            eval.stride,
            eval.batch_windows,
            float(optimizer.muon.weight_decay),
            float(optimizer.adam.weight_decay),
            boolean(schedule.qat.enabled),
            float(schedule.qat.start_frac),
            quantization.keep_last_k_fp16
        ),
        format!("seed:{}", schedule.seed),
    ];
    // Behind the line of the shards.
    order.into_iter().for_each(|line| lines.insert(2, line));
    lines
}

/// A validation: `step:1000/20000 val_loss:2.2448 val_bpb:1.3295 train_time:122623ms step_avg:122.62ms`.
pub(super) fn validation(steps: u64, iterations: u64, found: &Validation, elapsed_ms: f64) -> String {
    format!(
        "step:{steps}/{iterations} val_loss:{:.4} val_bpb:{:.4} train_time:{elapsed_ms:.0}ms step_avg:{:.2}ms",
        found.loss.0,
        found.bpb.0,
        elapsed_ms / steps.max(1) as f64
    )
}

/// A training step: `step:200/20000 train_loss:2.4592 train_time:30770ms step_avg:153.85ms`.
pub(super) fn training(steps: u64, iterations: u64, loss: f32, elapsed_ms: f64) -> String {
    let step_avg = elapsed_ms / steps.max(1) as f64;
    format!("step:{steps}/{iterations} train_loss:{loss:.4} train_time:{elapsed_ms:.0}ms step_avg:{step_avg:.2}ms")
}

/// Each rank's mean over its micro-batches, beside a training step: `step:200/20000 rank_losses:2.4610 2.4574`.
///
/// `micro_losses` are in stream order: piece `p` is rank `p % world`'s.
pub(super) fn of_ranks(steps: u64, iterations: u64, micro_losses: &[f32], rank: Rank) -> String {
    let world = rank.world_size();
    let mean = |index: usize| {
        let own = micro_losses.iter().skip(index).step_by(world);
        format!("{:.4}", own.sum::<f32>() / rank.micro_batches() as f32)
    };
    let losses: Vec<String> = (0..world).map(mean).collect();
    format!("step:{steps}/{iterations} rank_losses:{}", losses.join(" "))
}

/// Numbers as Python prints them: `0.03`, `600.0`.
fn float(value: f64) -> String {
    format!("{value:?}")
}

fn boolean(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{BitsPerByte, Nats};

    #[test]
    fn lines_have_the_digits_of_pr_286() {
        let found = Validation { loss: Nats(2.244_81), bpb: BitsPerByte(1.329_5) };
        assert_eq!(
            validation(1000, 20_000, &found, 122_623.4),
            "step:1000/20000 val_loss:2.2448 val_bpb:1.3295 train_time:122623ms step_avg:122.62ms"
        );
        assert_eq!(
            training(200, 20_000, 2.459_23, 30_770.2),
            "step:200/20000 train_loss:2.4592 train_time:30770ms step_avg:153.85ms"
        );
        let start = Validation { loss: Nats(6.928_3), bpb: BitsPerByte(4.103_3) };
        assert!(validation(0, 20_000, &start, 0.02).ends_with("train_time:0ms step_avg:0.02ms"));
    }

    #[test]
    fn the_heading_of_the_default_recipe_is_that_of_pr_286() {
        let text = "schema: golf-harness/manifest/v1\nname: x\n";
        let manifest = crate::manifest::parse(text, Path::new("x.yaml")).unwrap();
        let lines = heading(&manifest, &Dataset::default(), 24_730_705, 62_021_846, Rank::SOLO);
        for expected in [
            "model_params:24730705",
            "world_size:8 grad_accum_steps:1",
            "attention_mode:gqa num_heads:8 num_kv_heads:4",
            "tie_embeddings:True embed_lr:0.03 matrix_lr:0.025 scalar_lr:0.02",
            "train_batch_tokens:786432 train_seq_len:2048 iterations:20000 warmup_steps:20 max_wallclock_seconds:600.000",
            "eval_seq_len:2048 eval_stride:64 eval_batch_seqs:32 muon_weight_decay:0.04 adam_weight_decay:0.01 \
             qat_enabled:True qat_start_frac:0.85 keep_last_k_fp16:1",
            "seed:1337",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}\n{lines:#?}");
        }
    }

    #[test]
    fn a_continued_log_is_cut_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/train.log");
        let mut seen = Vec::new();
        let mut log = RunLog::open(&path, 0, &mut seen, Progress::hidden()).unwrap();
        log.line("kept").unwrap();
        let kept = log.bytes();
        log.line("of a step that is lost").unwrap();
        let copy = folder.path().join("copy.log");
        std::fs::hard_link(&path, &copy).unwrap();
        RunLog::open(&path, kept, &mut Vec::new(), Progress::hidden()).unwrap().line("next").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept\nnext\n");
        assert_eq!(std::fs::read(&copy).unwrap(), b"kept\nof a step that is lost\n", "another name of it");
        assert_eq!(seen, b"kept\nof a step that is lost\n");
    }
}
