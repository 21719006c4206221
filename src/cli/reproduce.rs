//! `reproduce`: a claim from its manifest, end to end.

use std::path::PathBuf;

use clap::Parser;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::output::{print, watcher};
use super::outputs::Outputs;
use super::places::check_folder;
use super::previous::Kind;
use super::recipe::{DEFAULT_CHECKPOINT_SECONDS, Seconds, checkpoint_period, warn_of_recipe};
use super::signal::unless_interrupted;
use super::values::at_least;
use super::{CommonArgs, DeviceArgs, ExitCode, RecipeArgs, interrupt_on_signal, use_threads};
use crate::engine::{Engine, EngineKind, Precision};
use crate::interrupt::{Interrupt, Interrupted};
use crate::manifest::{Effective, Manifest};
use crate::progress::Progress;
use crate::record_folder;
use crate::reproduce::{
    self, DryRun, Ended, Estimate, ReproduceError, Reproduction, ReproductionDocument, Request, SeedsSummary,
};
use crate::rules::audit::Options;
use crate::run_folder::RunFolder;
use crate::stats::Board;

/// Name and version of the document of several seeds.
const REPRODUCTIONS_SCHEMA: &str = "golf-harness/reproductions/v1";
/// Name and version of the document of what would be done.
const PLANS_SCHEMA: &str = "golf-harness/reproduction-plans/v1";

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
  golf-harness reproduce manifests/smoke.yaml --dry-run --estimate
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

    /// Say what would be done, with what is there and what is missing; compute and write nothing
    #[arg(long, conflicts_with = "submission")]
    dry_run: bool,

    /// Guess how long it takes on this machine, from two seconds of its work; write nothing
    #[arg(long, conflicts_with = "submission")]
    estimate: bool,

    /// Write a complete record folder of the result; DIR must be empty or not there yet
    #[arg(long, value_name = "DIR")]
    submission: Option<PathBuf>,

    /// Set the runs against standing records in its README: better by 0.005 nats at p < 0.01? (manifests/board.yaml)
    #[arg(long, value_name = "BOARD", requires = "submission")]
    against: Option<PathBuf>,

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
    let board = args.against.as_deref().map(Board::load).transpose()?;
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
    if args.dry_run || args.estimate {
        return foresee(args, &effective, &*engine, &interrupt);
    }
    let all_seeds = folder_of_seeds(args, &effective);
    if let Some((all, first)) = all_seeds.as_ref().zip(effective.first()) {
        let mut outputs = Outputs::default();
        outputs.reads("the manifest", &args.manifest).reads_named(&first.manifest, &first.folder);
        // Code goes into the folders of seeds.
        let nothing = Manifest { code: Vec::new(), ..first.manifest.clone() };
        outputs.writes_run(all, &[Kind::Page, Kind::Seeds], &nothing, &first.folder);
        outputs.check(false)?;
    }
    let told: anyhow::Result<Vec<Told>> =
        effective.iter().map(|effective| one(args, effective, &*engine, interrupt.clone())).collect();
    let mut told = told?;
    let runs: Vec<Box<Reproduction>> = told.iter_mut().filter_map(|told| told.run.take()).collect();
    if let (Some(submission), Some(first)) = (&args.submission, effective.first())
        && runs.len() == told.len()
    {
        let terms = Options::default().policy_for(first.manifest.claim.track)?.record_terms();
        let against = board.as_ref().map(|board| (board, &terms));
        reproduce::write_record_folder(&runs, &first.manifest, against, submission)?;
    }
    if let (Some(all), Some(page)) = (&all_seeds, reproduce::page_of_seeds(&runs)) {
        page.write(&all.page())?;
    }
    let summary = SeedsSummary::of(&runs).filter(|_| runs.len() == told.len());
    if let (Some(all), Some(summary)) = (&all_seeds, &summary) {
        summary.write(&all.seeds())?;
    }
    let mut text: String = told.iter().map(|told| format!("\n{}", told.text)).collect();
    if let (Some(all), Some(summary)) = (&all_seeds, &summary) {
        text += &format!("\n{}files     {}\n", summary.text(), all.root().display());
    }
    match told.as_slice() {
        [only] if args.seeds.is_empty() => print(&args.common, || &only.json, || text)?,
        all => print(&args.common, || Reproductions::of(all, summary.as_ref()), || text)?,
    }
    let is_any = |code| told.iter().any(|told| told.code == code);
    let worst = [ExitCode::CheckFailed, ExitCode::CouldNotCheck].into_iter().find(|code| is_any(*code));
    Ok(worst.unwrap_or(ExitCode::Ok))
}

