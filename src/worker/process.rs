//! One worker, from its start to its end, and the conversation with it.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::ARGUMENT;
use super::job::{Job, Setup};
use super::message::{Heard, HeardNote};
use crate::interrupt::Interrupt;
use crate::report::quote;

/// Most that a worker may write about one subject: a report of the most files and findings there can be takes a tenth.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// What is kept of its last words.
const MAX_LAST_WORDS: usize = 4 << 10;
/// How often the interrupt is looked at while a worker works.
const TICK: Duration = Duration::from_millis(50);
/// Variables that a program may need to start at all. No other reaches a worker: tokens of a CI job do not.
const KEPT_VARIABLES: [&str; 2] = ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/// A worker that does not outlive the interest in it.
pub(super) struct Worker {
    child: Child,
    /// It has been given a subject before.
    pub is_used: bool,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended, and been waited for, already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came of a subject.
pub(super) struct Conversation {
    /// How the conversation ended.
    pub ended: Ended,
    /// What it was about to do.
    pub stage: Stage,
    /// It handed bytes to code that is not memory-safe by its language.
    pub has_opened: bool,
    /// Layers of confinement it does without, if it said so in this conversation.
    pub unconfined: Option<Vec<String>>,
    /// The beginning of what it wrote to its error output, notes left out.
    pub last_words: Vec<u8>,
}

/// How a conversation ended.
pub(super) enum Ended {
    /// With an answer.
    Answered(Heard),
    /// The worker ended without one.
    Exited(ExitStatus),
    /// It took too long.
    Late,
    /// Nobody wants to know any more.
    Interrupted,
    /// It did what no worker does.
    Misbehaved(&'static str),
}

/// What a worker was about to do when it was last heard.
#[derive(Debug, Default)]
pub(super) enum Stage {
    #[default]
    Starting,
    Reading(String),
    Checking,
}

impl Worker {
    /// Starts one.
    pub fn start(program: &Path, setup: &Setup) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg(ARGUMENT).env_clear();
        command.envs(KEPT_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Signals of a terminal are for the one that decides what they end.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut worker = Worker { child: command.spawn()?, is_used: false };
        worker.tell(serde_json::to_vec(setup)?);
        Ok(worker)
    }

    /// Gives it a subject and listens.
    pub fn ask(&mut self, job: &Job, deadline: Instant, interrupt: &Interrupt) -> io::Result<Conversation> {
        self.tell(serde_json::to_vec(job)?);
        self.is_used = true;
        let mut hearing = Hearing::default();
        let ended = hearing.listen(&mut self.child, deadline, interrupt)?;
        let Hearing { stage, has_opened, unconfined, last_words, .. } = hearing;
        Ok(Conversation { ended, stage, has_opened, unconfined, last_words })
    }

    fn tell(&mut self, mut line: Vec<u8>) {
        line.push(b'\n');
        if let Some(input) = &mut self.child.stdin {
            // A worker that ended already is found out by listening to it.
            let _ = input.write_all(&line).and_then(|()| input.flush());
        }
    }
}

/// What a worker has said so far about a subject.
#[derive(Default)]
struct Hearing {
    /// The beginning of an answer.
    answer: Vec<u8>,
    /// The beginning of a note.
    note: Vec<u8>,
    noted_bytes: usize,
    stage: Stage,
    has_opened: bool,
    unconfined: Option<Vec<String>>,
    last_words: Vec<u8>,
}

impl Hearing {
    /// Takes what a worker wrote to its output; gives the answer once it is whole, `Err` what is wrong with it.
    fn hear(&mut self, bytes: &[u8]) -> Result<Option<Heard>, &'static str> {
        self.answer.extend_from_slice(bytes);
        if self.answer.len() > MAX_ANSWER_BYTES {
            return Err("it wrote more than any report is long");
        }
        // Only what is new can hold the end.
        match bytes.iter().position(|byte| *byte == b'\n') {
            None => Ok(None),
            Some(end) if end + 1 < bytes.len() => Err("it went on after its report"),
            Some(_) => serde_json::from_slice(&self.answer).map(Some).map_err(|_| "it wrote what is no report"),
        }
    }

