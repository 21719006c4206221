//! `score`: from weights to bits per byte, the same bits everywhere.

mod sample;
mod ttt;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use self::sample::SampleArgs;
pub use self::ttt::TraceCheck;
use super::device::tell_of_graphs;
use super::output::print;
use super::outputs::Outputs;
use super::places::is_same;
use super::plot::PlotFile;
use super::previous::{Kind, is_previous};
use super::signal::unless_interrupted;
use super::values::at_least;
use super::{Changes, CommonArgs, ConfigArgs, DataArgs, DeviceArgs, ExitCode, Scope, interrupt_on_signal, use_threads};
use crate::engine::{EngineError, Isa, Precision, use_isa};
use crate::eval::sample::{SampleOutcome, merge as merge_sample};
use crate::eval::{
    self, EngineChoice, Outcome, Parts, Report, ScoreError, ScoreJob, ScoreJobError, Shard, Windowing, probe,
};
use crate::interrupt::Interrupt;
use crate::manifest::Effective;
use crate::path_safety::folder_of;
use crate::progress::Progress;
use crate::run_folder::RunFolder;
use crate::site::loss_plot;

/// Scoring depends on data, model and evaluation.
const SCOPE: Scope =
    Scope { sections: &["data.", "model.", "eval."], refusal: "score sets data.*, model.* and eval.* only" };

/// What makes no sense where nothing is scored.
const SCORING: [&str; 9] =
    ["artifact", "no_artifact", "checkpoint", "nll_out", "ttt_trace", "shard", "record", "probe", "batch_windows"];

/// Score a model on the validation split: val_loss (nats per token) and val_bpb (bits per byte).
///
/// The same inputs give the same bits for any number of threads, any batch size and any division into parts.
///
/// Exit codes: 0 scored; 1 a probe failed, two engines disagree, or a claim lies outside the interval or was rejected; 2 could not score; 130 interrupted, nothing half-written.
#[derive(Parser)]
#[command(
    version,
    long_version = super::version::long(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  golf-harness score runs/smoke/manifest.yaml
  golf-harness score runs/smoke/manifest.yaml \\
      --checkpoint runs/smoke/checkpoint.safetensors
  golf-harness score runs/smoke/manifest.yaml --sliding --nll-out nll.f32 --json
  golf-harness score runs/smoke/manifest.yaml --sliding --plot losses.html
  golf-harness score runs/smoke/manifest.yaml --from-nll nll.f32 \\
      --plot losses.svg
  golf-harness score runs/smoke/manifest.yaml --probe
  golf-harness score runs/smoke/manifest.yaml --sample 200 --seed 7
  golf-harness score runs/smoke/manifest.yaml --until-decided 0.3356 --seed 7
  golf-harness score runs/smoke/manifest.yaml --shard 1/2 -o 1.json
  golf-harness score runs/smoke/manifest.yaml --shard 2/2 -o 2.json
  golf-harness score merge 1.json 2.json

Before them: golf-harness reproduce manifests/smoke.yaml

DATA_PATH, TOKENIZER_PATH, EVAL_STRIDE, EVAL_SEQ_LEN and the other data, model and eval variables of the challenge's
scripts are honored; flags win over them, and they over the manifest."
)]
pub struct Args {
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

    /// Sliding windows only [default: sliding and non-overlapping]
    #[arg(long, conflicts_with = "non_overlapping")]
    sliding: bool,

    /// Non-overlapping windows only: side by side, tail dropped
    #[arg(long, alias = "plain")]
    non_overlapping: bool,

    /// Predictions between the starts of sliding windows [env: EVAL_STRIDE]
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    stride: Option<u64>,

    /// Predictions in a window [env: EVAL_SEQ_LEN]
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    seq_len: Option<u64>,

    /// Score the first N tokens of the split only; the report says so
    #[arg(long, value_name = "N", value_parser = at_least::<2>)]
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
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    batch_windows: Option<u64>,

