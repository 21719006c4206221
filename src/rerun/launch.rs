//! What is to be run, with everything that decides what comes out of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::units::Bytes;

/// Stands in arguments and values of variables for the seed.
pub const SEED_PLACEHOLDER: &str = "{seed}";

/// A submission's script, ready to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Name of the submission.
    pub name: String,
    /// The folder of the submission; nothing of it is written.
    pub folder: PathBuf,
    /// Files of the folder that the script gets to see, relative. What it claims (logs, README, submission.json) and
    /// what it made before (artifacts) are not among them.
    pub files: Vec<String>,
    /// Those of `files` that count toward the budget.
    pub counted: Vec<String>,
    /// What starts the script's processes.
    pub start: Start,
    /// The script, relative to the folder.
    pub script: String,
    /// Arguments after the script.
    pub arguments: Vec<String>,
    /// Environment variables beside those that every run gets.
    pub variables: BTreeMap<String, String>,
    /// What `variables` say in the submission's own words, where paths had to be replaced.
    pub stated: BTreeMap<String, String>,
    /// Files and folders to read.
    pub data: Vec<Mount>,
    /// The interpreter.
    pub python: Python,
    /// What one seed may take.
    pub limits: Limits,
    /// How long it may take.
    pub caps: Caps,
}

/// What starts the script's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The interpreter: one process.
    Python,
    /// `python -m torch.distributed.run`, which `torchrun` is: so many processes.
    Torchrun(u32),
}

/// Something the script reads and must not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it lies on this machine.
    pub source: PathBuf,
    /// Where the script finds it: an absolute path, or one below its working folder.
    pub at: PathBuf,
}

/// An interpreter and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Python {
    /// The program.
    pub executable: PathBuf,
    /// Its version.
    pub version: String,
    /// Folders it needs: prefixes and places of packages.
    pub roots: Vec<PathBuf>,
    /// Folder of the user's own packages, if it looks there.
    pub user_base: Option<PathBuf>,
    /// Variables around it that reach the script.
    pub variables: BTreeMap<String, String>,
}

/// What one seed may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all processes together, shared pages left out.
    pub memory: Bytes,
    /// Disk below its own folders.
    pub disk: Bytes,
    /// Bytes printed.
    pub output: Bytes,
    /// Processes and threads' leaders at a time.
    pub processes: usize,
}

/// How long a seed may take, by our clock. `None` is without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// From the start to the first line of training.
    pub start: Option<Duration>,
    /// From the first line of training to the end of training.
    pub train: Option<Duration>,
    /// From the end of training to the end.
    pub eval: Option<Duration>,
}

impl Launch {
    /// What is started for a seed, with the working folder at `work` as the script sees it.
    pub fn command(&self, seed: u64, work: &Path) -> Vec<String> {
        let mut command = vec![self.python.executable.to_string_lossy().into_owned()];
        match self.start {
            Start::Python => {}
            Start::Torchrun(processes) => command.extend(
                ["-m", "torch.distributed.run", "--standalone"]
                    .map(String::from)
                    .into_iter()
                    .chain([format!("--nproc_per_node={processes}")]),
            ),
        }
        command.push(work.join(&self.script).to_string_lossy().into_owned());
        command.extend(self.arguments.iter().map(|argument| with_seed(argument, seed)));
        command
    }

    /// Variables of a seed.
    pub fn variables(&self, seed: u64) -> BTreeMap<String, String> {
        self.variables.iter().map(|(name, value)| (name.clone(), with_seed(value, seed))).collect()
    }

    /// How many processes the launcher starts.
    pub fn processes(&self) -> u32 {
        match self.start {
            Start::Python => 1,
            Start::Torchrun(processes) => processes,
        }
    }
}

fn with_seed(text: &str, seed: u64) -> String {
    text.replace(SEED_PLACEHOLDER, &seed.to_string())
}
