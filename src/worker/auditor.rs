//! The side that starts workers and listens to them.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ARGUMENT;
use super::job::{Job, Subject};
use super::message::Heard;
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

/// Most that a worker may write: a report of the most files and findings there can be takes a tenth.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// What is kept of its last words.
const MAX_LAST_WORDS: usize = 4 << 10;
/// How often the interrupt is looked at while a worker works.
const TICK: Duration = Duration::from_millis(50);
/// Variables that a program may need to start at all. No other reaches a worker: tokens of a CI job do not.
const KEPT_VARIABLES: [&str; 2] = ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/// Checks every subject in a worker of its own.
#[derive(Debug)]
pub struct Workers {
    program: PathBuf,
    limits: Limits,
    /// Layers that the first worker missed; all run on the same kernel.
    unconfined: Mutex<Option<Vec<String>>>,
}

/// No worker can be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start an audit worker: {0}; `--in-process` does without")]
pub struct WorkerError(#[from] io::Error);

/// A worker refused a subject, and says why as an audit in this process would.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
struct RefusedByWorker {
    words: String,
    source: Option<Box<RefusedByWorker>>,
}

impl RefusedByWorker {
    /// An error with its causes.
    fn of(words: Vec<String>) -> Self {
        let fold = |cause, words| Some(Box::new(RefusedByWorker { words, source: cause }));
        let whole = words.into_iter().rev().fold(None, fold);
        whole.map_or_else(|| RefusedByWorker { words: "refused".into(), source: None }, |error| *error)
    }
}

/// How a worker ended that gave no answer.
struct Stopped {
    /// Which limit, or what else ended it.
    limit: String,
    stage: Stage,
}

/// What a worker was about to do when it was last heard.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    Starting,
    Reading(String),
    Checking,
}

fn cannot_start(error: io::Error) -> AuditError {
    AuditError::Auditor(WorkerError(error).into())
}

enum Outcome {
    Answered(Report),
    Refused(Vec<String>),
    Stopped(Stopped),
}

impl Workers {
    /// Workers that are this program, within the usual limits.
    pub fn new() -> Result<Self, WorkerError> {
        // The file that runs, even if another was put in its place meanwhile.
        let program = Path::new("/proc/self/exe");
        let program = if program.exists() { program.to_path_buf() } else { std::env::current_exe()? };
        Ok(Self::of(program, Limits::default()))
    }

    /// Workers that are another program with this library's [`serve`](super::serve()), within other limits.
    pub fn of(program: PathBuf, limits: Limits) -> Self {
        Workers { program, limits, unconfined: Mutex::new(None) }
    }

