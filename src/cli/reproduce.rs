//! `reproduce`: a claim from its manifest, end to end.

use std::path::PathBuf;

use clap::Parser;

use super::output::{print, watcher};
use super::outputs::Outputs;
use super::previous::Kind;
use super::recipe::{DEFAULT_CHECKPOINT_SECONDS, Seconds, checkpoint_period, warn_of_recipe};
use super::{CommonArgs, DeviceArgs, ExitCode, RecipeArgs, interrupt_on_signal, use_threads};
use crate::engine::{EngineKind, Precision};
use crate::interrupt::Interrupted;
use crate::reproduce::{self, Ended, ReproduceError, Request};
use crate::run_folder::RunFolder;

/// Train, pack, score and verify what a manifest describes, and hold the result against its claim.
///
/// Stages whose inputs and outputs have not changed are kept, so the same command continues an interrupted run. A stage
/// that another build or other vector instructions made is done again.
///
/// A folder that holds another recipe, another seed or a finished run is left as it is: of a finished one the recorded
/// table is shown, which is not a reproduction. --fresh starts over.
///
/// Exit codes: 0 every number holds; 1 one does not, or a rule fails; 2 could not reproduce (data missing, bad input,
/// nothing computed); 130 interrupted, nothing half-written.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
    reproduce manifests/smoke.yaml                    about a minute on two cores, no downloads\n  \
    reproduce manifests/smoke.yaml --seed 7 --out runs/seed7\n  \
    DATA_PATH=/data/fineweb10B_sp1024 TOKENIZER_PATH=/data/sp1024.model reproduce manifests/pr-286.yaml"
)]
pub struct Args {
    /// Manifest of the claim
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,

    /// Run folder [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Do every stage again, in place of the run in the folder
    #[arg(long)]
    fresh: bool,

    /// Save a state of training to continue from every so many seconds; 0 only when interrupted
    #[arg(long, value_name = "SECONDS", default_value = DEFAULT_CHECKPOINT_SECONDS)]
    checkpoint_seconds: Seconds,

    /// What runs the model
    #[arg(long, value_enum, default_value_t)]
    engine: EngineKind,

    #[command(flatten)]
    device: DeviceArgs,

    /// What a CUDA device stores activations and matrices in; the challenge's own runs use bf16
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    precision: Precision,

    /// Threads to use; no number depends on it [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    #[command(flatten)]
    recipe: RecipeArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// Reproduces as the flags say.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.common.apply_color();
    use_threads(args.threads)?;
    let effective = args.recipe.load(&args.manifest)?;
    let engine = args.device.open(&args.common)?.training_engine(args.engine, args.precision)?;
    let folder = args.out.as_ref().map_or_else(|| RunFolder::for_run(&effective.manifest.name), RunFolder::new);
    let kinds = [Kind::OfTraining, Kind::Artifact, Kind::Manifest];
    let (manifest, base) = (&effective.manifest, &effective.folder);
    let mut outputs = Outputs::default();
    outputs.reads("the manifest", &args.manifest).reads_named(manifest, base);
    outputs.writes_run(&folder, &kinds, manifest, base);
    let _owned = folder.lock()?;
    outputs.check(false)?;
    warn_of_recipe(manifest, &args.common);
    let request = Request {
        folder: folder.clone(),
        effective: &effective,
        manifest_path: &args.manifest,
        engine: &*engine,
        fresh: args.fresh,
        checkpoint_period: checkpoint_period(args.checkpoint_seconds),
        interrupt: interrupt_on_signal()?,
        progress: &|what, len| args.common.progress(what, len),
    };
    let ended = match reproduce::run(&request, &mut *watcher(&args.common)) {
        // However a stage describes it.
        Err(error) if request.interrupt.is_raised() || matches!(error, ReproduceError::Interrupted(_)) => {
            let said = ReproduceError::Interrupted(Interrupted).to_string();
            return Err(anyhow::Error::from(Interrupted).context(said));
        }
        ended => ended?,
    };
    let (text, json, code) = match ended {
        Ended::Complete(done) => (done.text(), done.json(), done.conclusion().into()),
        Ended::Recorded(found) => {
            let folder = folder.root().display();
            let said = format!(
                "{folder} holds this run, finished. The table is what it recorded; nothing was computed again. Run it \
                 again with --fresh, or into another folder with --out; check its files with `verify`."
            );
            let mut json = found.json();
            json["recorded"] = true.into();
            json["message"] = said.clone().into();
            (format!("{}\n{said}\n", found.text()), json, ExitCode::CouldNotCheck)
        }
        Ended::Incomplete(missing) => (missing.text(), missing.json(), ExitCode::CouldNotCheck),
    };
    print(&args.common, || json, || format!("\n{text}"))?;
    Ok(code)
}
