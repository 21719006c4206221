//! `score`: from weights to bits per byte, the same bits everywhere.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use golf_harness::cli::{CommonArgs, DeviceArgs, ExitCode};
use golf_harness::engine::{EngineError, Isa, Precision, use_isa};
use golf_harness::eval::{self, EngineChoice, Job, JobError, Outcome, Report, ScoreError, Shard, Windowing, probe};
use golf_harness::interrupt::Interrupted;
use golf_harness::manifest::{Effective, Override, assignment, from_environment};

/// Score a model on the validation split: val_loss (nats per token) and val_bpb (bits per byte).
///
/// The same inputs give the same bits for any number of threads, any batch size and any division into parts.
///
/// Exit codes: 0 scored; 1 a probe failed or two engines disagree; 2 could not score; 130 interrupted, nothing half-written.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  \
    score runs/smoke/manifest.yaml                       the run's artifact, sliding and plain\n  \
    score runs/smoke/manifest.yaml --checkpoint runs/smoke/checkpoint.safetensors    and the quantisation gap\n  \
    score runs/smoke/manifest.yaml --sliding --nll-out nll.f32 --json\n  \
    score runs/smoke/manifest.yaml --probe               does the scorer play fair?\n  \
    score runs/smoke/manifest.yaml --shard 1/8 -o 1.json; score merge 1.json ... 8.json\n\n\
    DATA_PATH, TOKENIZER_PATH, EVAL_STRIDE, EVAL_SEQ_LEN and the other data, model and eval variables of the\n\
    challenge's scripts are honoured; flags win over them, and they over the manifest."
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Manifest that describes model, data and evaluation
    #[arg(value_name = "MANIFEST", required = true)]
    manifest: Option<PathBuf>,

    /// Artifact to score instead of the manifest's own; formats of other submissions are read too
    #[arg(long, value_name = "FILE", conflicts_with = "no_artifact")]
    artifact: Option<PathBuf>,

    /// Score no artifact, only the checkpoint
    #[arg(long, requires = "checkpoint")]
    no_artifact: bool,

    /// Unpacked weights (safetensors) to score as well
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Sliding windows only [default: sliding and plain]
    #[arg(long, conflicts_with = "plain")]
    sliding: bool,

    /// Plain windows only: side by side, tail dropped
    #[arg(long)]
    plain: bool,

    /// Predictions between the starts of sliding windows [env: EVAL_STRIDE]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    stride: Option<u64>,

    /// Predictions in a window [env: EVAL_SEQ_LEN]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seq_len: Option<u64>,

    /// Score the first N tokens of the split only; the report says so
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    max_tokens: Option<u64>,

    /// What runs the model
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    engine: EngineChoice,

    #[command(flatten)]
    device: DeviceArgs,

    /// What the kernels engine computes in; the challenge's own runs use bf16
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    precision: Precision,

    /// Vector instructions to use; numbers differ by less than 1e-5 between them
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    isa: Isa,

    /// Threads to use; changes no number [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// Windows given to the engine at a time; changes no number [env: EVAL_BATCH_SEQS]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    batch_windows: Option<u64>,

    /// Write the likelihoods of the first pass: one little-endian f32 per scored token, in corpus order
    #[arg(long, value_name = "FILE", conflicts_with = "probe")]
    nll_out: Option<PathBuf>,

    /// Run the I-th of N contiguous parts of the windows, counted from 1, and write a part record
    #[arg(long, value_name = "I/N", conflicts_with = "probe")]
    shard: Option<Shard>,

    /// Part record to write [default: score-I-of-N.json]
    #[arg(long, short, value_name = "FILE", requires = "shard")]
    output: Option<PathBuf>,

    /// Write the scores into the manifest's results
    #[arg(long, conflicts_with_all = ["probe", "shard", "max_tokens"])]
    record: bool,

    /// Probe the scorer's honesty instead of scoring
    #[arg(long)]
    probe: bool,

    /// Windows to probe
    #[arg(long, value_name = "N", default_value_t = 8, requires = "probe")]
    probe_windows: u64,

    /// Folder of the token shards [env: DATA_PATH]
    #[arg(long, value_name = "DIR")]
    data_path: Option<PathBuf>,

    /// SentencePiece model [env: TOKENIZER_PATH]
    #[arg(long, value_name = "FILE")]
    tokenizer_path: Option<PathBuf>,

    /// Set a field of the manifest's data, model or eval section; repeatable
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Add up the part records of all shards of an evaluation
    Merge {
        /// Records that `score --shard` wrote, in any order
        #[arg(value_name = "PART", required = true)]
        parts: Vec<PathBuf>,
    },
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    golf_harness::cli::run(|| {
        args.common.apply_color();
        match (&args.command, &args.manifest) {
            (Some(Command::Merge { parts }), _) => merge(parts, &args.common),
            (None, Some(manifest)) => score(&args, manifest),
            (None, None) => anyhow::bail!("no manifest given; see --help"),
        }
    })
}

