//! `reproduce`: a claim from its manifest, end to end.

use std::path::PathBuf;

use clap::Parser;

use super::output::{document, print, schema, watcher};
use super::outputs::Outputs;
use super::places::check_folder;
use super::previous::Kind;
use super::recipe::{DEFAULT_CHECKPOINT_SECONDS, Seconds, checkpoint_period, warn_of_recipe};
use super::values::at_least;
use super::{CommonArgs, DeviceArgs, ExitCode, RecipeArgs, interrupt_on_signal, use_threads};
use crate::engine::{Engine, EngineKind, Precision};
use crate::interrupt::{Interrupt, Interrupted};
use crate::manifest::{Effective, Manifest};
use crate::record_folder;
use crate::reproduce::{self, Ended, ReproduceError, Reproduction, Request};
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
    long_version = super::version::long(),
    after_help = "\
Examples:
  golf-harness reproduce manifests/smoke.yaml
  golf-harness reproduce manifests/smoke.yaml --seed 7 --out runs/seed7
  golf-harness reproduce manifests/smoke.yaml --seeds 1,2,3 --submission new

With the data of the challenge:
  golf-harness reproduce manifests/pr-286.yaml \\
      --data-path data/datasets/fineweb10B_sp1024 \\
      --tokenizer-path data/tokenizers/fineweb_1024_bpe.model"
)]
pub struct Args {
    /// Manifest of the claim
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,

    /// Run folder [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Seeds, one after the other, each in a run folder of its own: OUT/seed-N
    #[arg(long, value_name = "SEED,...", value_delimiter = ',', conflicts_with = "seed", value_parser = at_least::<0>)]
    seeds: Vec<u64>,

    /// Write a complete record folder of the result; DIR must be empty or not there yet
    #[arg(long, value_name = "DIR")]
    submission: Option<PathBuf>,

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
    let twice = args.seeds.iter().enumerate().find(|(at, seed)| args.seeds[..*at].contains(*seed));
    if let Some((_, seed)) = twice {
        anyhow::bail!("--seeds: {seed} stands there twice");
    }
    args.out.as_deref().map_or(Ok(()), |out| check_folder("--out", out))?;
    args.submission.as_deref().map(record_folder::check_empty).transpose()?;
    use_threads(args.threads)?;
    let recipes: Vec<RecipeArgs> = if args.seeds.is_empty() {
        vec![args.recipe.clone()]
    } else {
        args.seeds.iter().map(|seed| args.recipe.with_seed(*seed)).collect()
    };
    let effective: anyhow::Result<Vec<Effective>> =
        recipes.iter().map(|recipe| recipe.load(&args.manifest, &args.common)).collect();
    let effective = effective?;
    let engine = args.device.open(args.precision, &args.common)?.training_engine(args.engine, args.precision)?;
    let interrupt = interrupt_on_signal()?;
    let told: anyhow::Result<Vec<Told>> =
        effective.iter().map(|effective| one(args, effective, &*engine, interrupt.clone())).collect();
    let mut told = told?;
    let runs: Vec<Box<Reproduction>> = told.iter_mut().filter_map(|told| told.run.take()).collect();
    if let (Some(submission), Some(first)) = (&args.submission, effective.first())
        && runs.len() == told.len()
    {
        reproduce::write_record_folder(&runs, &first.manifest, submission)?;
    }
    if let (Some(all), Some(page)) = (folder_of_seeds(args, &effective), reproduce::page_of_seeds(&runs)) {
        page.write(&all.page())?;
    }
    let json = || match told.as_slice() {
        [only] if args.seeds.is_empty() => only.json.clone(),
        all => {
            let seeds: Vec<_> = all.iter().map(|told| &told.json).collect();
            document(schema::REPRODUCTIONS, serde_json::json!({ "seeds": seeds }))
        }
    };
    let text: String = told.iter().map(|told| format!("\n{}", told.text)).collect();
    print(&args.common, json, || text)?;
    let is_any = |code| told.iter().any(|told| told.code == code);
    let worst = [ExitCode::CheckFailed, ExitCode::CouldNotCheck].into_iter().find(|code| is_any(*code));
    Ok(worst.unwrap_or(ExitCode::Ok))
}

/// The folder that holds those of several seeds.
fn folder_of_seeds(args: &Args, effective: &[Effective]) -> Option<RunFolder> {
    let first = effective.first().filter(|_| args.seeds.len() > 1)?;
    Some(run_folder(args, &first.manifest))
}

fn run_folder(args: &Args, manifest: &Manifest) -> RunFolder {
    args.out.as_ref().map_or_else(|| RunFolder::for_run(&manifest.name), RunFolder::new)
}

/// One seed, reproduced.
struct Told {
    text: String,
    json: serde_json::Value,
    code: ExitCode,
    run: Option<Box<Reproduction>>,
}

fn one(args: &Args, effective: &Effective, engine: &dyn Engine, interrupt: Interrupt) -> anyhow::Result<Told> {
    let (manifest, base) = (&effective.manifest, &effective.folder);
    let mut folder = run_folder(args, manifest);
    if !args.seeds.is_empty() {
        folder = RunFolder::new(folder.root().join(format!("seed-{}", manifest.schedule.seed)));
    }
    let kinds = [Kind::OfTraining, Kind::Artifact, Kind::Manifest, Kind::Page];
    let mut outputs = Outputs::default();
    outputs.reads("the manifest", &args.manifest).reads_named(manifest, base);
    outputs.writes_run(&folder, &kinds, manifest, base);
    let _owned = folder.lock()?;
    outputs.check(false)?;
    warn_of_recipe(manifest, &args.common);
    let request = Request {
        folder: folder.clone(),
        effective,
        manifest_path: &args.manifest,
        engine,
        fresh: args.fresh,
        checkpoint_period: checkpoint_period(args.checkpoint_seconds),
        interrupt,
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
    Ok(match ended {
        Ended::Complete(done) => {
            done.page().write(&folder.page())?;
            Told { text: done.text(), json: done.json(), code: done.conclusion().into(), run: Some(done) }
        }
        Ended::Recorded(found) => {
            let folder = folder.root().display();
            let said = format!(
                "{folder} holds this run, finished. The table is what it recorded; nothing was computed again. Run it \
                 again with --fresh, or into another folder with --out; check its files with `verify`."
            );
            let mut json = found.json();
            json["recorded"] = true.into();
            json["message"] = said.clone().into();
            let text = format!("{}\n{said}\n", found.text());
            Told { text, json, code: ExitCode::CouldNotCheck, run: Some(found) }
        }
        Ended::Incomplete(missing) => {
            Told { text: missing.text(), json: missing.json(), code: ExitCode::CouldNotCheck, run: None }
        }
    })
}
