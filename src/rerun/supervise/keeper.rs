//! The process between the supervisor and what it runs. It outlives neither, and lets nothing outlive them.
//!
//! Its input is a pipe that the supervisor holds open. When that ends, whether the supervisor closed it or was killed,
//! everything below the keeper is ended. Orphans become children of the keeper, so that a daemon is below it, too.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, set_child_subreaper, wait};
use serde::{Deserialize, Serialize};

use super::cgroup::{Group, Share};
use super::processes;
use crate::rerun::ask::ask;

/// First argument of a keeper; what it may take, as JSON, the program and its arguments follow.
pub(crate) const ARGUMENT: &str = "--rerun-keeper";
/// The same for a program that starts processes on other machines: it is asked to end them before it is ended.
pub(crate) const GENTLE_ARGUMENT: &str = "--rerun-gentle-keeper";
/// Before the program, followed by a JSON list: the command that ends what is no process below the keeper, run when all else has ended.
pub(crate) const FINALLY: &str = "--finally";
/// How long ended processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a program may take to end what it started elsewhere.
const GRACE: Duration = Duration::from_secs(10);
/// How often it looks whether what it started has ended.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// What a keeper, and the entry that it started, say on their error output, one JSON text a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "note")]
pub enum Note {
    /// The keeper: what bounds memory and processes.
    Bounded {
        /// In words.
        how: String,
    },
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
        /// A bound that the kernel held, in words.
        broke: Option<String>,
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

/// How what is kept comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At once.
    Sudden,
    /// Its input ends and it gets SIGTERM, then it has [`GRACE`].
    Gentle,
}

/// Runs a program until it ends, or nobody waits for it any more.
pub(crate) fn keep(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    served(End::Sudden, arguments)
}

/// [`keep`], with time for the program to end what it started.
pub(crate) fn keep_gently(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    served(End::Gentle, arguments)
}

fn served(end: End, mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let share = arguments.next().and_then(|share| serde_json::from_str::<Option<Share>>(share.to_str()?).ok());
    let mut first = arguments.next();
    let mut last: Vec<String> = Vec::new();
    if first.as_deref().is_some_and(|word| word == FINALLY) {
        let list = arguments.next().and_then(|list| serde_json::from_str(list.to_str()?).ok());
        let Some(list) = list else { return ExitCode::from(2) };
        (last, first) = (list, arguments.next());
    }
    let (Some(share), Some(program)) = (share, first) else { return ExitCode::from(2) };
    let group = share.and_then(bounded);
    let mut command = Command::new(&program);
    command.args(arguments);
    let kept = keep_program(end, group.as_ref(), command, &last);
    if let Some(group) = group {
        group.leave();
    }
    match kept {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&Note::NotStarted { reason: format!("{}: {error}", program.to_string_lossy()) });
            ExitCode::from(2)
        }
    }
}

/// A control group for this process and what it starts, if there can be one.
fn bounded(share: Share) -> Option<Group> {
    let group = Group::enter(share);
    let how = match &group {
        Ok(group) => group.words(),
        Err(reason) => format!("no cgroup ({reason}): memory and processes are looked at ten times a second"),
    };
    say(&Note::Bounded { how });
    group.ok()
}

fn keep_program(end: End, group: Option<&Group>, mut command: Command, last: &[String]) -> io::Result<()> {
    set_child_subreaper(Some(rustix::process::getpid()))?;
    let input = if end == End::Gentle { Stdio::piped() } else { Stdio::null() };
    command.stdin(input).process_group(0);
    let mut child = first_to_go(|| command.spawn())?;
    let main = Pid::from_child(&child);
    let mut exit = None;
    let mut leaves = None;
    loop {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == main {
                exit = Some(Exit::of(status));
            }
        }
        match leaves {
            // Orphans are waited for as well: a step outlives the entry that started it.
            Some(since) if processes::below(std::process::id()).is_empty() || Instant::now() > since + GRACE => break,
            Some(_) => std::thread::sleep(Duration::from_millis(20)),
            None if exit.is_some() => break,
            None if !is_over(&io::stdin())? => {}
            None if end == End::Sudden => break,
            None => {
                leaves = Some(Instant::now());
                drop(child.stdin.take());
                for pid in processes::below(std::process::id()).into_iter().filter_map(|pid| Pid::from_raw(pid as i32))
                {
                    // It may have ended by itself.
                    let _ = kill_process(pid, Signal::TERM);
                }
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
    let how = exit.unwrap_or(Exit::Signal(9));
    say(&Note::Swept { how, left, stuck, broke: group.and_then(Group::broken) });
    Ok(())
}

/// What is started here, and everything below it, goes first where memory runs out. In a sandbox it could not say so
/// itself, and must not be able to say otherwise.
fn first_to_go<T>(start: impl FnOnce() -> T) -> T {
    const PATH: &str = "/proc/self/oom_score_adj";
    let own = std::fs::read_to_string(PATH);
    // Refused in some containers, and no harm then.
    let _ = std::fs::write(PATH, "1000");
    let started = start();
    if let Ok(own) = own {
        let _ = std::fs::write(PATH, own);
    }
    started
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
pub(in crate::rerun) fn is_over(input: &io::Stdin) -> io::Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)];
    match poll(&mut polled, Some(&TICK)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(false),
        // Nothing is ever written to it.
        Ok(_) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