    /// Takes what a worker wrote to its error output.
    fn hear_notes(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        self.noted_bytes += bytes.len();
        if self.noted_bytes > MAX_ANSWER_BYTES {
            return Err("it wrote more notes than there are files");
        }
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.note.extend_from_slice(line);
            bytes = rest.get(1..).unwrap_or_default();
            match serde_json::from_slice(&self.note) {
                Ok(HeardNote::Ready(layers)) => {
                    self.unconfined = Some(layers.iter().map(|layer| quote(layer)).collect());
                }
                Ok(HeardNote::Reading(file)) => self.stage = Stage::Reading(file),
                Ok(HeardNote::Opening(file)) => (self.has_opened, self.stage) = (true, Stage::Reading(file)),
                Ok(HeardNote::Checking) => self.stage = Stage::Checking,
                Err(_) => {
                    let room = MAX_LAST_WORDS.saturating_sub(self.last_words.len());
                    self.last_words.extend(self.note.iter().chain(b"\n").take(room));
                }
            }
            self.note.clear();
        }
        self.note.extend_from_slice(bytes);
        Ok(())
    }

    /// Listens until the worker answers, ends, is late, or is no longer wanted.
    ///
    /// Notes are only read where a worker pauses: one that waits to write them is awaited for a [`TICK`] at most.
    fn listen(&mut self, worker: &mut Child, deadline: Instant, interrupt: &Interrupt) -> io::Result<Ended> {
        let mut buffer = vec![0; 64 << 10];
        let (Some(out), Some(errors)) = (&mut worker.stdout, &mut worker.stderr) else {
            return Ok(Ended::Misbehaved("it has no output"));
        };
        let mut answer = Ok(None);
        let mut has_ended = false;
        while let (Ok(None), false) = (&answer, has_ended) {
            if interrupt.is_raised() {
                return Ok(Ended::Interrupted);
            }
            if Instant::now() > deadline {
                return Ok(Ended::Late);
            }
            if is_ready(out, TICK)? {
                let bytes = read(out, &mut buffer)?;
                has_ended = bytes.is_empty();
                answer = self.hear(bytes);
            } else if let Err(wrong) = self.hear_all_notes(errors, &mut buffer)? {
                answer = Err(wrong);
            }
        }
        // All it noted before its answer, or its end, is there by now.
        if let Err(wrong) = self.hear_all_notes(errors, &mut buffer)? {
            answer = Err(wrong);
        }
        match answer {
            Ok(Some(heard)) => return Ok(Ended::Answered(heard)),
            Err(wrong) => return Ok(Ended::Misbehaved(wrong)),
            Ok(None) => {}
        }
        // Its output is closed, so it is about to end; if it does not, it is not worth waiting for.
        while Instant::now() < deadline && !interrupt.is_raised() {
            if let Some(status) = worker.try_wait()? {
                return Ok(Ended::Exited(status));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(Ended::Late)
    }

    /// Takes all notes there are; does not wait for more.
    fn hear_all_notes(&mut self, errors: &mut ChildStderr, buffer: &mut [u8]) -> io::Result<Result<(), &'static str>> {
        while is_ready(errors, Duration::ZERO)? {
            match read(errors, buffer)? {
                [] => break,
                bytes => {
                    if let Err(wrong) = self.hear_notes(bytes) {
                        return Ok(Err(wrong));
                    }
                }
            }
        }
        Ok(Ok(()))
    }
}

fn read<'a>(pipe: &mut impl Read, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    loop {
        match pipe.read(buffer) {
            Ok(n) => return Ok(buffer.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a pipe can be read without waiting, after waiting so long at most.
#[cfg(unix)]
fn is_ready(pipe: &impl std::os::fd::AsFd, wait: Duration) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
    match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&wait)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Elsewhere workers are not started.
#[cfg(not(unix))]
fn is_ready<T>(_: &T, _: Duration) -> io::Result<bool> {
    Ok(true)
}