/// Says what would be done and how long it would take, and does none of it.
fn foresee(
    args: &Args,
    effective: &[Effective],
    engine: &dyn Engine,
    interrupt: &Interrupt,
) -> anyhow::Result<ExitCode> {
    let plans: Vec<DryRun> = effective
        .iter()
        .map(|effective| {
            let request = Request {
                folder: folder_of_one(args, &effective.manifest),
                effective,
                manifest_path: &args.manifest,
                engine,
                fresh: args.fresh,
                checkpoint_period: None,
                interrupt: interrupt.clone(),
                progress: &|_, _| Progress::hidden(),
            };
            reproduce::dry_run(&request)
        })
        .collect();
    let guess = |(plan, effective): (&DryRun, &Effective)| {
        let manifest = &effective.manifest;
        reproduce::estimate(manifest, engine, plan.val_tokens(manifest), interrupt)
    };
    let estimate = plans.iter().zip(effective).next().filter(|_| args.estimate).map(guess);
    let estimate = unless_interrupted(estimate.transpose(), interrupt)?;
    let document = || ReproductionPlans {
        schema: PLANS_SCHEMA,
        plans: args.dry_run.then_some(&plans),
        estimate: estimate.as_ref(),
    };
    let text = || {
        let plans = plans.iter().filter(|_| args.dry_run).map(|plan| plan.text() + "\n").collect::<String>();
        plans + &estimate.as_ref().map_or_else(String::new, |estimate| estimate.text(effective.len()))
    };
    print(&args.common, document, text)?;
    let is_possible = plans.iter().all(DryRun::is_possible);
    Ok(if is_possible || !args.dry_run { ExitCode::Ok } else { ExitCode::CouldNotCheck })
}

/// The folder of the run of one seed.
fn folder_of_one(args: &Args, manifest: &Manifest) -> RunFolder {
    let folder = run_folder(args, manifest);
    match args.seeds.is_empty() {
        true => folder,
        false => RunFolder::new(folder.root().join(format!("seed-{}", manifest.schedule.seed))),
    }
}

/// The folder that holds those of several seeds.
fn folder_of_seeds(args: &Args, effective: &[Effective]) -> Option<RunFolder> {
    let first = effective.first().filter(|_| args.seeds.len() > 1)?;
    Some(run_folder(args, &first.manifest))
}

fn run_folder(args: &Args, manifest: &Manifest) -> RunFolder {
    args.out.as_ref().map_or_else(|| RunFolder::for_run(&manifest.name), RunFolder::new)
}

/// The document of `reproduce --seeds --json`.
#[derive(Serialize, JsonSchema)]
pub struct Reproductions<'a> {
    /// Always `golf-harness/reproductions/v1`.
    #[schemars(extend("const" = REPRODUCTIONS_SCHEMA))]
    schema: &'static str,
    /// A reproduction each, in the order of the flag.
    #[schemars(with = "Vec<ReproductionDocument>")]
    seeds: Vec<&'a Value>,
    /// As in `seeds.json`; none where a seed could not be reproduced.
    summary: Option<&'a SeedsSummary>,
}

impl<'a> Reproductions<'a> {
    fn of(told: &'a [Told], summary: Option<&'a SeedsSummary>) -> Self {
        let seeds = told.iter().map(|told| &told.json).collect();
        Reproductions { schema: REPRODUCTIONS_SCHEMA, seeds, summary }
    }
}

/// The document of `reproduce --dry-run --json` and `reproduce --estimate --json`.
#[derive(Serialize, JsonSchema)]
pub struct ReproductionPlans<'a> {
    /// Always `golf-harness/reproduction-plans/v1`.
    #[schemars(extend("const" = PLANS_SCHEMA))]
    schema: &'static str,
    /// What would be done, a plan a seed; none without `--dry-run`.
    plans: Option<&'a Vec<DryRun>>,
    /// How long it takes, one seed; none without `--estimate`.
    estimate: Option<&'a Estimate>,
}

/// One seed, reproduced.
struct Told {
    text: String,
    json: Value,
    code: ExitCode,
    run: Option<Box<Reproduction>>,
}

fn one(args: &Args, effective: &Effective, engine: &dyn Engine, interrupt: Interrupt) -> anyhow::Result<Told> {
    let (manifest, base) = (&effective.manifest, &effective.folder);
    let folder = folder_of_one(args, manifest);
    let mut kinds = vec![Kind::OfTraining, Kind::Artifact, Kind::Manifest, Kind::Page];
    kinds.extend(manifest.eval.ttt.as_ref().map(|_| Kind::TttTrace));
    let mut outputs = Outputs::default();
    outputs.reads("the manifest", &args.manifest).reads_named(manifest, base);
    outputs.reads_each("the board", &args.against);
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
            let json = serde_json::to_value(done.document(None))?;
            Told { text: done.text(), json, code: done.conclusion().into(), run: Some(done) }
        }
        Ended::Recorded(found) => {
            let folder = folder.root().display();
            let said = format!(
                "{folder} holds this run, finished. The table is what it recorded; nothing was computed again. Run it \
                 again with --fresh, or into another folder with --out; check its files with `verify`."
            );
            let json = serde_json::to_value(found.document(Some(said.clone())))?;
            let text = format!("{}\n{said}\n", found.text());
            Told { text, json, code: ExitCode::CouldNotCheck, run: Some(found) }
        }
        Ended::Incomplete(missing) => {
            let json = serde_json::to_value(missing.document())?;
            Told { text: missing.text(), json, code: ExitCode::CouldNotCheck, run: None }
        }
    })
}
