//! Handing seeds to Slurm.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::job::{JobError, JobFolder, SubmittedJob};
use super::options::{OptionError, Script};
use super::queue;
use crate::atomic_write::{self, WriteError};
use crate::escape::visible;
use crate::interrupt::{Interrupt, Interrupted};

/// How often it is looked whether somebody wants `srun` to end.
const TICK: Duration = Duration::from_millis(50);
/// How long a task has to end by itself, as soon as its input does.
const GRACE: Duration = Duration::from_millis(700);

/// Why seeds are not with Slurm.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The job's script.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A file in the run folder.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Seeds are with Slurm already.
    #[error("seeds {seeds} are in job {job}, which has not ended; wait for it, or `scancel {job}` first")]
    Waiting {
        /// The job.
        job: u64,
        /// Its seeds, as text.
        seeds: String,
    },
    /// A program of Slurm could not be started.
    #[error("{program}: {source}; is Slurm on the path?")]
    NoSlurm {
        /// Which.
        program: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Slurm refused the job.
    #[error("sbatch refused the job: {0}")]
    Refused(String),
    /// Stopped by whoever ran it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Refuses seeds that are with Slurm already.
pub fn check_idle(folder: &JobFolder, seeds: &[u64]) -> Result<(), SubmitError> {
    for job in folder.submitted()?.jobs {
        let alive = queue::tasks(job.id).unwrap_or_default();
        if alive.values().any(queue::Seen::is_alive) && job.seeds.iter().any(|seed| seeds.contains(seed)) {
            let seeds: Vec<String> = job.seeds.iter().map(u64::to_string).collect();
            return Err(SubmitError::Waiting { job: job.id, seeds: seeds.join(", ") });
        }
    }
    Ok(())
}

/// Writes the job's script and hands it to `sbatch`; gives Slurm's number of the job.
pub fn sbatch(script: &Script, seeds: &[u64], interrupt: &Interrupt) -> Result<u64, SubmitError> {
    let folder = JobFolder::of(script.out);
    let mut submitted = folder.submitted()?;
    let path = folder.script();
    atomic_write::write(&path, script.text()?.as_bytes())?;
    interrupt.check()?;
    let output = Command::new("sbatch").arg("--parsable").arg(&path).stdin(Stdio::null()).output();
    let output = output.map_err(|source| SubmitError::NoSlurm { program: "sbatch", source })?;
    let said = String::from_utf8_lossy(&output.stdout);
    // `123`, or `123;cluster`.
    let id = said.trim().split(';').next().and_then(|id| id.parse::<u64>().ok());
    let Some(id) = id.filter(|_| output.status.success()) else {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(SubmitError::Refused(visible(words.trim())));
    };
    submitted.jobs.push(SubmittedJob { id, seeds: seeds.to_vec() });
    folder.keep_submitted(&submitted)?;
    Ok(id)
}

/// A seed by `srun`, inside of an allocation or outside.
pub struct Step<'a> {
    /// This program.
    pub program: &'a Path,
    /// The run folder.
    pub out: &'a Path,
    /// Options passed on to `srun`.
    pub options: &'a [String],
    /// Flags for this program there.
    pub flags: &'a [&'static str],
}

impl Step<'_> {
    /// Waits for a seed, which is run and supervised on the machine that Slurm chooses.
    ///
    /// # Errors
    /// If there is no `srun`, or somebody wants an end.
    pub fn run(&self, seed: u64, interrupt: &Interrupt) -> Result<ExitStatus, SubmitError> {
        let no_slurm = |source| SubmitError::NoSlurm { program: "srun", source };
        let mut command = Command::new("srun");
        command.args(["--nodes=1", "--ntasks=1", "--job-name=rerun"]).args(self.options);
        command.arg(self.program).arg("seed").arg(self.out).args(["--seed", &seed.to_string(), "--while-input"]);
        // The task ends when its input does, so it does not outlive this process.
        let mut child = command.args(self.flags).stdin(Stdio::piped()).process_group(0).spawn().map_err(no_slurm)?;
        let mut input = child.stdin.take();
        let mut asked: Option<Instant> = None;
        loop {
            if let Some(status) = child.try_wait().map_err(no_slurm)? {
                interrupt.check()?;
                return Ok(status);
            }
            if interrupt.is_raised() {
                drop(input.take());
                if asked.get_or_insert_with(Instant::now).elapsed() > GRACE {
                    ask_to_end(&child);
                }
            }
            std::thread::sleep(TICK);
        }
    }
}

/// Where `srun` waits for a machine, it gives up the wait.
fn ask_to_end(child: &Child) {
    if let Some(pid) = Pid::from_raw(child.id() as i32) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
}