    /// Write the likelihoods of the first pass: one little-endian f32 per scored token, in corpus order
    #[arg(long, value_name = "FILE", conflicts_with = "probe")]
    nll_out: Option<PathBuf>,

    /// Score by the weights as they are, where the manifest has them learn from what was scored (eval.ttt)
    #[arg(long)]
    no_ttt: bool,

    /// Write what was scored and what was learned from it, in order, where the manifest has eval.ttt
    /// [default: score-ttt-trace.jsonl beside a run's manifest, or in runs/NAME]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["probe", "no_ttt", "shard"])]
    ttt_trace: Option<PathBuf>,

    /// Draw where the loss of the first pass lies, by place in the window and by document: a page (.html) or
    /// pictures (.svg)
    #[arg(long, value_name = "FILE", conflicts_with = "probe")]
    plot: Option<PlotFile>,

    /// Draw the likelihoods that --nll-out wrote, with the flags of that call, and score nothing
    #[arg(long, value_name = "NLL", requires = "plot", conflicts_with_all = SCORING)]
    from_nll: Option<PathBuf>,

    #[command(flatten)]
    sample: SampleArgs,

    /// Run the I-th of N contiguous parts of the windows, counted from 1, and write a part record
    #[arg(long, value_name = "I/N", conflicts_with = "probe")]
    shard: Option<Shard>,

    /// Part record to write [default: score-I-of-N.json]
    #[arg(long, short, value_name = "FILE", requires = "shard")]
    output: Option<PathBuf>,

    /// Write the scores into the manifest's results; what a sample estimates is kept apart from scores
    #[arg(long, conflicts_with_all = ["probe", "shard", "max_tokens"])]
    record: bool,

    /// Probe the scorer's honesty instead of scoring
    #[arg(long)]
    probe: bool,

    /// Windows to probe
    #[arg(long, value_name = "N", default_value_t = 8, requires = "probe", value_parser = at_least::<1>)]
    probe_windows: u64,

    /// Replace a file that is there and was not made by this command
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    data: DataArgs,

    /// Set a field of the manifest's data, model or eval section; repeatable
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,

    #[command(flatten)]
    config: ConfigArgs,

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
    /// Check that a trace of test-time training learned from no token before it was scored
    CheckTrace {
        /// File that --ttt-trace wrote
        #[arg(value_name = "TRACE", required = true)]
        trace: PathBuf,
    },
}

/// Name and version of the document of a picture of losses.
const LOSS_PLOT_SCHEMA: &str = "golf-harness/loss-plot/v1";

/// The document of `score --from-nll --json`.
#[derive(Serialize, JsonSchema)]
pub struct LossPlot<'a> {
    /// Always `golf-harness/loss-plot/v1`.
    #[schemars(extend("const" = LOSS_PLOT_SCHEMA))]
    schema: &'static str,
    /// Where the picture is.
    plot: &'a Path,
    /// Losses in it.
    tokens: u64,
}

/// Scores, probes the scorer, or adds up parts.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.common.apply_color();
    match (&args.command, &args.manifest) {
        (Some(Command::Merge { parts }), _) => merge(parts, &args.common),
        (Some(Command::CheckTrace { trace }), _) => ttt::check(trace, &args.common),
        (None, Some(manifest)) => open(args, manifest),
        (None, None) => anyhow::bail!("no manifest given; see --help"),
    }
}

