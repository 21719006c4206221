//! What the tasks of a job run, and what they leave of themselves: files in the folder `slurm` of a run folder.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::atomic_write::{self, WriteError};
use crate::regular_file;
use crate::rerun::judge::MachineFacts;
use crate::rerun::launch::{Launch, Python};
use crate::rerun::sandbox::{Isolation, Wanted};
use crate::units::Bytes;

/// The schema identifier of every job.
const JOB_SCHEMA: &str = "golf-harness/rerun-job/v1";
/// Where a run folder keeps what belongs to Slurm.
const FOLDER: &str = "slurm";
/// Largest file read there.
const MAX_BYTES: u64 = 16 << 20;

/// What the tasks run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Always `golf-harness/rerun-job/v1`.
    pub schema: String,
    /// The submission's folder, or the manifest; absolute.
    pub subject: PathBuf,
    /// What is run. Its interpreter and its memory are those of the machine that wrote this.
    pub launch: Launch,
    /// What is to be around it.
    pub wanted: Wanted,
    /// Memory of a seed, if it is stated; else each machine's own tells.
    pub memory: Option<Bytes>,
    /// A few iterations only.
    pub is_smoke: bool,
    /// All seeds; a task is told the place of its own.
    pub seeds: Vec<u64>,
    /// Packages that the script imports.
    pub modules: Vec<String>,
}

/// Jobs that were handed to Slurm.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Submitted {
    /// In the order of time.
    pub jobs: Vec<SubmittedJob>,
}

/// A job that was handed to Slurm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubmittedJob {
    /// Slurm's number.
    pub id: u64,
    /// Its seeds.
    pub seeds: Vec<u64>,
}

/// What a task says of itself, when it begins and when it ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Note {
    /// Its seed.
    pub seed: u64,
    /// Number of the job and place in it, if Slurm told.
    pub task: Option<String>,
    /// The machine's name.
    pub node: String,
    /// The machine, as far as it could be asked.
    pub found: Option<Node>,
    /// How it ended; none as long as it runs.
    pub end: Option<End>,
}

/// What a task finds on its machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    /// What is around the script there.
    pub isolation: Isolation,
    /// The interpreter there.
    pub python: Python,
    /// What a reader needs to know of the machine.
    pub machine: MachineFacts,
}

/// How a task ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// There is a record; files that changed while it ran.
    Recorded(Vec<String>),
    /// There is none, for this reason.
    Failed(String),
}

/// Why a job cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// No job was ever made there.
    #[error(
        "{} is no run folder with seeds that went through Slurm; `rerun FOLDER --launcher sbatch` makes one",
        .0.display()
    )]
    NoJob(PathBuf),
    /// A file is not what was written.
    #[error("{}: {reason}; submit the seeds again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A place in the list of seeds that is not there.
    #[error("the job has {seeds} seeds, and none at place {index}")]
    NoSeed {
        /// The place.
        index: usize,
        /// How many there are.
        seeds: usize,
    },
}

/// The folder `slurm` of a run folder.
#[derive(Clone, Debug)]
pub struct JobFolder {
    /// The run folder.
    out: PathBuf,
}

impl JobFolder {
    /// Of this run folder.
    pub fn of(out: &Path) -> Self {
        JobFolder { out: out.to_path_buf() }
    }

    /// The batch script.
    pub fn script(&self) -> PathBuf {
        self.path("job.sh")
    }

    /// What a task of the array printed.
    pub fn printed(&self, index: usize) -> PathBuf {
        self.path(&format!("task-{index}.txt"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.out.join(FOLDER).join(name)
    }

    /// Reads the job.
    pub fn job(&self) -> Result<Job, JobError> {
        let job: Job = self.read("job.json")?.ok_or_else(|| JobError::NoJob(self.out.clone()))?;
        if job.schema != JOB_SCHEMA {
            let reason = format!("its schema is `{}`, not `{JOB_SCHEMA}`", crate::escape::visible(&job.schema));
            return Err(JobError::Damaged { path: self.path("job.json"), reason });
        }
        Ok(job)
    }

    /// Keeps a job, in place of the one before.
    pub fn keep_job(&self, mut job: Job) -> Result<(), WriteError> {
        job.schema = JOB_SCHEMA.into();
        self.write("job.json", &job)
    }

    /// What was handed to Slurm so far.
    pub fn submitted(&self) -> Result<Submitted, JobError> {
        Ok(self.read("submitted.json")?.unwrap_or_default())
    }

    /// Keeps what was handed to Slurm.
    pub fn keep_submitted(&self, submitted: &Submitted) -> Result<(), WriteError> {
        self.write("submitted.json", submitted)
    }

    /// What the last task of a seed said of itself.
    pub fn note(&self, seed: u64) -> Result<Option<Note>, JobError> {
        self.read(&format!("seed-{seed}.json"))
    }

    /// Keeps a note; for whoever holds the seed.
    pub fn keep_note(&self, note: &Note) -> Result<(), WriteError> {
        self.write(&format!("seed-{}.json", note.seed), note)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), WriteError> {
        let path = self.path(name);
        let failed = |source| WriteError::new(&path, source);
        std::fs::create_dir_all(self.out.join(FOLDER)).map_err(failed)?;
        let text = serde_json::to_vec_pretty(value).map_err(|error| failed(error.into()))?;
        atomic_write::write(&path, &text)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, JobError> {
        let path = self.path(name);
        if !path.exists() {
            return Ok(None);
        }
        let damaged = |reason: String| JobError::Damaged { path: path.clone(), reason };
        let text = regular_file::read_head(&path, MAX_BYTES).map_err(|error| damaged(error.to_string()))?;
        serde_json::from_slice(&text).map(Some).map_err(|error| damaged(error.to_string()))
    }
}
