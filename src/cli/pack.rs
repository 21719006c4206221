//! `pack`: from checkpoint to the bytes that count.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;

use super::output::print;
use super::outputs::Outputs;
use super::places::check_folder;
use super::previous::{Kind, beside};
use super::signal::unless_interrupted;
use super::values::{at_least, number};
use super::{Changes, CommonArgs, ExitCode, FitArgs, Scope, interrupt_on_signal, use_threads};
use crate::artifact::foreign::ForeignError;
use crate::artifact::inspect::{self, InspectionDocument};
use crate::artifact::pack_job::PackJob;
use crate::artifact::report;
use crate::atomic_write;
use crate::interrupt::Interrupt;
use crate::manifest::Effective;
use crate::path_safety::folder_of;
use crate::quant::{ArtifactContainer, ClassPattern, Quantizer, QuantizerRule};
use crate::run_folder::{RunFolder, RunLock};
use crate::site::bytes_page;

/// `pack` changes how weights are stored and nothing else.
const SCOPE: Scope = Scope { sections: &["quantization."], refusal: "pack sets quantization.* only" };

/// What makes no sense where nothing is packed.
const PACKING: [&str; 15] = [
    "manifest",
    "checkpoint",
    "output",
    "out",
    "prune",
    "keep_last_k",
    "classes",
    "scale_search",
    "rules",
    "hessians",
    "prune_to",
    "container",
    "codec",
    "set",
    "fit",
];

/// Quantize and compress a trained model into the artifact whose bytes count.
///
/// Exit codes: 0 packed and within 16,000,000 bytes; 1 packed but code + model are over (the files are written all
/// the same); 2 could not pack; 130 interrupted, nothing half-written.
#[derive(Parser)]
#[command(
    version,
    long_version = super::version::long(),
    after_help = "\
Examples:
  golf-harness pack --inspect fixtures/reference/export_model.ptz
  golf-harness pack --inspect fixtures/fuzz/artifact/mixed.golf --svg bytes.svg
  golf-harness pack runs/smoke/manifest.yaml
  golf-harness pack runs/smoke/manifest.yaml --codec ans -o small.golf
  golf-harness pack runs/smoke/manifest.yaml --container torch -o small.ptz
  golf-harness pack runs/smoke/manifest.yaml --prune 0.03 --out runs/pruned
  golf-harness pack runs/smoke/manifest.yaml --fit 390000 --out runs/fitted

Before those of runs/smoke: golf-harness train manifests/smoke.yaml

KEEP_LAST_K_FP16 and PRUNE_FRAC are honored; flags win over them, and they over the manifest.",
    group = clap::ArgGroup::new("drawn").args(["fit", "inspect"])
)]
pub struct Args {
    /// Manifest of a finished run, or any recipe together with --checkpoint
    #[arg(value_name = "MANIFEST", required_unless_present = "inspect")]
    manifest: Option<PathBuf>,

    /// Weights to pack (safetensors) instead of the manifest's own checkpoint
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Artifact to write; its manifest goes beside it as FILE.manifest.yaml
    #[arg(long, short, value_name = "FILE", conflicts_with = "out")]
    output: Option<PathBuf>,

    /// Folder for model.golf, or model.ptz, and manifest.yaml [default: the run's folder, or runs/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Set this fraction of every large matrix, smallest magnitudes first, to zero
    #[arg(long, value_name = "FRACTION", value_parser = number)]
    prune: Option<f64>,

    /// Keep the key projections of the last K blocks in half precision
    #[arg(long, value_name = "K")]
    keep_last_k: Option<u32>,

    /// Hold tensors by name in int5, int6, int8, f16 or f32; repeatable, the first that fits decides;
    /// in place of the manifest's own (`--class 'blocks.*.mlp.*=int6'`)
    #[arg(long = "class", value_name = "PATTERN=CLASS")]
    classes: Vec<ClassPattern>,

    /// Scale of a row: from its largest magnitude, or with the least squared error over PR #414's five clip
    /// percentiles, or over these and 1.00 to 0.50 of the largest magnitude
    #[arg(long, value_name = "HOW", value_parser = ["max", "percentiles", "mse"])]
    scale_search: Option<String>,

    /// Scales and rounding of tensors by name; repeatable, the first that fits decides; in place of the manifest's own:
    /// row_maximum, quantile:Q, clip_search, clip_search:row, deviation:K, each with /gptq to round by Hessians
    /// (`--rule 'blocks.*=deviation:12.85/gptq'`), or /gptq_or_nearest where a matrix may have none, and with
    /// +low_rank:R:CLASS to store a correction of rank R beside them
    #[arg(long = "rule", value_name = "PATTERN=SCALES")]
    rules: Vec<QuantizerRule>,

    /// Shard whose first sequences GPTQ's Hessians are summed over; validation data is refused [default: the manifest's
    /// first training shard]
    #[arg(long, value_name = "SHARD")]
    hessians: Option<PathBuf>,

