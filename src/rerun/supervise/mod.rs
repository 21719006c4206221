//! One run, from its start to its end.
//!
//! Supervisor → `keeper` → sandbox → entry → the script. What the script prints comes through one pipe, which the
//! script can write and nothing else; what keeper and entry say comes through another, which it cannot reach.

mod bounds;
pub(crate) mod cgroup;
mod clock;
mod gpus;
pub(crate) mod keeper;
mod openings;
pub(crate) mod processes;
mod recorder;

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::bounds::Bounds;
use self::gpus::Sampler;
use self::keeper::Note;
use self::openings::Openings;
use self::recorder::Recorder;
use super::record::{Ended, GpuUse, Opening, Peak, Times};
use super::sandbox::container::Watch;
use super::sandbox::{Sandbox, SandboxError};
use crate::interrupt::Interrupt;
use crate::submission::LogFile;

pub use keeper::Exit;

/// How often bounds and caps are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Lines that come within so long may get the same time; a supervisor that wakes for each line costs the script.
const MOMENT: Duration = Duration::from_millis(4);
/// How long ended processes may take to be gone, as long as the keeper waits and a little.
pub(in crate::rerun) const PATIENCE: Duration = Duration::from_secs(25);
/// Most that keeper and entry say.
const MAX_SAID: usize = 1 << 16;

/// Something that happens while a script runs.
pub enum Event<'a> {
    /// A line, made visible and shortened, with its time since the start; `log` is what all lines say so far.
    Line {
        /// Since the start.
        at: Duration,
        /// The line.
        text: &'a str,
        /// What the lines say so far.
        log: &'a LogFile,
    },
    /// Time passes.
    Tick {
        /// Since the start.
        at: Duration,
        /// What the run has taken so far.
        peak: &'a Peak,
    },
}

/// Shows a run to somebody.
pub trait Observer {
    /// Something happened.
    fn note(&mut self, event: &Event);
}

/// Shows nothing.
pub struct Silent;

impl Observer for Silent {
    fn note(&mut self, _: &Event) {}
}

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub ended: Ended,
    /// What its log says.
    pub log: LogFile,
    /// By our clock.
    pub times: Times,
    /// What it took.
    pub peak: Peak,
    /// What the GPUs did meanwhile.
    pub gpus: GpuUse,
    /// Data files, when they were first opened.
    pub opened: Vec<Opening>,
    /// Processes it left behind, which were ended.
    pub left: usize,
    /// Layers of confinement that hold, by the entry's word.
    pub held: Vec<String>,
    /// Layers that do not.
    pub missing: Vec<String>,
}

/// Why there is no run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The script could not be started.
    #[error("the script was not started: {0}")]
    NotStarted(String),
    /// The system refused something.
    #[error("cannot supervise the run: {0}")]
    Io(#[from] io::Error),
}

/// Makes orphans children of this process, so that [`sweep`] finds them even if something ended their keeper.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Ends every process below this one. For programs that do nothing but rerun.
pub fn sweep() -> io::Result<()> {
    processes::end_all(PATIENCE)
        .map(drop)
        .map_err(|stuck| io::Error::other(format!("{stuck} processes do not end; end them by hand")))
}

/// Runs a seed in its sandbox and waits for its end. Output goes to `log`, times of its lines to `times`.
pub fn run(
    sandbox: &Sandbox,
    seed: u64,
    (log, times): (&Path, &Path),
    interrupt: &Interrupt,
    observer: &mut dyn Observer,
) -> Result<Run, RunError> {
    let recorder = Recorder::new(log, times)?;
    let mut command = sandbox.start(seed)?;
    let (output, writer) = io::pipe()?;
    let (said, speaker) = io::pipe()?;
    command.stdin(Stdio::piped()).stdout(writer).stderr(speaker).process_group(0);
    let gpus = Sampler::begin();
    let child = command.spawn()?;
    // Drops the ends of the pipes that it holds: only those who write keep them open.
    drop(command);
    let pipes = Pipes { output: Some(output), said: Some(said), heard: Vec::new() };
    Supervisor { child, pipes, recorder, gpus, begun: Instant::now() }.watch(sandbox, interrupt, observer)
}

