//! All seeds, one after the other. What is finished stays finished: the same command goes on where it was stopped.
//!
//! A seed has a folder, `seed-N`, with its output, the times of its lines, and its working folder. Its `record.json`
//! appears last and whole; without one, the seed is run from its beginning. A record is kept as long as everything that
//! decides what comes out has the digest that it had.

mod files;
mod hold;
mod outcome;

pub use files::has_seeds;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

pub use hold::Hold;

use super::launch::{Launch, Start};
use super::record::{Inputs, RECORD_SCHEMA, SeedRecord, Surroundings};
use super::sandbox::container::Container;
use super::sandbox::{Isolation, Place, Sandbox, Tried};
use super::supervise::{self, Observer, Run, RunError};
use crate::atomic_write::{self, WriteError};
use crate::digest::{ContentDigest, Digest};
use crate::escape::visible;
use crate::interrupt::{Interrupt, Interrupted};
use crate::run_folder::LockError;
use crate::units::Bytes;

/// A seed is finished as soon as this file is in its folder.
const RECORD: &str = "record.json";
/// Largest record read again.
const MAX_RECORD_BYTES: u64 = 16 << 20;

/// What is asked for.
pub struct Session<'a> {
    /// What is run.
    pub launch: &'a Launch,
    /// What is around it.
    pub isolation: &'a Isolation,
    /// Seeds, in order.
    pub seeds: &'a [u64],
    /// The run folder.
    pub out: &'a Path,
    /// This program.
    pub program: &'a Path,
}

/// What all seeds came to.
#[derive(Clone, Debug)]
pub struct Finished {
    /// One a seed, in order.
    pub records: Vec<SeedRecord>,
    /// Seeds that an earlier call of the same command finished.
    pub kept: Vec<u64>,
    /// The submission's files and data, before.
    pub inputs: Inputs,
    /// Files of the submission and of data that are not what they were before.
    pub changed: Vec<String>,
}