    /// Set symbols of 1 and -1 to zero, smallest scales first, until code and model take at most BYTES
    #[arg(long, value_name = "BYTES", value_parser = at_least::<1>, conflicts_with = "fit")]
    prune_to: Option<u64>,

    /// The kind of file: golf, this program's own, or torch:CODEC/META, what the challenge's scripts write and load, with
    /// CODEC none, zlib, zstd, xz (each with :LEVEL) or brotli, and META types, methods or labels: torch is PR #286's,
    /// torch:xz:9 PR #1019's, torch:brotli/methods PR #1218's, torch:brotli/labels PR #1394's [default: golf]
    #[arg(long, value_name = "CONTAINER")]
    container: Option<ArtifactContainer>,

    /// zstd, the usual format, or ans: entropy-coded with adaptive models, smaller, the same weights
    #[arg(long, value_name = "CODEC", value_parser = ["zstd", "ans"])]
    codec: Option<String>,

    /// Set any field of the manifest's quantization section; repeatable (`--set quantization.zstd_level=19`)
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,

    /// Threads to use; the bytes do not depend on it [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    #[command(flatten)]
    fit: FitArgs,

    /// Pack nothing; show where the bytes of an artifact go, tensor by tensor: this program's, or a .ptz, .pt,
    /// .safetensors or .npz file, plain or compressed
    #[arg(long, value_name = "FILE", conflicts_with_all = PACKING)]
    inspect: Option<PathBuf>,

    /// Draw the trade-off of --fit between bytes and loss, or an area for every tensor of --inspect
    #[arg(long, value_name = "FILE", requires = "drawn")]
    svg: Option<PathBuf>,

    /// Write what --inspect found as a page: the areas, entropy floors, symbols by class, the biggest tensors
    #[arg(long, value_name = "FILE", requires = "inspect")]
    html: Option<PathBuf>,

    /// Replace a file that is there and was not made by this command
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    common: CommonArgs,
}

/// Packs, or answers what `--inspect` asks.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.common.apply_color();
    use_threads(args.threads)?;
    args.out.as_deref().map_or(Ok(()), |out| check_folder("--out", out))?;
    if let Some(file) = &args.inspect {
        return inspect(args, file);
    }
    let interrupt = interrupt_on_signal()?;
    if let Some(budget) = args.fit.fit {
        return fit(args, budget, &interrupt);
    }
    let progress = args.common.progress("packing", 0);
    let (job, _) = job(args, changes(args)?)?;
    let _owned = lock(args, &job)?;
    let done = job.run(&progress, &interrupt);
    progress.finish();
    let done = unless_interrupted(done, &interrupt)?;
    let text = || match args.common.quiet {
        true => report::summary(&done) + "\n",
        false => report::text(&done, args.common.verbose > 0),
    };
    print(&args.common, || report::document(&done), text)?;
    Ok(if done.budget.is_kept() { ExitCode::Ok } else { ExitCode::CheckFailed })
}

/// Answers a question about a file, which has no verdict: over the budget is no failure here.
fn inspect(args: &Args, file: &Path) -> anyhow::Result<ExitCode> {
    let mut outputs = Outputs::default();
    outputs.reads("the artifact", file);
    outputs.writes_each("--svg", &args.svg, Kind::Svg);
    outputs.writes_each("--html", &args.html, Kind::Page);
    outputs.check(args.force)?;
    let found = match inspect::inspect(file) {
        Err(ForeignError::Several { path, models }) => {
            let document = || InspectionDocument::of_several(&path, &models);
            print(&args.common, document, || inspect::several_text(&path, &models))?;
            return Ok(ExitCode::Ok);
        }
        found => found?,
    };
    let mut files = Vec::new();
    if let Some(path) = &args.svg {
        files.push((path.as_path(), inspect::svg(&found).into_bytes()));
    }
    if let Some(path) = &args.html {
        files.push((path.as_path(), bytes_page(&found)?.into_bytes()));
    }
    atomic_write::write_all(&files)?;
    let text = || match args.common.quiet {
        true => inspect::summary(&found) + "\n",
        false => inspect::text(&found),
    };
    print(&args.common, || InspectionDocument::of(&found), text)?;
    Ok(ExitCode::Ok)
}