    /// Layers of confinement that the kernel does not have; empty before the first worker started.
    pub fn unconfined(&self) -> Vec<String> {
        self.unconfined.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    fn audit(&self, subject: Subject, options: &Options, interrupt: &Interrupt) -> Result<Report, AuditError> {
        let policies = [Track::TenMinutes, Track::NonRecord].map(|track| options.track_for(track));
        let policies = policies
            .into_iter()
            .map(|track| Ok(options.policy_for(track)?.reference()))
            .collect::<Result<Vec<_>, AuditError>>()?;
        let (path, memory) = (subject.path(), self.limits.memory);
        let job = Job { subject, options: options.clone(), memory, cpu_seconds: self.limits.cpu.as_secs() };
        match self.run(&job, &policies, interrupt).map_err(cannot_start)? {
            Outcome::Answered(report) => Ok(report),
            Outcome::Refused(words) => Err(AuditError::Auditor(RefusedByWorker::of(words).into())),
            Outcome::Stopped(Stopped { limit, stage }) => {
                let (when, file) = match stage {
                    Stage::Starting => ("before it read anything".into(), String::new()),
                    Stage::Reading(file) => (format!("while {} was read", quote(&file)), quote(&file)),
                    Stage::Checking => ("while rules were checked".into(), String::new()),
                };
                let Subject { name, is_manifest, .. } = job.subject;
                let why = format!("{limit}, {when}");
                audit::stopped(&path, name, is_manifest, options, (&why, Evidence::file(file)))
            }
        }
    }

    fn run(&self, job: &Job, policies: &[PolicyRef], interrupt: &Interrupt) -> io::Result<Outcome> {
        let job_text = serde_json::to_vec(job)?;
        let mut command = Command::new(&self.program);
        command.arg(ARGUMENT).env_clear();
        command.envs(KEPT_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Signals of a terminal are for the one that decides what they end.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut worker = Running(command.spawn()?);
        if let Some(mut input) = worker.0.stdin.take() {
            // A worker that ended already is found out below.
            let _ = input.write_all(&job_text);
        }
        let mut conversation = Conversation::default();
        let ended = conversation.listen(&mut worker.0, Instant::now() + self.limits.wall, interrupt)?;
        if let Some(unconfined) = conversation.unconfined.take() {
            self.unconfined.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(unconfined);
        }
        let stage = std::mem::take(&mut conversation.stage);
        let stopped = |limit: String| Outcome::Stopped(Stopped { limit, stage });
        Ok(match (ended, conversation.last) {
            (Ended::Itself(status), Some(Heard::Report(answer))) if status.success() => {
                match answer.into_report(&job.subject, policies) {
                    Ok(report) => Outcome::Answered(report),
                    Err(wrong) => stopped(format!("its report was refused: {wrong}")),
                }
            }
            (Ended::Itself(status), Some(Heard::Refused(words))) if status.success() => {
                Outcome::Refused(words.iter().map(|words| visible(words)).collect())
            }
            (Ended::Itself(status), _) => stopped(self.cause(status, &conversation.last_words)),
            (Ended::Late, _) => stopped(format!("it took more than {} s", self.limits.wall.as_secs())),
            (Ended::Interrupted, _) => stopped("interrupted".into()),
            (Ended::Misbehaved(how), _) => stopped(how.into()),
        })
    }

    /// Which limit ended a worker.
    fn cause(&self, status: ExitStatus, last_words: &[u8]) -> String {
        let last_words = String::from_utf8_lossy(last_words);
        let says = |words: &str| last_words.contains(words);
        #[cfg(unix)]
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        #[cfg(not(unix))]
        let signal: Option<i32> = None;
        // What Rust's runtime says when an allocation fails, or a stack ends.
        if says("memory allocation of") {
            return format!("it needs more than {} of memory", self.limits.memory);
        }
        if says("has overflowed its stack") {
            return "it needs more than its stack".into();
        }
        let first = || last_words.lines().map(str::trim).find(|line| !line.is_empty()).map_or("no words".into(), quote);
        match signal {
            Some(signal) if signal == CPU_SIGNAL => {
                format!("it needs more than {} s of processor time", self.limits.cpu.as_secs())
            }
            Some(signal) => format!("it was ended by signal {signal}"),
            None => format!("it ended without a report ({})", first()),
        }
    }
}

/// SIGXCPU.
#[cfg(unix)]
const CPU_SIGNAL: i32 = rustix::process::Signal::XCPU.as_raw();
#[cfg(not(unix))]
const CPU_SIGNAL: i32 = 24;

impl Auditor for Workers {
    fn folder(
        &self,
        path: &Path,
        subject: String,
        options: &Options,
        interrupt: &Interrupt,
    ) -> Result<Report, AuditError> {
        self.audit(Subject::new(path, subject, false), options, interrupt)
    }

    fn manifest(&self, path: &Path, options: &Options, interrupt: &Interrupt) -> Result<Report, AuditError> {
        self.audit(Subject::new(path, path.display().to_string(), true), options, interrupt)
    }
}

/// A worker that does not outlive the interest in it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, and been waited for, already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

enum Ended {
    Itself(ExitStatus),
    Late,
    Interrupted,
    Misbehaved(&'static str),
}

/// What a worker has said so far.
#[derive(Default)]
struct Conversation {
    /// The beginning of a line.
    line: Vec<u8>,
    bytes: usize,
    unconfined: Option<Vec<String>>,
    stage: Stage,
    last: Option<Heard>,
    last_words: Vec<u8>,
}

impl Conversation {
    /// Takes what a worker wrote; `Err` says what was wrong with it.
    fn hear(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        self.bytes += bytes.len();
        if self.bytes > MAX_ANSWER_BYTES {
            return Err("it wrote more than any report is long");
        }
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.line.extend_from_slice(line);
            bytes = rest.get(1..).unwrap_or_default();
            if self.last.is_some() {
                return Err("it went on after its report");
            }
            match serde_json::from_slice(&self.line) {
                Ok(Heard::Unconfined(layers)) => {
                    self.unconfined = Some(layers.iter().map(|layer| quote(layer)).collect());
                }
                Ok(Heard::Reading(file)) => self.stage = Stage::Reading(file),
                Ok(Heard::Checking) => self.stage = Stage::Checking,
                Ok(last) => self.last = Some(last),
                Err(_) => return Err("it wrote what is no report"),
            }
            self.line.clear();
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// Listens until the worker ends, is late, or is no longer wanted.
    fn listen(&mut self, worker: &mut Child, deadline: Instant, interrupt: &Interrupt) -> io::Result<Ended> {
        let (mut out, mut errors) = (worker.stdout.take(), worker.stderr.take());
        let mut buffer = vec![0; 64 << 10];
        while out.is_some() || errors.is_some() {
            if interrupt.is_raised() {
                return Ok(Ended::Interrupted);
            }
            if Instant::now() > deadline {
                return Ok(Ended::Late);
            }
            let (out_ready, errors_ready) = ready(out.as_ref(), errors.as_ref())?;
            if let (true, Some(pipe)) = (out_ready, &mut out) {
                match read(pipe, &mut buffer)? {
                    [] => out = None,
                    bytes => {
                        if let Err(wrong) = self.hear(bytes) {
                            return Ok(Ended::Misbehaved(wrong));
                        }
                    }
                }
            }
            if let (true, Some(pipe)) = (errors_ready, &mut errors) {
                match read(pipe, &mut buffer)? {
                    [] => errors = None,
                    bytes => {
                        let room = MAX_LAST_WORDS.saturating_sub(self.last_words.len());
                        self.last_words.extend(bytes.iter().take(room));
                    }
                }
            }
        }
        // Its pipes are closed, so it is about to end; if it does not, it is not worth waiting for.
        while Instant::now() < deadline && !interrupt.is_raised() {
            if let Some(status) = worker.try_wait()? {
                return Ok(Ended::Itself(status));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(Ended::Late)
    }
}

fn read<'a>(pipe: &mut impl Read, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    loop {
        match pipe.read(buffer) {
            Ok(n) => return Ok(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Which of two pipes can be read without waiting, after at most a [`TICK`].
#[cfg(unix)]
fn ready(
    out: Option<&std::process::ChildStdout>,
    errors: Option<&std::process::ChildStderr>,
) -> io::Result<(bool, bool)> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut pipes: Vec<PollFd> = Vec::with_capacity(2);
    pipes.extend(out.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    pipes.extend(errors.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
    match poll(&mut pipes, Some(&tick)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut ready = pipes.iter().map(|pipe| !pipe.revents().is_empty());
    let out_ready = out.is_some() && ready.next().unwrap_or(false);
    Ok((out_ready, errors.is_some() && ready.next().unwrap_or(false)))
}

/// Elsewhere workers are not started.
#[cfg(not(unix))]
fn ready(
    out: Option<&std::process::ChildStdout>,
    errors: Option<&std::process::ChildStderr>,
) -> io::Result<(bool, bool)> {
    Ok((out.is_some(), out.is_none() && errors.is_some()))
}