struct Pipes {
    output: Option<PipeReader>,
    said: Option<PipeReader>,
    heard: Vec<u8>,
}

struct Supervisor {
    child: Child,
    pipes: Pipes,
    recorder: Recorder,
    gpus: Sampler,
    begun: Instant,
}

impl Supervisor {
    fn watch(mut self, sandbox: &Sandbox, interrupt: &Interrupt, observer: &mut dyn Observer) -> Result<Run, RunError> {
        let limits = &sandbox.launch.limits;
        let container = sandbox.isolation.container().and_then(|container| Watch::begin(container, sandbox.lock));
        let mut bounds = Bounds::new(limits, sandbox.place, self.child.id(), container);
        let mut openings = Openings::of(sandbox.launch);
        let mut stopped: Option<(Ended, Instant)> = None;
        let mut next_look = Instant::now();
        while self.pipes.output.is_some() || self.pipes.said.is_some() {
            let wait = next_look.saturating_duration_since(Instant::now()).min(TICK);
            self.take(wait, stopped.is_none(), observer)?;
            let now = Instant::now();
            if let Some((_, since)) = stopped {
                if now.duration_since(since) > PATIENCE {
                    break;
                }
                continue;
            }
            let at = self.begun.elapsed();
            let mut end = (self.recorder.bytes > limits.output.0)
                .then(|| Ended::Bound(format!("printed more than {} bytes", limits.output)));
            if end.is_none() && now >= next_look {
                next_look = now + TICK;
                self.recorder.flush()?;
                openings.look(at, self.recorder.clock.phase().0);
                end = bounds.broken().map(Ended::Bound);
                observer.note(&Event::Tick { at, peak: &bounds.peak });
            }
            if end.is_none()
                && let Some((phase, cap)) = self.recorder.clock.overrun(at, &sandbox.launch.caps)
            {
                end = Some(Ended::Cap { phase, seconds: cap.as_secs_f64() });
            }
            if interrupt.is_raised() {
                end = Some(Ended::Interrupted);
            }
            if let Some(end) = end {
                // The keeper ends everything when its input does.
                drop(self.child.stdin.take());
                stopped = Some((end, now));
            }
        }
        openings.look(self.begun.elapsed(), self.recorder.clock.phase().0);
        self.finish(sandbox, stopped.map(|(end, _)| end), (bounds.peak, openings.list()), observer)
    }