fn score(args: &Args, manifest: &std::path::Path) -> anyhow::Result<ExitCode> {
    golf_harness::cli::use_threads(args.threads)?;
    use_isa(args.isa)?;
    let interrupt = golf_harness::cli::interrupt_on_signal()?;
    let job = job(args, manifest)?;
    let what = if args.probe { "probing" } else { "scoring" };
    let progress = args.common.progress(what, 0);
    let interrupted = |error: JobError| match interrupt.is_raised() {
        true => anyhow::Error::from(Interrupted),
        false => error.into(),
    };
    if args.probe {
        let probed = job.probe(args.probe_windows, &progress, &interrupt);
        progress.finish();
        let probed = probed.map_err(interrupted)?;
        print(&args.common, || probe::json(&probed), || probe::text(&probed))?;
        return Ok(if probe::all_passed(&probed) { ExitCode::Ok } else { ExitCode::CheckFailed });
    }
    let output = args.shard.map(|shard| {
        let default = || PathBuf::from(format!("score-{}-of-{}.json", shard.index, shard.of));
        args.output.clone().unwrap_or_else(default)
    });
    output.as_deref().map(golf_harness::atomic_write::check_writable).transpose()?;
    let outcome = job.run(&progress, &interrupt);
    progress.finish();
    let outcome = match outcome {
        Err(error @ JobError::Score(ScoreError::Engine(EngineError::Disagreement { .. }))) => {
            writeln!(anstream::stderr().lock(), "{error}")?;
            return Ok(ExitCode::CheckFailed);
        }
        outcome => outcome.map_err(interrupted)?,
    };
    if let Some((path, part)) = output.as_deref().zip(outcome.part.as_ref()) {
        eval::write_part(path, part)?;
        if !args.common.quiet {
            let mut stderr = anstream::stderr().lock();
            writeln!(stderr, "part {} written to {}; `score merge` adds up all parts", part.shard, path.display())?;
        }
    }
    print(&args.common, || outcome.report.json(), || text(&outcome, &args.common))?;
    Ok(ExitCode::Ok)
}

fn merge(parts: &[PathBuf], common: &CommonArgs) -> anyhow::Result<ExitCode> {
    let read = |path: &PathBuf| eval::read_part(path).map(|part| (path.clone(), part));
    let parts = parts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let report = eval::merge(parts)?;
    print(common, || report.json(), || short_or_long(&report, common))?;
    Ok(ExitCode::Ok)
}

/// Flags to a job, with environment and flags applied to the recipe.
fn job(args: &Args, manifest: &std::path::Path) -> anyhow::Result<Job> {
    let current = std::env::current_dir().context("cannot tell the current folder")?;
    let windowings = match (args.sliding, args.plain) {
        (true, _) => vec![Windowing::Sliding],
        (_, true) => vec![Windowing::Plain],
        _ => vec![Windowing::Sliding, Windowing::Plain],
    };
    Ok(Job {
        manifest_path: manifest.to_path_buf(),
        effective: Effective::load(manifest, overrides(args)?, &current)?,
        packed: !args.no_artifact,
        artifact: args.artifact.clone(),
        checkpoint: args.checkpoint.clone(),
        windowings,
        max_tokens: args.max_tokens,
        engine: args.engine,
        device: args.device.open(&args.common)?,
        precision: args.precision,
        shard: args.shard,
        nll_out: args.nll_out.clone(),
        record: args.record,
    })
}

/// Scoring depends on data, model and evaluation; other recipe variables and fields do not apply here.
fn overrides(args: &Args) -> anyhow::Result<Vec<Override>> {
    let applies =
        |change: &Override| ["data.", "model.", "eval."].iter().any(|section| change.field.starts_with(section));
    let mut overrides = from_environment(|name| std::env::var(name).ok());
    overrides.retain(applies);
    for text in &args.set {
        let change = assignment(text)?;
        anyhow::ensure!(applies(&change), "--set {text}: score sets data.*, model.* and eval.* only");
        overrides.push(change);
    }
    for (flag, field, value) in [
        ("--stride", "eval.stride", args.stride),
        ("--seq-len", "eval.seq_len", args.seq_len),
        ("--batch-windows", "eval.batch_windows", args.batch_windows),
    ] {
        overrides.extend(value.map(|value| Override::flag(flag, field, value)));
    }
    for (flag, field, path) in [
        ("--data-path", "data.path", &args.data_path),
        ("--tokenizer-path", "data.tokenizer.path", &args.tokenizer_path),
    ] {
        if let Some(path) = path {
            let text = path.to_str().with_context(|| format!("{flag}: {} is not UTF-8", path.display()))?;
            overrides.push(Override::flag(flag, field, text));
        }
    }
    Ok(overrides)
}

fn text(outcome: &Outcome, common: &CommonArgs) -> String {
    let log = if common.verbose > 0 { eval::log_lines(&outcome.report, &outcome.elapsed) } else { None };
    let report = short_or_long(&outcome.report, common);
    log.map_or(report.clone(), |log| format!("{report}\n{log}"))
}

fn short_or_long(report: &Report, common: &CommonArgs) -> String {
    match (common.quiet, common.verbose) {
        (true, _) => report.summary(),
        (_, 0) => report.to_string(),
        _ => format!("{report}\n{}", report.inputs()),
    }
}

fn print(common: &CommonArgs, json: impl Fn() -> serde_json::Value, text: impl Fn() -> String) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match common.json {
        true => writeln!(stdout, "{}", serde_json::to_string_pretty(&json())?)?,
        false => write!(stdout, "{}", text())?,
    }
    Ok(())
}