/// Why a session ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Stopped by whoever ran it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A run.
    #[error("seed {seed}: {source}")]
    Run {
        /// Its seed.
        seed: u64,
        /// Why there is none.
        source: RunError,
    },
    /// Somebody else works there.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A session or a task works there.
    #[error("{} is in use by another rerun; wait for it to end, or name another folder with --out", .0.display())]
    InUse(PathBuf),
    /// Too many files.
    #[error("the submission has {0} files for its script to see; at most {max} are shown", max = files::MAX_FILES)]
    TooManyFiles(usize),
    /// A path that no other program could be told.
    #[error("{} is not UTF-8; use a folder with a plain name", .0.display())]
    OddPath(PathBuf),
    /// A file could not be read.
    #[error("cannot read {what}: {source}")]
    Read {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The run folder.
    #[error("{}: {source}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The file in a run folder that a session holds locked, by its whole path; its containers are named after it.
pub fn lock_of(out: &Path) -> io::Result<PathBuf> {
    out.join(hold::SEEDS).canonicalize()
}

/// Called before a seed is run: shows it to somebody.
pub type ObserverOf<'a> = dyn FnMut(u64) -> Box<dyn Observer> + 'a;

/// Digests of what is run and read, as it is.
pub fn inputs(launch: &Launch) -> Result<Inputs, SessionError> {
    let code = files::code(launch).map_err(|source| SessionError::Read { what: "the submission", source })?;
    let data = files::data(launch).map_err(|source| SessionError::Read { what: "data", source })?;
    Ok(Inputs { code, data })
}

impl Session<'_> {
    /// Runs every seed that is not finished.
    pub fn run(&self, interrupt: &Interrupt, observer_of: &mut ObserverOf) -> Result<Finished, SessionError> {
        self.check()?;
        let hold = Hold::folder(self.out)?;
        self.run_held(&hold, interrupt, observer_of)
    }

    /// [`Self::run`] for whoever holds the folder, or the seeds, already.
    pub fn run_held(
        &self,
        _: &Hold,
        interrupt: &Interrupt,
        observer_of: &mut ObserverOf,
    ) -> Result<Finished, SessionError> {
        self.check()?;
        let inputs = inputs(self.launch)?;
        let mut finished = Finished { records: Vec::new(), kept: Vec::new(), inputs, changed: Vec::new() };
        for &seed in self.seeds {
            interrupt.check()?;
            let key = key(self.launch, self.isolation, seed, &finished.inputs);
            let folder = self.out.join(format!("seed-{seed}"));
            if let Some(record) = recorded(&folder, seed, key).filter(|record| record.ended.is_good()) {
                finished.kept.push(seed);
                finished.records.push(record);
                continue;
            }
            let code = &finished.inputs.code;
            let record = self.run_seed(seed, key, &folder, code, interrupt, observer_of(seed).as_mut())?;
            finished.records.push(record);
        }
        if finished.kept.len() < self.seeds.len() {
            finished.changed = self.changes(&finished);
        }
        Ok(finished)
    }

    fn check(&self) -> Result<(), SessionError> {
        if self.launch.files.len() > files::MAX_FILES {
            return Err(SessionError::TooManyFiles(self.launch.files.len()));
        }
        let launch = self.launch;
        let sources = launch.data.iter().flat_map(|mount| [mount.source.as_path(), mount.at.as_path()]);
        let paths = [self.out, self.program, launch.folder.as_path(), launch.python.executable.as_path()];
        match paths.into_iter().chain(sources).find(|path| path.to_str().is_none()) {
            Some(odd) => Err(SessionError::OddPath(odd.to_path_buf())),
            None => Ok(()),
        }
    }

    fn run_seed(
        &self,
        seed: u64,
        key: Digest,
        folder: &Path,
        code: &BTreeMap<String, ContentDigest>,
        interrupt: &Interrupt,
        observer: &mut dyn Observer,
    ) -> Result<SeedRecord, SessionError> {
        let in_folder = |source| SessionError::Folder { folder: folder.to_path_buf(), source };
        let of_run = |source| SessionError::Run { seed, source };
        files::renew(folder).map_err(in_folder)?;
        let place = Place::below(&folder.canonicalize().map_err(in_folder)?);
        files::prepare(self.launch, self.isolation, &place).map_err(in_folder)?;
        let lock = lock_of(self.out).map_err(in_folder)?;
        let (launch, isolation, program) = (self.launch, self.isolation, self.program);
        let sandbox = Sandbox { isolation, launch, place: &place, program, lock: &lock };
        sandbox.clear();
        let tried = sandbox.probe().map_err(|error| of_run(error.into()))?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (log, times) = (folder.join("output.log"), folder.join("output.times"));
        let run = supervise::run(&sandbox, seed, (&log, &times), interrupt, observer).map_err(of_run)?;
        if run.ended == super::record::Ended::Interrupted {
            return Err(Interrupted.into());
        }
        let record = self.record(&sandbox, seed, key, started, tried, run, code);
        let text = serde_json::to_vec_pretty(&record).map_err(|error| in_folder(error.into()))?;
        atomic_write::write(&folder.join(RECORD), &text)?;
        // Caches, mostly; what they are good for is over.
        for scratch in [&place.tmp, &place.home, &place.names] {
            files::remove(scratch).map_err(in_folder)?;
        }
        Ok(record)
    }

    #[expect(clippy::too_many_arguments, reason = "each is another part of the one record")]
    fn record(
        &self,
        sandbox: &Sandbox,
        seed: u64,
        key: Digest,
        started: u64,
        tried: Vec<Tried>,
        run: Run,
        code: &BTreeMap<String, ContentDigest>,
    ) -> SeedRecord {
        let launch = self.launch;
        let outcome = outcome::outcome(launch, sandbox.place, &run.log);
        let counted = launch.counted.iter().filter_map(|file| code.get(file)).map(|digest| digest.bytes.0).sum();
        let mut changed = files::changed_copies(launch, sandbox.place, code);
        if let Ok(after) = files::code(launch) {
            changed.extend(files::changes(code, &after));
        }
        changed.sort();
        changed.dedup();
        SeedRecord {
            schema: RECORD_SCHEMA.into(),
            seed,
            key,
            started,
            command: launch.command(seed, &sandbox.inside().work).iter().map(|word| visible(word)).collect(),
            variables: sandbox.variables(seed),
            surroundings: Surroundings {
                isolation: self.isolation.words(),
                is_isolated: *self.isolation != Isolation::Nothing,
                container: self.isolation.container().map(Container::record),
                tried: tried.into_iter().map(|tried| (tried.promise.words().into(), tried.held, tried.found)).collect(),
                held: run.held,
                missing: self
                    .isolation
                    .container()
                    .map(Container::missing)
                    .into_iter()
                    .flatten()
                    .chain(run.missing)
                    .collect(),
            },
            ended: run.ended,
            times: run.times,
            peak: run.peak,
            gpus: run.gpus,
            opened: run.opened,
            left_processes: run.left,
            output: run.log.digest,
            log: outcome::log_facts(&run.log),
            artifact: outcome.artifact,
            other_models: outcome.other_models,
            code_bytes: Bytes(counted),
            changed,
            oddities: outcome.oddities,
            files: outcome.files,
        }
    }

    /// What changed between the first and the last moment.
    fn changes(&self, finished: &Finished) -> Vec<String> {
        let of = |before, after: io::Result<_>, what: &str| match after {
            Ok(after) => files::changes(before, &after),
            Err(error) => vec![format!("{what} cannot be read any more: {error}")],
        };
        let mut changed = of(&finished.inputs.code, files::code(self.launch), "the submission");
        changed.extend(of(&finished.inputs.data, files::data(self.launch), "data"));
        changed
    }
}

