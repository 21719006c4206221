//! The first process inside of a sandbox: takes away what the sandbox leaves, then probes it, or runs the script.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{DumpableBehavior, Pid, WaitOptions, set_child_subreaper, set_dumpable_behavior, wait};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use serde::{Deserialize, Serialize};

use super::container::tether;
use super::probe::{self, Questions};
use crate::confine::{Calls, Confinement, Files, Limits, Network};
use crate::rerun::supervise::keeper::{Exit, Note, say};
use crate::rerun::supervise::processes;
use crate::units::Bytes;

const NO_CAPABILITIES: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// First argument of an entry; its job follows.
pub(crate) const ARGUMENT: &str = "--rerun-entry";

/// What an entry does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Files it may open; without, that is left to the sandbox around it.
    pub files: Option<Opened>,
    /// TCP ports, first and last of each range; without, the network is left to the sandbox around it. Without any
    /// port there are no sockets.
    pub ports: Option<Vec<(u16, u16)>>,
    /// Calls that no computation needs are refused.
    pub refuses_calls: bool,
    /// Size of a file written.
    pub file_size: Option<Bytes>,
    /// In a container: a file that the supervisor holds locked, with whose end this process ends.
    pub lock: Option<PathBuf>,
    /// Then.
    pub task: Task,
}

/// Files that may be opened.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Opened {
    pub readable: Vec<PathBuf>,
    pub executable: Vec<PathBuf>,
    pub writable: Vec<PathBuf>,
}

/// What it is there for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Try what the sandbox promises; the answers go to standard output.
    Probe(Questions),
    /// Run a program.
    Run(Program),
}

/// A program to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    /// It and its arguments.
    pub command: Vec<String>,
    /// Its environment, all of it.
    pub variables: BTreeMap<String, String>,
    /// Where it starts.
    pub folder: PathBuf,
    /// It gets this process's input, a pipe on which nothing is sent: its end is the sign to end.
    pub hands_input_on: bool,
}

/// Does the job in the only argument.
pub(crate) fn enter(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let job = arguments.next().and_then(|job| serde_json::from_str::<Job>(job.to_str()?).ok());
    let Some(job) = job else { return ExitCode::from(2) };
    match work(job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&Note::NotStarted { reason: error.to_string() });
            ExitCode::from(2)
        }
    }
}

fn work(job: Job) -> io::Result<()> {
    // Whoever runs beside this process must not write to what it has open.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Where memory runs out, what is run here goes first. Whoever started this may have said so already, where the sandbox
    // lets nobody.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let mut held = confinement(&job).apply().map_err(io::Error::other)?;
    if job.refuses_calls {
        // Root may look into other processes whatever Landlock says, and gets nothing back once nothing new may be had.
        set_no_new_privs(true)?;
        match set_capabilities(None, NO_CAPABILITIES) {
            Ok(()) => held.held.push("no capabilities".into()),
            Err(error) => held.missing.push(format!("giving up capabilities: {error}")),
        }
    }
    if let Some(lock) = &job.lock {
        tether::end_with(lock)?;
    }
    match job.task {
        Task::Probe(questions) => {
            let answers = serde_json::to_vec(&probe::answers(&questions))?;
            io::stdout().write_all(&answers)
        }
        Task::Run(program) => {
            say(&Note::Confined { held: held.held, missing: held.missing });
            run(&program, job.lock.is_some())
        }
    }
}

/// Processes of this cgroup that the kernel ended for the memory they took, where a container sees its own cgroup.
fn memory_kills() -> u64 {
    let files = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];
    let text = files.iter().find_map(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn confinement(job: &Job) -> Confinement {
    let files = job.files.clone().map(|files| Files {
        readable: files.readable,
        executable: files.executable,
        writable: files.writable,
    });
    let network = match &job.ports {
        None => Network::Unchanged,
        Some(ranges) if ranges.is_empty() => Network::Nothing,
        Some(ranges) => Network::Tcp(ranges.iter().flat_map(|(first, last)| *first..=*last).collect()),
    };
    let calls = if job.refuses_calls { Calls::Computing } else { Calls::Unchanged };
    let limits = Limits { file_size: job.file_size, ..Limits::default() };
    Confinement { limits, files, network, calls, dies_with_parent: false }
}

fn run(program: &Program, has_cgroup: bool) -> io::Result<()> {
    let Some((first, arguments)) = program.command.split_first() else { return Err(io::Error::other("no program")) };
    // A daemon becomes a child of this process and is counted.
    set_child_subreaper(Some(rustix::process::getpid()))?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    let mut command = Command::new(first);
    command.args(arguments).env_clear().envs(&program.variables).current_dir(&program.folder);
    command.stdin(if program.hands_input_on { Stdio::inherit() } else { Stdio::null() }).stderr(output);
    let child = command.spawn().map_err(|error| io::Error::other(format!("{first}: {error}")))?;
    let main = Pid::from_child(&child);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == main => {
                let left = processes::alive_below(std::process::id()).len();
                let memory_kills = if has_cgroup { memory_kills() } else { 0 };
                say(&Note::Ended { how: Exit::of(status), left, memory_kills });
                return Ok(());
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
