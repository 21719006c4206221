//! From a plan to a verdict.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::around::Around;
use super::score::Scorer;
use super::show::Show;
use super::{Args, SandboxChoice, slurm};
use crate::atomic_write;
use crate::cli::output::print;
use crate::cli::outputs::Outputs;
use crate::cli::signal::unless_interrupted;
use crate::cli::{CommonArgs, DataArgs, ExitCode, interrupt_on_signal};
use crate::interrupt::Interrupt;
use crate::manifest::Track;
use crate::path_safety;
use crate::record_folder;
use crate::rerun::evidence;
use crate::rerun::facts::{machine_facts, usual_memory};
use crate::rerun::judge::{self, Against, Case, Claim, MachineFacts, MissingSeed};
use crate::rerun::launch::{Caps, Launch, Limits, Python, Steps};
use crate::rerun::plan::{self, Plan, Subject};
use crate::rerun::ready::{self, Terms};
use crate::rerun::sandbox::{self, Isolation, Wanted};
use crate::rerun::session::{Finished, Session};
use crate::rerun::supervise;
use crate::rules::audit::{self, Options};
use crate::rules::{Policy, claimed_day, own_pr};
use crate::run_folder::RunFolder;
use crate::stats::Board;
use crate::units::Bytes;

/// Seconds over a cap of the rules before a run is stopped: validation within training, and the last step.
const GRACE_SECONDS: f64 = 120.0;
/// Seconds until the first line of training, in the 10-minute track: compilation and warm-up.
const START_SECONDS: u64 = 900;
/// Bytes of output kept, and read: as much as `verify` reads of a log.
const OUTPUT: Bytes = Bytes(256 << 20);
/// Processes at a time.
const PROCESSES: usize = 4096;

/// Runs the plan.
pub(super) fn start(args: &Args, subject: &Subject, plan: &Plan, around: &Around) -> anyhow::Result<ExitCode> {
    let launcher = plan.launcher.as_ref().map(|launcher| launcher.value);
    let way = slurm::way(args, launcher)?;
    let out = args.out.clone().unwrap_or_else(|| Path::new("runs").join(format!("rerun-{}", plan.name)));
    let interrupt = interrupt_on_signal()?;
    let data = DataArgs { data_path: args.data_path.clone(), tokenizer_path: args.tokenizer_path.clone() };
    let terms = VerdictTerms {
        tolerance: args.tolerance,
        board: args.against.as_deref().map(Board::load).transpose()?,
        submission: args.submission.as_deref(),
        scorer: Scorer::open(&args.score, subject, &data, &args.common)?,
        interrupt: interrupt.clone(),
    };
    outputs(args, &out).check(false)?;
    terms.submission.map(record_folder::check_empty).transpose()?;
    tell_plan(args, plan)?;
    if !plan.startable {
        return Ok(ExitCode::CouldNotCheck);
    }
    let program = std::env::current_exe().context("this program's own path")?;
    let python = plan.packages.interpreter.as_ref().map_or_else(|| args.python.clone(), PathBuf::from);
    let python = around.interpreter(&python)?;
    let launch = launch(args, subject, plan, (python, slurm::steps(args, launcher, &program)?))?;
    let seeds = plan.seeds.as_ref().map(|seeds| seeds.value.clone()).unwrap_or_default();
    refuse_overlap(&out, &launch)?;
    let wanted = wanted(args, around);
    if let Some(way) = way {
        let handed = slurm::Handed { args, plan: (subject, plan), launch, wanted, seeds, out, program };
        return slurm::hand_over(way, &handed, &terms, &interrupt);
    }
    let isolation = sandbox::choose(wanted)?;
    let session = Session { launch: &launch, isolation: &isolation, seeds: &seeds, out: &out, program: &program };
    let show = Show::new(&args.common);
    show.begin(&isolation, &out);
    supervise::adopt_orphans()?;
    let finished = session.run(&interrupt, &mut |seed| show.seed(seed));
    supervise::sweep()?;
    let finished = unless_interrupted(finished, &interrupt)?;
    write_manifest(subject, plan, &out)?;
    let packages = plan.packages.imported.iter();
    let packages = packages.map(|package| (package.name.as_str(), package.installed != Some(false)));
    let machine = machine_facts(around.runner(), &launch.python, plan.gpus.found.clone(), packages);
    let done = Done { finished: &finished, missing: &[], machine, unlike: &[], is_smoke: plan.smoke, out: &out };
    conclude(&args.common, subject, &launch, done, &terms)
}

fn launch(
    args: &Args,
    subject: &Subject,
    plan: &Plan,
    (python, steps): (Python, Option<Steps>),
) -> anyhow::Result<Launch> {
    let track = subject.folder.track();
    let policy = Options::default().policy_for(track)?;
    let terms = Terms { python, limits: limits(args), caps: caps(args, plan, track, &policy), steps };
    Ok(ready::launch(subject, plan, terms)?)
}

/// The effective run, which `rerun` takes again.
pub(super) fn write_manifest(subject: &Subject, plan: &Plan, out: &Path) -> anyhow::Result<()> {
    let effective = RunFolder::new(out).manifest();
    Ok(atomic_write::write(&effective, plan::manifest_with_run(subject, plan, &effective)?.as_bytes())?)
}

