//! One seed of a job, on the machine that Slurm chose.

use std::path::Path;

use super::job::{End, Job, JobError, JobFolder, Node, Note};
use crate::atomic_write::WriteError;
use crate::interrupt::Interrupt;
use crate::rerun::facts::{machine_facts, usual_memory};
use crate::rerun::interpreter::{InterpreterError, interpreter};
use crate::rerun::plan::packages::Unconfined;
use crate::rerun::plan::{Machine, ThisMachine};
use crate::rerun::sandbox::{self, Isolation, SandboxError};
use crate::rerun::session::{Hold, ObserverOf, Session, SessionError};

/// Why a task left no record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The job.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The interpreter.
    #[error("on {node}: {source}")]
    Interpreter {
        /// The machine.
        node: String,
        /// Why.
        source: InterpreterError,
    },
    /// The sandbox.
    #[error("on {node}: {source}")]
    Sandbox {
        /// The machine.
        node: String,
        /// Why.
        source: SandboxError,
    },
    /// The run.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A note.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Which seed of a job.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// The one at this place, 0-based.
    Index(usize),
    /// This one.
    Seed(u64),
}

/// Runs a seed that is not finished. `begin` hears what is around it, `observer_of` is asked for who watches.
pub fn run(
    out: &Path,
    which: Which,
    program: &Path,
    interrupt: &Interrupt,
    begin: &mut dyn FnMut(&Isolation),
    observer_of: &mut ObserverOf,
) -> Result<(), TaskError> {
    let folder = JobFolder::of(out);
    let mut job = folder.job()?;
    let seed = match which {
        Which::Index(index) => *job.seeds.get(index).ok_or(JobError::NoSeed { index, seeds: job.seeds.len() })?,
        Which::Seed(seed) => seed,
    };
    let hold = Hold::seed(out, seed)?;
    let mut note = Note { seed, task: task_name(), node: host_name(), found: None, end: None };
    let node = Node::asked(&mut job, &note.node);
    note.found = node.as_ref().ok().cloned();
    folder.keep_note(&note)?;
    let outcome = node.and_then(|node| {
        begin(&node.isolation);
        let session = Session { launch: &job.launch, isolation: &node.isolation, seeds: &[seed], out, program };
        Ok(session.run_held(&hold, interrupt, observer_of)?)
    });
    note.end = Some(match &outcome {
        Ok(finished) => End::Recorded(finished.changed.clone()),
        Err(error) => End::Failed(error.to_string()),
    });
    folder.keep_note(&note)?;
    outcome.map(drop)
}

impl Node {
    /// Fits the job to this machine, and says what it is like.
    fn asked(job: &mut Job, name: &str) -> Result<Self, TaskError> {
        let of_node = |source| TaskError::Interpreter { node: name.into(), source };
        let python = interpreter(&Unconfined, &job.launch.python.executable).map_err(of_node)?;
        let of_node = |source| TaskError::Sandbox { node: name.into(), source };
        let isolation = sandbox::choose(job.wanted.clone()).map_err(of_node)?;
        let machine = ThisMachine::new(python.executable.clone());
        // An interpreter that has just answered does so again; if not, the script will say what it misses.
        let found = machine.packages(&job.modules).map(|answer| answer.found).unwrap_or_default();
        let packages = job.modules.iter().map(|name| (name.as_str(), found.contains(name)));
        let machine = machine_facts(&Unconfined, &python, machine.gpus(), packages);
        job.launch.limits.memory = job.memory.unwrap_or_else(usual_memory);
        job.launch.python = python.clone();
        Ok(Node { isolation, python, machine })
    }
}

/// Number of the job and place in it.
fn task_name() -> Option<String> {
    let of = |name: &str| std::env::var(name).ok();
    let task = of("SLURM_ARRAY_JOB_ID").zip(of("SLURM_ARRAY_TASK_ID")).map(|(job, at)| format!("{job}_{at}"));
    task.or_else(|| of("SLURM_JOB_ID"))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    crate::escape::visible(name.trim())
}
