//! The process between the supervisor and what it runs. It outlives neither, and lets nothing outlive them.
//!
//! Its input is a pipe that the supervisor holds open. When that ends, whether the supervisor closed it or was killed,
//! everything below the keeper is ended. Orphans become children of the keeper, so that a daemon is below it, too.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus, set_child_subreaper, wait};
use serde::{Deserialize, Serialize};

use super::processes;
use crate::rerun::ask::ask;

/// First argument of a keeper; the program and its arguments follow.
pub(crate) const ARGUMENT: &str = "--rerun-keeper";
/// After it, a JSON list: the command that ends what is no process below the keeper, run when all else has ended.
pub(crate) const FINALLY: &str = "--finally";
/// How long ended processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it looks whether what it started has ended.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// What a keeper, and the entry that it started, say on their error output, one JSON text a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "note")]
pub enum Note {
    /// The entry: layers that hold, and layers that do not.
    Confined {
        /// In words.
        held: Vec<String>,
        /// In words, with the reasons.
        missing: Vec<String>,
    },
    /// The entry: the script could not be started.
    NotStarted {
        /// What the system said.
        reason: String,
    },
    /// The entry: the script has ended.
    Ended {
        /// How.
        how: Exit,
        /// Processes it left behind.
        left: usize,
        /// Processes that the kernel ended for the memory they took.
        #[serde(default)]
        memory_kills: u64,
    },
    /// The keeper: what it started has ended, and everything below it.
    Swept {
        /// How it ended.
        how: Exit,
        /// Processes that were still there.
        left: usize,
        /// Processes that could not be ended.
        stuck: usize,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    pub(crate) fn of(status: WaitStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Code(-1),
        }
    }
}

pub(crate) fn say(note: &Note) {
    if let Ok(mut line) = serde_json::to_vec(note) {
        line.push(b'\n');
        // Without a listener there is nobody to tell.
        let _ = io::stderr().write_all(&line);
    }
}

/// Runs a program until it ends, or nobody waits for it any more.
pub(crate) fn keep(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut first = arguments.next();
    let mut last: Vec<String> = Vec::new();
    if first.as_deref().is_some_and(|word| word == FINALLY) {
        let list = arguments.next().and_then(|list| serde_json::from_str(list.to_str()?).ok());
        let Some(list) = list else { return ExitCode::from(2) };
        (last, first) = (list, arguments.next());
    }
    let Some(program) = first else { return ExitCode::from(2) };
    match keep_program(&program, arguments.collect(), &last) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&Note::NotStarted { reason: format!("{}: {error}", program.to_string_lossy()) });
            ExitCode::from(2)
        }
    }
}

fn keep_program(program: &OsString, arguments: Vec<OsString>, last: &[String]) -> io::Result<()> {
    set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).process_group(0);
    let child = command.spawn()?;
    let main = Pid::from_child(&child);
    let mut exit = None;
    while exit.is_none() && !is_over(&io::stdin())? {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == main {
                exit = Some(Exit::of(status));
            }
        }
    }
    if exit.is_some() {
        // An engine whose client has ended by itself still tidies up; it is asked to before anything is ended.
        finish(last);
    }
    let ended = processes::end_all(PATIENCE);
    if exit.is_none() || ended != Ok(0) {
        finish(last);
    }
    let (left, stuck) = match ended {
        Ok(left) => (left, 0),
        Err(stuck) => (stuck, stuck),
    };
    say(&Note::Swept { how: exit.unwrap_or(Exit::Signal(9)), left, stuck });
    Ok(())
}

/// Runs the last command, if there is one.
fn finish(last: &[String]) {
    let Some((program, arguments)) = last.split_first() else { return };
    let mut command = Command::new(program);
    command.args(arguments);
    // What it could not do is done by the next start.
    let _ = ask(command);
}

/// Whether nobody holds the other end of the input any more. Waits a little.
fn is_over(input: &io::Stdin) -> io::Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)];
    match poll(&mut polled, Some(&TICK)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(false),
        // Nothing is ever written to it.
        Ok(_) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
