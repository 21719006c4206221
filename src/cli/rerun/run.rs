//! From a plan to a verdict.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::around::Around;
use super::show::Show;
use super::{Args, SandboxChoice};
use crate::atomic_write;
use crate::cli::signal::unless_interrupted;
use crate::cli::{ExitCode, interrupt_on_signal};
use crate::escape::visible;
use crate::manifest::Track;
use crate::path_safety;
use crate::record_folder;
use crate::report::Report;
use crate::rerun::evidence::{self, Inputs};
use crate::rerun::interpreter::package_versions;
use crate::rerun::judge::{self, Against, Case, Claim, Judgement, MachineFacts};
use crate::rerun::launch::{Caps, Launch, Limits};
use crate::rerun::plan::{self, Plan, Subject};
use crate::rerun::ready::{self, Terms};
use crate::rerun::sandbox::{self, Isolation, Wanted};
use crate::rerun::session::{Finished, Session};
use crate::rerun::supervise;
use crate::rules::audit::{self, Options};
use crate::rules::{Policy, claimed_day, own_pr};
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
    let board = args.against.as_deref().map(Board::load).transpose()?;
    args.submission.as_deref().map(record_folder::check_empty).transpose()?;
    tell_plan(args, plan)?;
    if !plan.startable {
        return Ok(ExitCode::CouldNotCheck);
    }
    let interrupt = interrupt_on_signal()?;
    let track = subject.folder.track();
    let policy = Options::default().policy_for(track)?;
    let python = plan.packages.interpreter.as_ref().map_or_else(|| args.python.clone(), PathBuf::from);
    let terms =
        Terms { python: around.interpreter(&python)?, limits: limits(args), caps: caps(args, plan, track, &policy) };
    let launch = ready::launch(subject, plan, terms)?;
    let isolation = isolation(args, around)?;
    let seeds = plan.seeds.as_ref().map(|seeds| seeds.value.clone()).unwrap_or_default();
    let out = args.out.clone().unwrap_or_else(|| Path::new("runs").join(format!("rerun-{}", plan.name)));
    refuse_overlap(&out, &launch)?;
    let program = std::env::current_exe().context("this program's own path")?;
    let session = Session { launch: &launch, isolation: &isolation, seeds: &seeds, out: &out, program: &program };
    let show = Show::new(&args.common);
    show.begin(&isolation, &out);
    supervise::adopt_orphans()?;
    let finished = session.run(&interrupt, &mut |seed| show.seed(seed));
    supervise::sweep()?;
    let finished = unless_interrupted(finished, &interrupt)?;
    let audited = audit::folder(&subject.folder.root, plan.name.clone(), &Options::default())?;
    let judgement =
        judged((args, around), (subject, plan), &launch, (&policy, board.as_ref()), &audited, &finished, &out);
    let effective = out.join("manifest.yaml");
    atomic_write::write(&effective, plan::manifest_with_run(subject, plan, &effective)?.as_bytes())?;
    evidence::write(&judgement, &Inputs { code: &finished.code, data: &finished.data }, &out)?;
    if let Some(folder) = &args.submission {
        evidence::write_record_folder(&judgement, &launch, subject.folder.submission.as_ref(), folder)?;
    }
    tell_verdict(args, &judgement)?;
    Ok(judgement.conclusion().into())
}

fn tell_plan(args: &Args, plan: &Plan) -> anyhow::Result<()> {
    let mut stdout = crate::cli::output::stdout();
    if args.common.json {
        writeln!(stdout, "{}", json!({ "event": "plan", "plan": plan }))?;
    } else if !args.common.quiet || !plan.startable {
        write!(stdout, "{}", plan::text(plan, args.common.verbose > 0))?;
    }
    Ok(())
}

fn tell_verdict(args: &Args, judgement: &Judgement) -> anyhow::Result<()> {
    let mut stdout = crate::cli::output::stdout();
    if args.common.json {
        writeln!(stdout, "{}", json!({ "event": "report", "report": judgement }))?;
    } else {
        write!(stdout, "\n{}", judge::text(judgement))?;
    }
    Ok(())
}

fn judged(
    (args, around): (&Args, &Around),
    (subject, plan): (&Subject, &Plan),
    launch: &Launch,
    (policy, board): (&Policy, Option<&Board>),
    audited: &Report,
    finished: &Finished,
    out: &Path,
) -> Judgement {
    let absent = plan.packages.imported.iter().filter(|package| package.installed == Some(false));
    let modules: Vec<String> = plan.packages.imported.iter().map(|package| package.name.clone()).collect();
    let machine = MachineFacts {
        gpus: plan.gpus.found.clone(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        python: format!("Python {}", launch.python.version),
        driver: driver(),
        packages: package_versions(around.runner(), &launch.python, &modules),
        absent_packages: absent.map(|package| package.name.clone()).collect(),
    };
    let submission = subject.folder.submission.as_ref();
    let against =
        board.map(|board| Against { board, date: claimed_day(&subject.folder), pr: submission.and_then(own_pr) });
    let case = Case {
        name: &plan.name,
        claim: Claim::of(&subject.folder),
        audit: audited,
        track: subject.folder.track(),
        limits: &policy.limits,
        records: &finished.records,
        kept: &finished.kept,
        changed: &finished.changed,
        tolerance: args.tolerance,
        is_smoke: plan.smoke,
        machine,
        against,
    };
    judge::judge(&case, out.to_path_buf())
}

/// What NVIDIA's driver says of itself.
fn driver() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    Some(visible(text.lines().next()?.trim()))
}

fn isolation(args: &Args, around: &Around) -> anyhow::Result<Isolation> {
    if let Some(container) = &around.container {
        return Ok(Isolation::Container(Box::new(container.clone())));
    }
    let wanted = match args.sandbox {
        _ if args.no_sandbox => Wanted::Exactly(Isolation::Nothing),
        SandboxChoice::Best => Wanted::Best,
        SandboxChoice::Bubblewrap => Wanted::Exactly(Isolation::Bubblewrap),
        SandboxChoice::Landlock => Wanted::Exactly(Isolation::Landlock),
    };
    Ok(sandbox::choose(wanted)?)
}

fn limits(args: &Args) -> Limits {
    let memory = args.memory.unwrap_or_else(|| Bytes(total_memory().0 / 10 * 9));
    Limits { memory, disk: args.disk, output: OUTPUT, processes: PROCESSES }
}

/// Memory of this machine.
fn total_memory() -> Bytes {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    // Every Linux has the line; without it, a small machine is assumed.
    Bytes(kibibytes.map_or(4 << 30, |kibibytes| kibibytes << 10))
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
