//! A rerun through Slurm: seeds one after the other by `srun`, or as an array job by `sbatch`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use schemars::JsonSchema;
use serde::Serialize;

use super::run::{VerdictTerms, write_manifest};
use super::{Args, collect};
use crate::cli::ExitCode;
use crate::cli::common::ProgressChoice;
use crate::cli::output::print;
use crate::cli::signal::unless_interrupted;
use crate::interrupt::Interrupt;
use crate::manifest::Launcher;
use crate::rerun::launch::{Launch, Steps};
use crate::rerun::plan::{self, Plan, Subject};
use crate::rerun::sandbox::{Isolation, Wanted};
use crate::rerun::session::Hold;
use crate::rerun::slurm::collect::collect;
use crate::rerun::slurm::job::{Job, JobFolder};
use crate::rerun::slurm::options::{self, Script};
use crate::rerun::slurm::submit::{self, Step};

/// How seeds get to the machine that Slurm chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// `srun` starts this program there, and it is waited for.
    Step,
    /// `sbatch` takes them.
    Job,
}

/// What is handed over.
pub(super) struct Handed<'a> {
    pub args: &'a Args,
    pub plan: (&'a Subject, &'a Plan),
    pub launch: Launch,
    pub wanted: Wanted,
    pub seeds: Vec<u64>,
    pub out: PathBuf,
    pub program: PathBuf,
}

fn is_slurm(launcher: Option<Launcher>) -> bool {
    matches!(launcher, Some(Launcher::Srun | Launcher::Sbatch))
}

/// Whether seeds are handed over, and how; none if they are run from here. Without a sandbox, `srun` is the script's own
/// launcher.
pub(super) fn way(args: &Args, launcher: Option<Launcher>) -> anyhow::Result<Option<Way>> {
    anyhow::ensure!(
        args.launcher_arg.is_empty() || is_slurm(launcher),
        "--launcher-arg is for srun and sbatch; add --launcher srun or --launcher sbatch"
    );
    anyhow::ensure!(
        args.container.is_none() || !is_slurm(launcher),
        "--container is not started through Slurm, whose machines may not have the image; add --launcher torchrun or \
         --launcher python, or leave --container out"
    );
    options::check(&args.launcher_arg, !args.no_sandbox)?;
    if launcher == Some(Launcher::Sbatch) {
        let later = [
            ("--against", args.against.is_some()),
            ("--submission", args.submission.is_some()),
            ("--tolerance", args.tolerance.is_some()),
            ("--score", args.score.is_some()),
        ];
        if let Some((flag, _)) = later.iter().find(|(_, is_given)| *is_given) {
            anyhow::bail!("{flag} is for the verdict; give it to `rerun collect`, once the job has ended");
        }
        return Ok(Some(Way::Job));
    }
    Ok((launcher == Some(Launcher::Srun) && !args.no_sandbox).then_some(Way::Step))
}

/// How `srun` starts the script's own processes, where there is no sandbox. A job's options are its allocation's.
pub(super) fn steps(args: &Args, launcher: Option<Launcher>, program: &Path) -> anyhow::Result<Option<Steps>> {
    if !is_slurm(launcher) || !args.no_sandbox {
        return Ok(None);
    }
    // The script's environment has another search path.
    let srun = plan::program("srun").context("srun is not on the path")?;
    let options = if launcher == Some(Launcher::Srun) { args.launcher_arg.clone() } else { Vec::new() };
    Ok(Some(Steps { processes: 1, options, srun, program: program.to_path_buf() }))
}

/// Hands seeds over. By `srun` it ends with a verdict, by `sbatch` with the number of the job.
pub(super) fn hand_over(
    way: Way,
    handed: &Handed,
    terms: &VerdictTerms,
    interrupt: &Interrupt,
) -> anyhow::Result<ExitCode> {
    let out = kept(handed)?;
    match way {
        Way::Step => by_steps(handed, &out, terms, interrupt),
        Way::Job => by_job(handed, &out, interrupt),
    }
}

