//! The side that starts workers, and decides what their ends mean.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::job::{Job, OsPath, Setup};
use super::message::{Heard, HeardOutcome};
use super::process::{Conversation, Ended, Stage, Worker};
use crate::escape::visible;
use crate::interrupt::Interrupt;
use crate::manifest::Track;
use crate::report::{Evidence, PolicyRef, Report, quote};
use crate::rules::Auditor;
use crate::rules::audit::{self, AuditError, Options};
use crate::units::Bytes;

/// What one subject may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Address space. The largest honest model takes about half of it.
    pub memory: Bytes,
    /// Processor time, whole seconds.
    pub cpu: Duration,
    /// Time that passes, for disks and networks that never answer.
    pub wall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory: Bytes(512_000_000), cpu: Duration::from_secs(20), wall: Duration::from_secs(600) }
    }
}

/// Checks every subject in a confined worker.
///
/// A worker gets another subject only if it cannot have been changed by the one before: it opened nothing with code
/// that is not memory-safe by its language, and stayed small. And whatever ended, or came near a limit, in a worker
/// that had a subject before is decided again by a fresh one. So no report depends on which worker made it.
pub struct Workers {
    program: PathBuf,
    limits: Limits,
    readable: Vec<PathBuf>,
    idle: Mutex<Vec<Worker>>,
    /// Layers that the first worker missed; all run on the same kernel.
    unconfined: Mutex<Option<Vec<String>>>,
    policies: Mutex<Option<(String, Vec<PolicyRef>)>>,
    /// The last one that waited for something to start a worker with waited for nothing.
    was_in_vain: AtomicBool,
}

/// A worker that took more, as a share of the limit, gets no other subject, and if it had one before it does not decide.
const SMALL: u64 = 4;

/// How long processes, open files or memory are waited for.
const START_PATIENCE: Duration = Duration::from_secs(2);
const START_PAUSE: Duration = Duration::from_millis(50);

