//! `rerun collect` and `rerun seed`: the verdict on seeds that went through Slurm, and one such seed.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use schemars::JsonSchema;
use serde::Serialize;

use super::run::{Done, VerdictTerms, conclude};
use super::score::Scorer;
use super::show::Show;
use crate::cli::output::print;
use crate::cli::signal::unless_interrupted;
use crate::cli::{CommonArgs, DataArgs, ExitCode, interrupt_on_signal};
use crate::record_folder;
use crate::rerun::judge::MissingSeed;
use crate::rerun::plan::Subject;
use crate::rerun::slurm::collect::collect;
use crate::rerun::slurm::job::JobFolder;
use crate::rerun::slurm::task::{self, Which};
use crate::rerun::supervise;
use crate::stats::Board;

/// Judge the seeds of a job
///
/// Finished seeds are judged as if they had been run here. Those that are not are named, with what Slurm says of them.
#[derive(clap::Args)]
pub struct CollectArgs {
    /// The run folder, as `rerun FOLDER --launcher sbatch` named it
    #[arg(value_name = "DIR")]
    out: PathBuf,

    /// How far a seed, and the mean, may be from the claim, bits per byte [default: three spreads of the claimed seeds]
    #[arg(long, value_name = "BPB", value_parser = super::seconds)]
    tolerance: Option<f64>,

    /// Compare what came out with standing records: better by 0.005 nats at p < 0.01? (manifests/board.yaml)
    #[arg(long, value_name = "BOARD")]
    against: Option<PathBuf>,

    /// Write a complete record folder of what was rerun
    #[arg(long, value_name = "DIR")]
    submission: Option<PathBuf>,

    /// Score the artifacts with this program, too [default: the network of the submission's own manifest]
    #[arg(long, value_name = "MANIFEST", num_args = 0..=1, require_equals = true)]
    score: Option<Option<PathBuf>>,
}

/// Run one seed of a job; what the job's script calls
#[derive(clap::Args)]
pub struct SeedArgs {
    /// The run folder
    #[arg(value_name = "DIR")]
    out: PathBuf,

    /// The seed's place in the job, 0-based
    #[arg(long, value_name = "N", required_unless_present = "seed")]
    index: Option<usize>,

    /// The seed itself
    #[arg(long, value_name = "SEED", conflicts_with = "index")]
    seed: Option<u64>,

    /// End when standard input does: nobody waits any more
    #[arg(long)]
    while_input: bool,
}

pub(super) fn run(args: &CollectArgs, common: &CommonArgs) -> anyhow::Result<ExitCode> {
    super::score::check(&args.score)?;
    let scorer = match &args.score {
        Some(_) => {
            let subject = Subject::read(&JobFolder::of(&args.out).job()?.subject)?;
            Scorer::open(&args.score, &subject, &DataArgs::default(), common)?
        }
        None => None,
    };
    let terms = VerdictTerms {
        tolerance: args.tolerance,
        board: args.against.as_deref().map(Board::load).transpose()?,
        submission: args.submission.as_deref(),
        scorer,
        interrupt: interrupt_on_signal()?,
    };
    terms.submission.map(record_folder::check_empty).transpose()?;
    conclude_job(common, &args.out, &terms)
}

/// Judges what there is. Where nothing is finished, there is nothing to judge.
pub(super) fn conclude_job(common: &CommonArgs, out: &Path, terms: &VerdictTerms) -> anyhow::Result<ExitCode> {
    let collected = collect(out)?;
    let subject = Subject::read(&collected.job.subject)?;
    if collected.finished.records.is_empty() {
        let document = || NothingJudged { schema: NothingJudged::SCHEMA, missing: &collected.missing };
        print(common, document, || nothing_judged(&collected.missing))?;
        return Ok(ExitCode::CouldNotCheck);
    }
    let done = Done {
        finished: &collected.finished,
        missing: &collected.missing,
        machine: collected.machine.clone(),
        unlike: &collected.unlike,
        is_smoke: collected.job.is_smoke,
        out,
    };
    conclude(common, &subject, &collected.job.launch, done, terms)
}

/// The document of `rerun collect --json` where no seed is finished.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NothingJudged<'a> {
    /// Always `golf-harness/rerun-missing/v1`.
    #[schemars(extend("const" = Self::SCHEMA))]
    schema: &'static str,
    /// The seeds, and what Slurm says of each.
    missing: &'a [MissingSeed],
}

impl NothingJudged<'_> {
    const SCHEMA: &'static str = "golf-harness/rerun-missing/v1";
}

fn nothing_judged(missing: &[MissingSeed]) -> String {
    let line = |missing: &MissingSeed| {
        format!("seed {:<7}{}: {}\n", missing.seed, missing.state.word().to_uppercase(), missing.words)
    };
    missing.iter().map(line).collect::<String>() + "no seed is finished; nothing was judged\n"
}

pub(super) fn seed(args: &SeedArgs, common: &CommonArgs) -> anyhow::Result<ExitCode> {
    let which = match (args.index, args.seed) {
        (Some(index), _) => Which::Index(index),
        (None, Some(seed)) => Which::Seed(seed),
        (None, None) => anyhow::bail!("--index N or --seed SEED"),
    };
    let interrupt = interrupt_on_signal()?;
    if args.while_input {
        let interrupt = interrupt.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while std::io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
            interrupt.raise();
        });
    }
    let program = std::env::current_exe().context("this program's own path")?;
    let show = Show::new(common);
    supervise::adopt_orphans()?;
    let begin = &mut |isolation: &_| show.begin(isolation, &args.out);
    let outcome = task::run(&args.out, which, &program, &interrupt, begin, &mut |seed| show.seed(seed));
    supervise::sweep()?;
    unless_interrupted(outcome, &interrupt)?;
    Ok(ExitCode::Ok)
}