/// Digest of everything that decides what comes out of a seed. How much memory there may be is not part of it: a run
/// that came to its own end had enough.
fn key(launch: &Launch, isolation: &Isolation, seed: u64, inputs: &Inputs) -> Digest {
    let start = match &launch.start {
        Start::Python => "python".to_string(),
        Start::Torchrun(processes) => format!("torchrun {processes}"),
        Start::Srun(steps) => format!("srun {}", steps.processes),
    };
    let caps = [launch.caps.start, launch.caps.train, launch.caps.eval].map(|cap| cap.map(|cap| cap.as_secs_f64()));
    let mounts: Vec<&PathBuf> = launch.data.iter().map(|mount| &mount.at).collect();
    let everything = json!({
        "schema": RECORD_SCHEMA,
        "harness": env!("CARGO_PKG_VERSION"),
        "command": launch.command(seed, Path::new("/")),
        "start": start,
        "variables": launch.variables(seed),
        "python": launch.python.version,
        "isolation": isolation,
        "caps": caps,
        "limits": [launch.limits.disk, launch.limits.output],
        "counted": launch.counted,
        "mounts": mounts,
        "code": inputs.code,
        "data": inputs.data,
    });
    ContentDigest::of(everything.to_string().as_bytes()).sha256
}

/// A seed in a run folder.
#[derive(Clone, Debug)]
pub enum Found {
    /// Nothing that is finished.
    Nothing,
    /// Finished, by another recipe: other code, data, settings, interpreter or isolation.
    Other,
    /// Finished, whatever the end.
    Record(Box<SeedRecord>),
}

/// What a task that ran apart left of a seed, whose interpreter is in `launch`.
pub fn found(launch: &Launch, isolation: &Isolation, out: &Path, seed: u64, inputs: &Inputs) -> Found {
    let folder = out.join(format!("seed-{seed}"));
    match recorded(&folder, seed, key(launch, isolation, seed, inputs)) {
        Some(record) => Found::Record(Box::new(record)),
        None if folder.join(RECORD).exists() => Found::Other,
        None => Found::Nothing,
    }
}

/// The record of a seed with this key.
fn recorded(folder: &Path, seed: u64, key: Digest) -> Option<SeedRecord> {
    let path = folder.join(RECORD);
    let bytes = fs::metadata(&path).ok().filter(|data| data.is_file() && data.len() <= MAX_RECORD_BYTES)?;
    let text = fs::read(&path).ok().filter(|text| text.len() as u64 == bytes.len())?;
    let record: SeedRecord = serde_json::from_slice(&text).ok()?;
    let output = ContentDigest::of_file(&folder.join("output.log")).ok()?;
    let is_same = record.schema == RECORD_SCHEMA && record.seed == seed && record.key == key && record.output == output;
    is_same.then_some(record)
}