    /// Waits for one of the pipes, and takes what is there.
    fn take(&mut self, wait: Duration, keeps: bool, observer: &mut dyn Observer) -> io::Result<()> {
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut polled: Vec<PollFd> = Vec::new();
        for pipe in [&self.pipes.output, &self.pipes.said].into_iter().flatten() {
            polled.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
        }
        match poll(&mut polled, Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        let output_ready = self.pipes.output.is_some() && ready.next() == Some(true);
        let said_ready = self.pipes.said.is_some() && ready.next() == Some(true);
        let mut buffer = [0; 1 << 16];
        if output_ready {
            match read(&mut self.pipes.output, &mut buffer)? {
                0 => {}
                // What comes while everything is being ended is not kept: an end must come.
                _ if !keeps => {}
                n => {
                    self.recorder.feed(&buffer[..n], self.begun.elapsed(), observer)?;
                    if n < buffer.len() / 2 {
                        // What comes in the next moments is taken together.
                        std::thread::sleep(MOMENT);
                    }
                }
            }
        }
        if said_ready {
            let n = read(&mut self.pipes.said, &mut buffer)?;
            let room = MAX_SAID.saturating_sub(self.pipes.heard.len());
            self.pipes.heard.extend_from_slice(&buffer[..n.min(room)]);
        }
        Ok(())
    }

    fn finish(
        mut self,
        sandbox: &Sandbox,
        stopped: Option<Ended>,
        (peak, opened): (Peak, Vec<Opening>),
        observer: &mut dyn Observer,
    ) -> Result<Run, RunError> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        let total = self.begun.elapsed();
        let heard = Heard::of(&self.pipes.heard);
        if !heard.is_swept {
            // Something ended the keeper, which would have done it.
            sandbox.clear();
        }
        if stopped.is_none()
            && let Some(reason) = heard.not_started
        {
            return Err(RunError::NotStarted(reason));
        }
        if heard.stuck > 0 {
            let words = format!("{} processes do not end; end them by hand", heard.stuck);
            return Err(RunError::Io(io::Error::other(words)));
        }
        // What was stopped left nothing: it was in the middle of its work.
        let left = if stopped.is_some() { 0 } else { heard.left };
        // A bound that the kernel holds ends the script without us.
        let memory = (heard.memory_kills > 0).then(|| {
            let most = sandbox.launch.limits.memory;
            format!("took more than {most} bytes of memory (--memory), and the kernel ended a process of it")
        });
        let broke = heard.broke.or(memory).filter(|_| heard.ended.as_ref() != Some(&Ended::Code(0)));
        let stopped = stopped.or(broke.map(Ended::Bound));
        let is_cut = matches!(stopped, Some(Ended::Bound(_)));
        let (log, clock) = self.recorder.finish(total, is_cut, observer)?;
        let ended = stopped.or(heard.ended).unwrap_or(Ended::Lost);
        Ok(Run {
            ended,
            log,
            times: clock.times(total),
            peak,
            gpus: self.gpus.end(),
            opened,
            left,
            held: heard.held.into_iter().chain(heard.bounded).collect(),
            missing: heard.missing,
        })
    }
}

/// Reads once; at the end of the pipe, gives it up.
fn read(pipe: &mut Option<PipeReader>, buffer: &mut [u8]) -> io::Result<usize> {
    let Some(reader) = pipe else { return Ok(0) };
    match reader.read(buffer) {
        Ok(0) => {
            *pipe = None;
            Ok(0)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        outcome => outcome,
    }
}

/// What keeper and entry said.
#[derive(Default)]
struct Heard {
    ended: Option<Ended>,
    not_started: Option<String>,
    left: usize,
    stuck: usize,
    is_swept: bool,
    memory_kills: u64,
    held: Vec<String>,
    missing: Vec<String>,
    bounded: Option<String>,
    broke: Option<String>,
}

impl Heard {
    fn of(bytes: &[u8]) -> Self {
        let mut heard = Heard::default();
        let mut other = None;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Note::Confined { held, missing }) => (heard.held, heard.missing) = (held, missing),
                Ok(Note::Bounded { how }) => heard.bounded = Some(how),
                Ok(Note::NotStarted { reason }) => heard.not_started = Some(reason),
                Ok(Note::Ended { how, left, memory_kills }) => {
                    heard.ended = Some(Ended::of(how));
                    (heard.left, heard.memory_kills) = (left, memory_kills);
                }
                Ok(Note::Swept { left, stuck, broke, .. }) => {
                    heard.broke = broke;
                    // What the entry counted are the script's; the sandbox's own processes are among these.
                    heard.left = if heard.ended.is_some() { heard.left } else { left };
                    (heard.stuck, heard.is_swept) = (stuck, true);
                }
                // What the sandbox's own program says when it cannot do its work.
                Err(_) => other = Some(crate::report::quote(&String::from_utf8_lossy(line))),
            }
        }
        if heard.held.is_empty() && heard.missing.is_empty() && heard.ended.is_none() {
            heard.not_started = heard.not_started.or(other);
        }
        heard
    }
}

impl super::record::Ended {
    /// From a process's end.
    fn of(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Ended::Code(code),
            Exit::Signal(signal) => Ended::Signal(signal),
        }
    }
}
