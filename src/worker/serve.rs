//! The worker's side.

use std::ffi::OsStr;
use std::io::{self, BufRead, Read, Seek, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::ARGUMENT;
use super::job::{Job, OsPath, Setup};
use super::message::{Note, Said, SaidOutcome};
use crate::confine::{Calls, Confinement, Files, Limits, Network, cpu_time_from_now};
use crate::report::Report;
use crate::rules::audit::{self, AuditError, Options};
use crate::submission::{Step, Steps};
use crate::units::Bytes;

/// Longest line read: a board of standing records takes most of it.
const MAX_LINE_BYTES: u64 = 32 << 20;
/// Files open at a time: pipes, a file, and the folders above it.
const OPEN_FILES: u64 = 64;

/// Whether this process was started to be a worker.
pub fn is_asked_for() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().as_deref() == Some(OsStr::new(ARGUMENT)) && arguments.next().is_none()
}

/// Does the jobs on standard input, and writes to standard output what they came to.
pub fn serve() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever started this reads it; if nobody does, there is nobody to tell.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(2)
        }
    }
}

fn work() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let Some(setup) = line(&mut input)? else { return Ok(()) };
    let setup: Setup = serde_json::from_slice(&setup)?;
    // Opened before files are out of reach.
    let mut memory = Memory(std::fs::File::open("/proc/self/status").ok());
    // Stacks and heaps of more threads would count as memory, and one is what a worker has.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
    pool.build_global().map_err(io::Error::other)?;
    let held = confinement(&setup).apply().map_err(io::Error::other)?;
    note(&Note::Ready(&held.missing))?;
    while let Some(job) = line(&mut input)? {
        let job: Job = serde_json::from_slice(&job)?;
        cpu_time_from_now(Duration::from_secs(setup.cpu_seconds)).map_err(io::Error::other)?;
        let outcome = audit(job);
        answer(outcome, memory.peak())?;
    }
    Ok(())
}

fn confinement(setup: &Setup) -> Confinement {
    let readable = setup.readable.iter().map(OsPath::to_path).collect();
    Confinement {
        limits: Limits {
            address_space: Some(setup.memory),
            cpu: None,
            file_size: Some(Bytes(0)),
            open_files: Some(OPEN_FILES),
        },
        files: Some(Files { readable, ..Files::default() }),
        network: Network::Nothing,
        calls: Calls::Reading,
        dies_with_parent: true,
    }
}

/// The next line, without its end; `None` when there is none.
fn line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    Ok((!line.is_empty()).then_some(line))
}

fn audit(job: Job) -> Result<Report, AuditError> {
    let steps = Steps::to(|step| {
        let told = match step {
            Step::Reading(file) => Note::Reading(file),
            Step::Opening(file) => Note::Opening(file),
            Step::Checking => Note::Checking,
        };
        // Without a listener there is nobody for the report either, and its writing will say so.
        let _ = note(&told);
    });
    let path = job.path.to_path();
    let options = Options { steps, ..job.options };
    if job.is_manifest { audit::manifest(&path, &options) } else { audit::folder(&path, job.name, &options) }
}

fn answer(outcome: Result<Report, AuditError>, peak: Option<Bytes>) -> io::Result<()> {
    match outcome {
        Ok(report) => {
            let profile = report.profile.as_deref();
            say(&Said { peak, outcome: SaidOutcome::Report(&report), profile })
        }
        Err(error) => {
            let mut words = vec![error.to_string()];
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                words.push(inner.to_string());
                cause = inner.source();
            }
            say(&Said { peak, outcome: SaidOutcome::Refused(&words), profile: None })
        }
    }
}

fn say(said: &Said) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

fn note(note: &Note) -> io::Result<()> {
    let mut line = serde_json::to_vec(note)?;
    line.push(b'\n');
    io::stderr().lock().write_all(&line)
}

/// This process's memory, as Linux counts it.
struct Memory(Option<std::fs::File>);

impl Memory {
    /// The most address space it ever had.
    fn peak(&mut self) -> Option<Bytes> {
        let file = self.0.as_mut()?;
        let mut status = String::new();
        file.rewind().ok()?;
        file.take(1 << 16).read_to_string(&mut status).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(Bytes(kibibytes << 10))
    }
}