/// Searches settings instead of taking the manifest's.
#[cfg(feature = "engine")]
fn fit(args: &Args, budget: u64, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    use super::fit::Pinned;
    use crate::fit;

    let changes = changes(args)?;
    let pinned = Pinned {
        classes: changes.touches("quantization.classes"),
        rules: changes.touches("quantization.rules"),
        scales: changes.touches("quantization.scale_search"),
    };
    let (job, folder) = job(args, changes)?;
    let _owned = lock(args, &job)?;
    let job = args.fit.job(budget, job, folder, pinned)?;
    let progress = args.common.progress("fitting", 0);
    let fitted = job.run(&progress, interrupt);
    progress.finish();
    let fitted = unless_interrupted(fitted, interrupt)?;
    if let Some(path) = &args.svg {
        atomic_write::write(path, fit::svg(&fitted.curve).as_bytes())?;
    }
    let text = || match args.common.quiet {
        true => fit::summary(&fitted) + "\n",
        false => fit::text(&fitted, args.common.verbose > 0),
    };
    print(&args.common, || fit::document(&fitted), text)?;
    Ok(if fitted.done.budget.is_kept() { ExitCode::Ok } else { ExitCode::CheckFailed })
}

#[cfg(not(feature = "engine"))]
fn fit(_: &Args, _: u64, _: &Interrupt) -> anyhow::Result<ExitCode> {
    anyhow::bail!(
        "--fit measures losses, and this `pack` was built without the numeric engines; build it with \
         `cargo build --release --bin pack`, without --no-default-features"
    )
}

/// The run folder, if that is where the artifact goes.
fn lock(args: &Args, job: &PackJob) -> anyhow::Result<Option<RunLock>> {
    Ok(match args.output {
        Some(_) => None,
        None => Some(RunFolder::new(folder_of(&job.artifact)).lock()?),
    })
}

/// Flags to a job, with environment and flags applied to the recipe, and the folder the recipe's paths start from.
fn job(args: &Args, changes: Changes) -> anyhow::Result<(PackJob, PathBuf)> {
    let recipe = args.manifest.clone().context("no MANIFEST is given")?;
    let Effective { manifest, folder: base, .. } = changes.load(&recipe)?;
    let is_by_hessians = |way: &String| way.parse::<Quantizer>().is_ok_and(|way| way.rounding.uses_hessian());
    let is_fitted_by_hessians = args.fit.ways.iter().any(is_by_hessians);
    if args.hessians.is_some() && !manifest.quantization.uses_hessians() && !is_fitted_by_hessians {
        anyhow::bail!("--hessians: no rule rounds by Hessians; give one, such as --rule 'blocks.*=clip_search/gptq'");
    }
    let (artifact, manifest_out) = match (&args.output, &args.out) {
        (Some(file), _) => (file.clone(), beside(file)),
        (None, out) => {
            let default = || PackJob::default_folder(&manifest, &recipe);
            let folder = out.as_ref().map_or_else(default, RunFolder::new);
            (folder.artifact(manifest.quantization.container), folder.manifest())
        }
    };
    let mut outputs = Outputs::default();
    outputs.reads("the manifest", &recipe).reads_named(&manifest, &base);
    if let Some(training) = &manifest.results.training {
        outputs.reads("the checkpoint", base.join(&training.checkpoint.path));
    }
    outputs.reads_each("the checkpoint", &args.checkpoint);
    outputs.reads_each("the calibration shard", &args.fit.calibration);
    outputs.reads_each("the shard of --hessians", &args.hessians);
    match &args.output {
        Some(file) => {
            outputs.writes("--output", file, Kind::Artifact);
            outputs.writes("the manifest beside --output,", &manifest_out, Kind::Manifest);
            outputs.writes_run(&RunFolder::new(folder_of(file)), &[], &manifest, &base);
        }
        None => {
            let folder = RunFolder::new(folder_of(&artifact));
            outputs.writes_run(&folder, &[Kind::Artifact, Kind::Manifest], &manifest, &base);
        }
    }
    outputs.writes_each("--svg", &args.svg, Kind::Svg);
    outputs.check(args.force)?;
    let checkpoint = args.checkpoint.clone();
    let hessian_shard = args.hessians.clone();
    Ok((PackJob { manifest, manifest_path: recipe, checkpoint, artifact, manifest_out, hessian_shard }, base))
}

/// What environment and flags change of the recipe.
fn changes(args: &Args) -> anyhow::Result<Changes> {
    let classes = joined(&args.classes);
    Ok(Changes::from_environment(Some(SCOPE))
        .set(&args.set)?
        .flag("--prune", "quantization.prune_fraction", args.prune)
        .flag("--container", "quantization.container", args.container)
        .flag("--codec", "quantization.codec", args.codec.as_ref())
        .flag("--class", "quantization.classes", classes)
        .flag("--scale-search", "quantization.scale_search", args.scale_search.as_ref())
        .flag("--rule", "quantization.rules", joined(&args.rules))
        .flag("--prune-to", "quantization.prune_to", args.prune_to)
        .flag("--keep-last-k", "quantization.keep_last_k_fp16", args.keep_last_k))
}

/// Rules as the text of a list; none given leave the manifest's.
fn joined(rules: &[impl ToString]) -> Option<String> {
    let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
    (!rules.is_empty()).then(|| rules.join(","))
}