/// Makes this process ready to compute, and then does what is asked for.
fn open(args: &Args, manifest: &Path) -> anyhow::Result<ExitCode> {
    args.sample.check()?;
    use_threads(args.threads)?;
    use_isa(args.isa)?;
    let interrupt = interrupt_on_signal()?;
    let job = job(args, manifest)?;
    // A trace without a place of its own is a file of a run folder, which is made if need be.
    let place = job.ttt_trace.as_deref().filter(|_| args.ttt_trace.is_none());
    let traced = place.map(|path| RunFolder::new(folder_of(path)));
    let _traced = traced
        .as_ref()
        .map(RunFolder::lock)
        .transpose()
        .context("the trace of test-time training lies there unless --ttt-trace names another file")?;
    check_outputs(args, &job)?;
    let recorded = args
        .record
        .then(|| RunFolder::new(folder_of(manifest)))
        .filter(|folder| !traced.as_ref().is_some_and(|traced| is_same(folder.root(), traced.root())));
    let _recorded = recorded.as_ref().map(RunFolder::lock).transpose()?;
    if let (Some(nll), Some(file)) = (&args.from_nll, &args.plot) {
        let losses = job.read_losses(nll)?;
        file.write(&loss_plot(&job.effective.manifest.name, &losses))?;
        let path = file.path().display();
        let words = format!("{} losses of {} drawn in {path}\n", losses.profile.total.tokens, nll.display());
        let document = || LossPlot { schema: LOSS_PLOT_SCHEMA, plot: file.path(), tokens: losses.profile.total.tokens };
        print(&args.common, document, || words)?;
        return Ok(ExitCode::Ok);
    }
    if args.probe {
        probe(args, &job, &args.common.progress("probing", 0), &interrupt)
    } else if args.sample.is_wanted() {
        estimate(args, &job, &args.common.progress("scoring", 0), &interrupt)
    } else {
        score(args, &job, &args.common.progress("scoring", 0), &interrupt)
    }
}

/// Nothing that is read may be written over.
fn check_outputs(args: &Args, job: &ScoreJob) -> anyhow::Result<()> {
    let Effective { manifest, folder, .. } = &job.effective;
    let mut outputs = Outputs::default();
    outputs.reads("the manifest", &job.manifest_path).reads_all_named(manifest, folder);
    outputs.reads_each("the artifact", &args.artifact);
    outputs.reads_each("the checkpoint", &args.checkpoint);
    outputs.writes_each("--output", &part_file(args), Kind::Part);
    outputs.writes_each("--nll-out", &args.nll_out, Kind::Raw);
    outputs.writes_each("--ttt-trace", &job.ttt_trace, Kind::TttTrace);
    outputs.reads_each("the file of likelihoods", &args.from_nll);
    if let Some(file) = &args.plot {
        outputs.writes("--plot", file.path(), file.kind());
    }
    let path = &job.manifest_path;
    let is_ledger = !path.is_symlink() && is_previous(path, &Kind::Manifest);
    if args.record && !args.force && !is_ledger {
        let path = path.display();
        bail!("--record writes {path} anew, without comments; --force does so to a manifest that a person wrote");
    }
    outputs.check(args.force)
}

/// Where the part record goes, if one is asked for.
fn part_file(args: &Args) -> Option<PathBuf> {
    let shard = args.shard?;
    let default = || PathBuf::from(format!("score-{}-of-{}.json", shard.index, shard.of));
    Some(args.output.clone().unwrap_or_else(default))
}

fn probe(args: &Args, job: &ScoreJob, progress: &Progress, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let probed = job.probe(args.probe_windows, progress, interrupt);
    progress.finish();
    let probed = unless_interrupted(probed, interrupt)?;
    print(&args.common, || probe::document(&probed), || probe::text(&probed))?;
    Ok(if probe::all_passed(&probed) { ExitCode::Ok } else { ExitCode::CheckFailed })
}

fn score(args: &Args, job: &ScoreJob, progress: &Progress, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let output = part_file(args);
    let outcome = job.run(progress, interrupt);
    progress.finish();
    tell_of_graphs(&args.common);
    if told_of_disagreement(&outcome) {
        return Ok(ExitCode::CheckFailed);
    }
    let outcome = unless_interrupted(outcome, interrupt)?;
    if let Some((path, part)) = output.as_deref().zip(outcome.part.as_ref()) {
        eval::write_part(path, part)?;
        tell_of_part(path, part.shard, &args.common);
    }
    if let Some((file, losses)) = args.plot.as_ref().zip(outcome.losses.as_ref()) {
        file.write(&loss_plot(&job.effective.manifest.name, losses))?;
    }
    print(&args.common, || outcome.report.document(), || text(&outcome, &args.common))?;
    if let Some(path) = &job.ttt_trace {
        ttt::tell_of_trace(path, &args.common);
    }
    Ok(ExitCode::Ok)
}

