//! `train`: from a manifest to a checkpoint, a log and a schedule trace.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::Parser;

use super::output::{print, watcher};
use super::outputs::Outputs;
use super::places::check_folder;
use super::plot::PlotFile;
use super::previous::Kind;
use super::recipe::{DEFAULT_CHECKPOINT_SECONDS, Seconds, checkpoint_period, warn_of_recipe};
use super::{CommonArgs, DeviceArgs, ExitCode, LaunchMode, RanksArgs, RecipeArgs, interrupt_on_signal, use_threads};
use crate::engine::{EngineKind, Precision};
use crate::interrupt::Interrupted;
use crate::manifest::Effective;
use crate::rules::runs_of_log;
use crate::run_folder::{RunFolder, RunLock};
use crate::site::training_plot;
use crate::train::{self, Start, SystemClock, Trace, TrainError, TrainRequest};

/// Train the model a manifest describes.
///
/// Writes checkpoint.safetensors, trace.jsonl, train.log and manifest.yaml (with results) into the run folder. The log
/// has the format of the challenge's own scripts.
///
/// Exit codes: 0 trained; 1 a replay ran to its end with other losses than recorded; 2 could not train; 130 interrupted,
/// within two seconds: after a whole step with a state that --resume continues bit for bit, or, where a step or the
/// state takes longer, with the state saved last.
#[derive(Parser)]
#[command(
    version,
    long_version = super::version::long(),
    after_help = "\
Examples:
  golf-harness train manifests/smoke.yaml
  golf-harness train manifests/smoke.yaml --seed 7 --out runs/seed7
  golf-harness train manifests/smoke.yaml --out runs/drawn \\
      --plot curves.html
  golf-harness train manifests/smoke.yaml --out runs/again \\
      --replay runs/smoke/trace.jsonl
  golf-harness train manifests/smoke.yaml --ranks 4 --out runs/four

With 8 GPUs, and the data of the challenge below --data-path:
  torchrun --nproc-per-node 8 --no-python golf-harness train \\
      manifests/pr-286.yaml --device cuda --precision bf16

The variables of the challenge's scripts (SEED, ITERATIONS, DATA_PATH, ...) are honored; flags win over them, and they
over the manifest. Several processes are told their ranks by torchrun, mpirun or srun (docs/training.md)."
)]
pub struct Args {
    /// Manifest with the recipe
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,

    /// Run folder [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Continue the unfinished run in the run folder
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,

    /// Start over in a folder that already holds a run
    #[arg(long)]
    overwrite: bool,

    /// Follow a recorded schedule trace instead of the clock
    #[arg(long, value_name = "TRACE")]
    replay: Option<PathBuf>,

    /// Save a state to resume from every N steps as well
    #[arg(long, value_name = "N")]
    checkpoint_every: Option<NonZeroU64>,

    /// Save a state to resume from every so many seconds; 0 only on Ctrl-C
    #[arg(long, value_name = "SECONDS", default_value = DEFAULT_CHECKPOINT_SECONDS)]
    checkpoint_seconds: Seconds,

    /// Draw loss and validation over steps and time, with what the schedule began when: a page (.html) or pictures (.svg)
    #[arg(long, value_name = "FILE")]
    plot: Option<PlotFile>,

    /// What runs the model
    #[arg(long, value_enum, default_value_t)]
    engine: EngineKind,

    #[command(flatten)]
    device: DeviceArgs,

    /// What a CUDA device stores activations and matrices in; the challenge's own runs use bf16
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    precision: Precision,

    #[command(flatten)]
    ranks: RanksArgs,

    /// Threads to use; the bytes do not depend on it [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    #[command(flatten)]
    recipe: RecipeArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// Trains as the flags say.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.common.apply_color();
    use_threads(args.threads)?;
    args.out.as_deref().map_or(Ok(()), |out| check_folder("--out", out))?;
    let effective = args.recipe.load(&args.manifest, &args.common)?;
    let launch_mode = args.ranks.launch_mode()?;
    let device = args.device.open_for(args.precision, &args.common, launch_mode.launch())?;
    let engine = device.training_engine(args.engine, args.precision)?;
    let interrupt = interrupt_on_signal()?;
    let folder = args.out.as_ref().map_or_else(|| RunFolder::for_run(&effective.manifest.name), RunFolder::new);
    let leads = launch_mode.launch().is_none_or(|launch| launch.rank.is_rank_zero());
    let _owned = if leads { Some(args.claim_folder(&folder, &effective)?) } else { None };
    let ranks = launch_mode.rendezvous(device.accelerator().is_some(), &interrupt)?;
    let request = TrainRequest {
        effective: &effective,
        manifest_path: &args.manifest,
        folder,
        engine: &*engine,
        ranks: &*ranks,
        start: args.start(),
        replay: args.replay.clone(),
        checkpoint_every: args.checkpoint_every,
        checkpoint_period: checkpoint_period(args.checkpoint_seconds),
        interrupt,
        progress: args.common.progress("training", 0),
    };
    if !ranks.rank().is_rank_zero() {
        train::run_worker(&request).map_err(interrupted)?;
        return Ok(ExitCode::Ok);
    }
    let (mut clock, mut watcher) = (SystemClock::start(), watcher(&args.common));
    let outcome = match launch_mode {
        LaunchMode::Threads(ranks) => train::run_in_process(&request, ranks, &mut clock, &mut *watcher),
        _ => train::run(&request, &mut clock, &mut *watcher),
    };
    let outcome = outcome.map_err(interrupted)?;
    let folder = &request.folder;
    if let Some(file) = &args.plot {
        let trace = Trace::read(&folder.trace())?;
        // A log that somebody took away has no validation to draw.
        let runs = runs_of_log(&folder.train_log(), "train.log").unwrap_or_default();
        file.write(&training_plot(&effective.manifest.name, &trace, runs.first()))?;
    }
    print(&args.common, || outcome.document(folder), || outcome.summary(folder) + "\n")?;
    let is_same = outcome.replay.as_ref().is_none_or(|replay| replay.is_identical());
    Ok(if is_same { ExitCode::Ok } else { ExitCode::CheckFailed })
}

impl Args {
    /// Takes the run folder for this process, unless something in it is not a run's or is read.
    fn claim_folder(&self, folder: &RunFolder, effective: &Effective) -> anyhow::Result<RunLock> {
        let (manifest, base) = (&effective.manifest, &effective.folder);
        let mut outputs = Outputs::default();
        outputs.reads("the manifest", &self.manifest).reads_named(manifest, base);
        outputs.reads_each("the trace", &self.replay);
        outputs.writes_run(folder, &[Kind::OfTraining, Kind::Manifest], manifest, base);
        if let Some(file) = &self.plot {
            outputs.writes("--plot", file.path(), file.kind());
        }
        let owned = folder.lock()?;
        outputs.check(false)?;
        warn_of_recipe(manifest, &self.common);
        Ok(owned)
    }

    fn start(&self) -> Start {
        match (self.resume, self.overwrite) {
            (true, _) => Start::Resume,
            (_, true) => Start::Overwrite,
            _ => Start::Fresh,
        }
    }
}

/// An interrupt has an exit code of its own.
fn interrupted(error: TrainError) -> anyhow::Error {
    match error {
        TrainError::Interrupted { .. } => anyhow::Error::from(Interrupted).context(error.to_string()),
        error => error.into(),
    }
}