/// No worker can be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start an audit worker: {0}; `--in-process` does without")]
pub struct WorkerError(#[from] io::Error);

fn cannot_start(error: io::Error) -> AuditError {
    AuditError::Auditor(WorkerError(error).into())
}

/// A worker refused a subject, and says why as an audit in this process would.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
struct RefusedByWorker {
    words: String,
    source: Option<Box<RefusedByWorker>>,
}

impl RefusedByWorker {
    /// An error with its causes.
    fn of(words: &[String]) -> Self {
        let fold = |cause, words: &String| Some(Box::new(RefusedByWorker { words: visible(words), source: cause }));
        let whole = words.iter().rev().fold(None, fold);
        whole.map_or_else(|| RefusedByWorker { words: "refused".into(), source: None }, |error| *error)
    }
}

impl Workers {
    /// Workers that are this program, within the usual limits. They may read what lies below `readable`.
    pub fn new(readable: Vec<PathBuf>) -> Result<Self, WorkerError> {
        Ok(Self::of(own_program()?, readable, Limits::default()))
    }

    /// Workers that are another program with this library's [`serve`](super::serve()), within other limits.
    pub fn of(program: PathBuf, readable: Vec<PathBuf>, limits: Limits) -> Self {
        let (idle, unconfined, policies, was_in_vain) = Default::default();
        Workers { program, limits, readable, idle, unconfined, policies, was_in_vain }
    }

    /// Layers of confinement that the kernel does not have; empty before the first worker started.
    pub fn unconfined(&self) -> Vec<String> {
        lock(&self.unconfined).clone().unwrap_or_default()
    }

    fn audit(
        &self,
        path: &Path,
        name: String,
        is_manifest: bool,
        options: &Options,
        interrupt: &Interrupt,
    ) -> Result<Report, AuditError> {
        let policies = self.policies(options)?;
        let job = Job { name, path: path.into(), is_manifest, options: options.clone() };
        let conversation = match self.ask(&job, interrupt) {
            Ok(conversation) => conversation,
            // What kept one worker from its work need not keep the others.
            Err(error) if self.has_worked() => {
                let why = format!("no worker for it could be started ({error})");
                return audit::stopped(path, job.name, is_manifest, options, (&why, Evidence::file("")));
            }
            Err(error) => return Err(cannot_start(error)),
        };
        let limit = match conversation.ended {
            Ended::Answered(Heard { outcome: HeardOutcome::Report(answer), profile, .. }) => {
                match answer.into_report(&job, &policies, profile) {
                    Ok(report) => return Ok(report),
                    Err(wrong) => format!("its report was refused: {wrong}"),
                }
            }
            Ended::Answered(Heard { outcome: HeardOutcome::Refused(words), .. }) => {
                return Err(AuditError::Auditor(RefusedByWorker::of(&words).into()));
            }
            Ended::Exited(status) => self.cause(status, &conversation.last_words),
            Ended::Late => format!("it took more than {} s", self.limits.wall.as_secs()),
            Ended::Interrupted => "interrupted".into(),
            Ended::Misbehaved(how) => how.into(),
        };
        let (when, file) = match &conversation.stage {
            Stage::Starting => ("before it read anything".into(), String::new()),
            Stage::Reading(file) => (format!("while {} was read", quote(file)), quote(file)),
            Stage::Checking => ("while rules were checked".into(), String::new()),
        };
        let why = format!("{limit}, {when}");
        audit::stopped(path, job.name, is_manifest, options, (&why, Evidence::file(file)))
    }

    /// A conversation that decides.
    fn ask(&self, job: &Job, interrupt: &Interrupt) -> io::Result<Conversation> {
        let idle = if job.is_manifest { None } else { lock(&self.idle).pop() };
        if let Some(worker) = idle {
            let conversation = self.converse(worker, job, interrupt)?;
            if matches!(conversation.ended, Ended::Interrupted) || self.is_small(&conversation) {
                return Ok(conversation);
            }
        }
        let readable: Vec<OsPath> = match job.is_manifest {
            // A manifest may name data anywhere.
            true => vec![Path::new("/").into()],
            false => self.readable.iter().map(|path| path.as_path().into()).collect(),
        };
        let setup = Setup { memory: self.limits.memory, cpu_seconds: self.limits.cpu.as_secs(), readable };
        self.converse(self.start(&setup, interrupt)?, job, interrupt)
    }

    /// Starts a worker, if need be once others have given back what the system is short of.
    fn start(&self, setup: &Setup, interrupt: &Interrupt) -> io::Result<Worker> {
        let patience = Instant::now() + START_PATIENCE;
        loop {
            let outcome = Worker::start(&self.program, setup);
            let is_short = outcome.as_ref().err().is_some_and(is_short_of);
            let is_worth_it = Instant::now() < patience && !self.was_in_vain.load(Ordering::Relaxed);
            if is_short && is_worth_it && !interrupt.is_raised() {
                std::thread::sleep(START_PAUSE);
                continue;
            }
            self.was_in_vain.store(is_short, Ordering::Relaxed);
            return outcome;
        }
    }

    /// Whether a worker has ever come to its work.
    fn has_worked(&self) -> bool {
        lock(&self.unconfined).is_some()
    }

    /// One conversation, after which the worker waits for the next subject if it may have one.
    fn converse(&self, mut worker: Worker, job: &Job, interrupt: &Interrupt) -> io::Result<Conversation> {
        let mut conversation = worker.ask(job, Instant::now() + self.limits.wall, interrupt)?;
        if let Some(unconfined) = conversation.unconfined.take() {
            lock(&self.unconfined).get_or_insert(unconfined);
        }
        if self.is_small(&conversation) && !conversation.has_opened && !job.is_manifest {
            lock(&self.idle).push(worker);
        }
        Ok(conversation)
    }

    /// Whether it came to an answer, far from the limit of memory.
    fn is_small(&self, conversation: &Conversation) -> bool {
        let limit = self.limits.memory.0 / SMALL;
        matches!(conversation.ended, Ended::Answered(Heard { peak: Some(peak), .. }) if peak.0 <= limit)
    }

    /// The policies a subject may be checked against; read once for the same options.
    fn policies(&self, options: &Options) -> Result<Vec<PolicyRef>, AuditError> {
        let key = serde_json::to_string(options).map_err(|error| cannot_start(error.into()))?;
        let mut known = lock(&self.policies);
        if let Some((_, policies)) = known.as_ref().filter(|(of, _)| *of == key) {
            return Ok(policies.clone());
        }
        let policies = [Track::TenMinutes, Track::NonRecord]
            .into_iter()
            .map(|track| Ok(options.policy_for(options.track_for(track))?.reference()))
            .collect::<Result<Vec<_>, AuditError>>()?;
        *known = Some((key, policies.clone()));
        Ok(policies)
    }

    /// Which limit ended a worker.
    fn cause(&self, status: ExitStatus, last_words: &[u8]) -> String {
        let last_words = String::from_utf8_lossy(last_words);
        let says = |words: &str| last_words.contains(words);
        // What Rust's runtime says when an allocation fails, or a stack ends.
        if says("memory allocation of") {
            return format!("it needs more than {} of memory", self.limits.memory);
        }
        if says("has overflowed its stack") {
            return "it needs more than its stack".into();
        }
        match signal(status) {
            Some(signal) if signal == CPU_SIGNAL => {
                format!("it needs more than {} s of processor time", self.limits.cpu.as_secs())
            }
            Some(signal) => format!("it was ended by signal {signal}"),
            None => {
                let first = last_words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no words");
                format!("it ended without a report ({})", quote(first))
            }
        }
    }
}

/// The file that runs, even if another was put in its place meanwhile; without `/proc`, the one that was started.
#[cfg(target_os = "linux")]
fn own_program() -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let running = Path::new("/proc/self/exe");
    if running.exists() {
        return Ok(running.to_path_buf());
    }
    let started = std::ffi::OsStr::from_bytes(rustix::param::linux_execfn().to_bytes());
    std::path::absolute(started)
}

#[cfg(not(target_os = "linux"))]
fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Whether an error says that the system is short of something just then.
#[cfg(unix)]
fn is_short_of(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let short = [Errno::AGAIN, Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| short.contains(&Errno::from_raw_os_error(code)))
}

#[cfg(not(unix))]
fn is_short_of(_: &io::Error) -> bool {
    false
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// SIGXCPU.
#[cfg(unix)]
const CPU_SIGNAL: i32 = rustix::process::Signal::XCPU.as_raw();
#[cfg(not(unix))]
const CPU_SIGNAL: i32 = 24;

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}

impl Auditor for Workers {
    fn folder(
        &self,
        path: &Path,
        subject: String,
        options: &Options,
        interrupt: &Interrupt,
    ) -> Result<Report, AuditError> {
        self.audit(path, subject, false, options, interrupt)
    }

    fn manifest(&self, path: &Path, options: &Options, interrupt: &Interrupt) -> Result<Report, AuditError> {
        self.audit(path, path.display().to_string(), true, options, interrupt)
    }
}