/// Scores a sample of the windows.
fn estimate(args: &Args, job: &ScoreJob, progress: &Progress, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let outcome = job.sample(&args.sample.request(job), progress, interrupt);
    progress.finish();
    tell_of_graphs(&args.common);
    if told_of_disagreement(&outcome) {
        return Ok(ExitCode::CheckFailed);
    }
    match unless_interrupted(outcome, interrupt)? {
        SampleOutcome::Report(report) => args.sample.print(&report, &args.common),
        SampleOutcome::Part(part) => {
            if let Some(path) = part_file(args) {
                eval::write_sample_part(&path, &part)?;
                tell_of_part(&path, part.shard, &args.common);
                // Of a part nothing is estimated: its document is the record.
                print(&args.common, || &*part, String::new)?;
            }
            Ok(ExitCode::Ok)
        }
    }
}

/// Two engines that disagree are a check that failed, and not one that could not be made.
fn told_of_disagreement<T>(outcome: &Result<T, ScoreJobError>) -> bool {
    match outcome {
        Err(error @ ScoreJobError::Score(ScoreError::Engine(EngineError::Disagreement { .. }))) => {
            let _ = writeln!(anstream::stderr().lock(), "{error}");
            true
        }
        _ => false,
    }
}

fn tell_of_part(path: &Path, shard: Shard, common: &CommonArgs) {
    if !common.quiet {
        let mut stderr = anstream::stderr().lock();
        let _ = writeln!(stderr, "part {shard} written to {}; `score merge` adds up all parts", path.display());
    }
}

fn merge(parts: &[PathBuf], common: &CommonArgs) -> anyhow::Result<ExitCode> {
    match eval::read_parts(parts)? {
        Parts::Evaluation(parts) => {
            let report = eval::merge(parts)?;
            print(common, || report.document(), || short_or_long(&report, common))?;
            Ok(ExitCode::Ok)
        }
        Parts::Sample(parts) => sample::print_report(&merge_sample(parts)?, common),
    }
}

/// Flags to a job, with environment and flags applied to the recipe.
fn job(args: &Args, manifest: &Path) -> anyhow::Result<ScoreJob> {
    let windowings = match (args.sliding, args.non_overlapping) {
        (true, _) => vec![Windowing::Sliding],
        (_, true) => vec![Windowing::NonOverlapping],
        // One kind of windows has one sample.
        _ if args.sample.is_wanted() => vec![Windowing::Sliding],
        _ => vec![Windowing::Sliding, Windowing::NonOverlapping],
    };
    let mut effective = changes(args)?.or_data_of(&args.config.load(&[], &args.common)?, manifest)?.load(manifest)?;
    if args.no_ttt {
        effective.manifest.eval.ttt = None;
    }
    Ok(ScoreJob {
        manifest_path: manifest.to_path_buf(),
        ttt_trace: ttt::trace_file(args, &effective.manifest, manifest, &windowings)?,
        effective,
        packed: !args.no_artifact,
        artifact: args.artifact.clone(),
        checkpoint: args.checkpoint.clone(),
        windowings,
        max_tokens: args.max_tokens,
        engine: args.engine,
        device: args.device.open(args.precision, &args.common)?,
        precision: args.precision,
        shard: args.shard,
        nll_out: args.nll_out.clone(),
        record: args.record,
        profile: args.plot.is_some(),
    })
}

/// What environment and flags change of the recipe.
fn changes(args: &Args) -> anyhow::Result<Changes> {
    let changes = Changes::from_environment(Some(SCOPE))
        .set(&args.set)?
        .flag("--stride", "eval.stride", args.stride)
        .flag("--seq-len", "eval.seq_len", args.seq_len)
        .flag("--batch-windows", "eval.batch_windows", args.batch_windows);
    args.data.apply(changes)
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