/// Keeps what is to be run in the run folder, whose whole path it gives: tasks begin elsewhere.
fn kept(handed: &Handed) -> anyhow::Result<PathBuf> {
    let Handed { args, plan: (subject, plan), .. } = handed;
    submit::check_idle(&JobFolder::of(&handed.out), &handed.seeds)?;
    // Nobody works there meanwhile.
    let hold = Hold::folder(&handed.out)?;
    let out = handed.out.canonicalize().with_context(|| handed.out.display().to_string())?;
    let folder = JobFolder::of(&out);
    write_manifest(subject, plan, &out)?;
    folder.keep_job(Job {
        schema: String::new(),
        subject: std::path::absolute(args.subject())?,
        launch: handed.launch.clone(),
        wanted: handed.wanted.clone(),
        memory: args.memory,
        is_smoke: plan.smoke,
        seeds: handed.seeds.clone(),
        modules: plan.packages.imported.iter().map(|package| package.name.clone()).collect(),
    })?;
    drop(hold);
    Ok(out)
}

/// Places of the seeds that are not finished well.
fn open_tasks(handed: &Handed, out: &Path) -> anyhow::Result<Vec<usize>> {
    let records = collect(out)?.finished.records;
    let is_open = |seed: &u64| !records.iter().any(|record| record.seed == *seed && record.ended.is_good());
    Ok((0..handed.seeds.len()).filter(|at| is_open(&handed.seeds[*at])).collect())
}

fn by_steps(handed: &Handed, out: &Path, terms: &VerdictTerms, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let args = handed.args;
    // Lines of a seed come here by way of its error output.
    let flags: &[&str] = match args.common.progress {
        ProgressChoice::Json => &["--progress", "json"],
        ProgressChoice::Auto if !args.common.json && !args.common.quiet => &[],
        _ => &["--quiet"],
    };
    let step = Step { program: &handed.program, out, options: &args.launcher_arg, flags };
    for at in open_tasks(handed, out)? {
        let status = unless_interrupted(step.run(handed.seeds[at], interrupt), interrupt)?;
        // What is wrong was said there, and is the same for the next seed.
        if !status.success() {
            break;
        }
    }
    collect::conclude_job(&args.common, out, terms)
}

fn by_job(handed: &Handed, out: &Path, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let tasks = open_tasks(handed, out)?;
    let seeds: Vec<u64> = tasks.iter().map(|at| handed.seeds[*at]).collect();
    let shown = handed.out.display();
    if tasks.is_empty() {
        let text = || format!("every seed is finished; the verdict: rerun collect {shown}\n");
        print(&handed.args.common, || SubmittedSeeds::of(None, &seeds, out), text)?;
        return Ok(ExitCode::Ok);
    }
    let is_sandboxed = handed.wanted != Wanted::Exactly(Isolation::Nothing);
    let script = Script {
        program: &handed.program,
        out,
        tasks: &tasks,
        processes: if is_sandboxed { 1 } else { handed.launch.processes() },
        is_sandboxed,
        options: &handed.args.launcher_arg,
    };
    let job = unless_interrupted(submit::sbatch(&script, &seeds, interrupt), interrupt)?;
    let text = || {
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        format!(
            "submitted   job {job}: seeds {}\nscript      {shown}/slurm/job.sh\nafterwards  rerun collect {shown}\n",
            seeds.join(", ")
        )
    };
    print(&handed.args.common, || SubmittedSeeds::of(Some(job), &seeds, out), text)?;
    Ok(ExitCode::Ok)
}

/// The document of `rerun --launcher sbatch --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SubmittedSeeds<'a> {
    /// Always `golf-harness/rerun-submitted/v1`.
    #[schemars(extend("const" = Self::SCHEMA))]
    schema: &'static str,
    /// Slurm's number; null where every seed is finished.
    job: Option<u64>,
    /// Its seeds.
    seeds: &'a [u64],
    /// The run folder, for `rerun collect`.
    folder: &'a Path,
}

impl<'a> SubmittedSeeds<'a> {
    const SCHEMA: &'static str = "golf-harness/rerun-submitted/v1";

    fn of(job: Option<u64>, seeds: &'a [u64], folder: &'a Path) -> Self {
        SubmittedSeeds { schema: Self::SCHEMA, job, seeds, folder }
    }
}
