//! The worker's side.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::ARGUMENT;
use super::job::Job;
use super::message::Said;
use crate::confine::{Calls, Confinement, Files, Limits, Network};
use crate::report::Report;
use crate::rules::audit::{self, AuditError, Options};
use crate::submission::{Step, Steps};
use crate::units::Bytes;

/// Longest job read: a board of standing records takes most of it.
const MAX_JOB_BYTES: u64 = 32 << 20;
/// Files open at a time: the three pipes, a file, and the folders above it.
const OPEN_FILES: u64 = 64;

/// Whether this process was started to be a worker.
pub fn is_asked_for() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().as_deref() == Some(OsStr::new(ARGUMENT)) && arguments.next().is_none()
}

/// Does the job on standard input, and writes to standard output what it came to.
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
    let mut text = Vec::new();
    io::stdin().take(MAX_JOB_BYTES).read_to_end(&mut text)?;
    let job: Job = serde_json::from_slice(&text)?;
    drop(text);
    let path = job.subject.path();
    // A manifest may name data anywhere; what it may be named for is not for a kernel to say.
    let readable = if job.subject.is_manifest { "/".into() } else { path.clone() };
    let confinement = Confinement {
        limits: Limits {
            address_space: Some(job.memory),
            cpu: Some(Duration::from_secs(job.cpu_seconds)),
            file_size: Some(Bytes(0)),
            open_files: Some(OPEN_FILES),
        },
        files: Some(Files { readable: vec![readable], ..Files::default() }),
        network: Network::Nothing,
        calls: Calls::Reading,
        dies_with_parent: true,
    };
    // Stacks and heaps of more threads would count as memory, and one is what a worker has.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
    pool.build_global().map_err(io::Error::other)?;
    let held = confinement.apply().map_err(io::Error::other)?;
    say(&Said::Unconfined(&held.missing))?;
    let steps = Steps::to(|step| {
        let said = match step {
            Step::Reading(file) => Said::Reading(file),
            Step::Checking => Said::Checking,
        };
        // Without a listener there is no use in going on; the report will say so.
        let _ = say(&said);
    });
    let options = Options { steps, ..job.options };
    let outcome = if job.subject.is_manifest {
        audit::manifest(&path, &options)
    } else {
        audit::folder(&path, job.subject.name, &options)
    };
    answer(outcome)
}

fn answer(outcome: Result<Report, AuditError>) -> io::Result<()> {
    match outcome {
        Ok(report) => say(&Said::Report(&report)),
        Err(error) => {
            let mut words = vec![error.to_string()];
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                words.push(inner.to_string());
                cause = inner.source();
            }
            say(&Said::Refused(&words))
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