/// What was run.
pub(super) struct Done<'a> {
    pub finished: &'a Finished,
    pub missing: &'a [MissingSeed],
    pub machine: MachineFacts,
    pub unlike: &'a [String],
    pub is_smoke: bool,
    pub out: &'a Path,
}

/// What a verdict is asked for beside the claim.
pub(super) struct VerdictTerms<'a> {
    pub tolerance: Option<f64>,
    pub board: Option<Board>,
    pub submission: Option<&'a Path>,
    pub scorer: Option<Scorer>,
    pub interrupt: Interrupt,
}

/// Judges, and writes what is handed on.
pub(super) fn conclude(
    common: &CommonArgs,
    subject: &Subject,
    launch: &Launch,
    done: Done,
    terms: &VerdictTerms,
) -> anyhow::Result<ExitCode> {
    let (finished, out) = (done.finished, done.out);
    let folder = &subject.folder;
    let audited = audit::folder(&folder.root, launch.name.clone(), &Options::default())?;
    let policy = Options::default().policy_for(folder.track())?;
    let pr = folder.submission.as_ref().and_then(own_pr);
    let score = |scorer: &Scorer| scorer.score(&finished.records, out, common, &terms.interrupt);
    let scoring = terms.scorer.as_ref().map(score).transpose()?.flatten();
    let case = Case {
        name: &launch.name,
        claim: Claim::of(folder),
        audit: &audited,
        track: folder.track(),
        limits: &policy.limits,
        records: &finished.records,
        kept: &finished.kept,
        missing: done.missing,
        unlike: done.unlike,
        changed: &finished.changed,
        tolerance: terms.tolerance,
        is_smoke: done.is_smoke,
        machine: done.machine,
        against: terms.board.as_ref().map(|board| Against { board, date: claimed_day(folder), pr }),
        scoring,
    };
    let judgement = judge::judge(&case, out.to_path_buf());
    evidence::write(&judgement, &finished.inputs, out)?;
    if let Some(folder) = terms.submission {
        evidence::write_record_folder(&judgement, launch, subject.folder.submission.as_ref(), folder)?;
    }
    print(common, || &judgement, || format!("\n{}", judge::text(&judgement)))?;
    Ok(judgement.conclusion().into())
}

/// What is read and what is written.
fn outputs(args: &Args, out: &Path) -> Outputs {
    let mut outputs = Outputs::default();
    outputs.reads_subject(args.subject());
    outputs.reads_each("the board", &args.against);
    outputs.reads_each("the manifest", args.score.iter().flatten());
    outputs.reads_each("the tokenizer", &args.tokenizer_path);
    if let Some(data) = &args.data_path {
        outputs.reads_folder(data);
    }
    outputs.writes_rerun(out);
    outputs
}

/// With `--json` the plan is the result where nothing can be started; otherwise the verdict is.
fn tell_plan(args: &Args, plan: &Plan) -> anyhow::Result<()> {
    let is_said = if args.common.json { !plan.startable } else { !args.common.quiet || !plan.startable };
    if is_said {
        print(&args.common, || plan, || plan::text(plan, args.common.verbose > 0))?;
    }
    Ok(())
}

fn wanted(args: &Args, around: &Around) -> Wanted {
    if let Some(container) = &around.container {
        return Wanted::Exactly(Isolation::Container(Box::new(container.clone())));
    }
    match args.sandbox {
        _ if args.no_sandbox => Wanted::Exactly(Isolation::Nothing),
        SandboxChoice::Best => Wanted::Best,
        SandboxChoice::Bubblewrap => Wanted::Exactly(Isolation::Bubblewrap),
        SandboxChoice::Landlock => Wanted::Exactly(Isolation::Landlock),
    }
}

fn limits(args: &Args) -> Limits {
    let memory = args.memory.unwrap_or_else(usual_memory);
    Limits { memory, disk: args.disk, output: OUTPUT, processes: PROCESSES }
}

fn caps(args: &Args, plan: &Plan, track: Track, policy: &Policy) -> Caps {
    let is_capped = track == Track::TenMinutes && !plan.smoke;
    let by_track = |seconds: Option<f64>| seconds.filter(|_| is_capped).map(|seconds| seconds + GRACE_SECONDS);
    let duration = |seconds: Option<f64>| seconds.map(Duration::from_secs_f64);
    Caps {
        start: is_capped.then(|| Duration::from_secs(START_SECONDS)),
        train: duration(args.cap_train.or(by_track(Some(policy.limits.train_seconds)))),
        eval: duration(args.cap_eval.or(by_track(policy.limits.eval_seconds))),
    }
}

/// What runs write must not lie in what they read.
fn refuse_overlap(out: &Path, launch: &Launch) -> anyhow::Result<()> {
    let absolute = std::path::absolute(out)?;
    let existing = absolute.ancestors().find_map(path_safety::real).unwrap_or_else(|| absolute.clone());
    let sources = launch.data.iter().map(|mount| mount.source.as_path()).chain([launch.folder.as_path()]);
    for source in sources {
        anyhow::ensure!(
            !existing.starts_with(source) && !absolute.starts_with(source),
            "--out {} lies inside of {}, which the script reads; name another folder",
            out.display(),
            source.display()
        );
    }
    Ok(())
}
