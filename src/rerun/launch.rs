//! What is to be run, with everything that decides what comes out of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::slurm::rank;
use crate::units::Bytes;

/// Stands in arguments and values of variables for the seed.
pub const SEED_PLACEHOLDER: &str = "{seed}";

/// A submission's script, ready to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The interpreter: one process.
    Python,
    /// `python -m torch.distributed.run`, which `torchrun` is: so many processes.
    Torchrun(u32),
    /// Slurm's `srun`, on as many machines as it is given. Without a sandbox only: they need a network.
    Srun(Steps),
}

/// Processes that `srun` starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// Their number.
    pub processes: u32,
    /// Options of `srun`, as somebody gave them.
    pub options: Vec<String>,
    /// `srun` itself.
    pub srun: PathBuf,
    /// This program, which names each process its rank.
    pub program: PathBuf,
}

/// Something the script reads and must not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it lies on this machine.
    pub source: PathBuf,
    /// Where the script finds it: an absolute path, or one below its working folder.
    pub at: PathBuf,
}

/// An interpreter and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
        let python = self.python.executable.to_string_lossy().into_owned();
        let mut command = match &self.start {
            Start::Srun(steps) => {
                let [srun, program] = [&steps.srun, &steps.program].map(|path| path.to_string_lossy().into_owned());
                let own = steps_options(steps.processes).into_iter().chain(steps.options.iter().cloned());
                let mut command: Vec<String> = std::iter::once(srun).chain(own).collect();
                command.extend([program, rank::ARGUMENT.to_string(), python]);
                command
            }
            Start::Python | Start::Torchrun(_) => vec![python],
        };
        command.extend(self.torchrun());
        command.push(work.join(&self.script).to_string_lossy().into_owned());
        command.extend(self.arguments.iter().map(|argument| with_seed(argument, seed)));
        command
    }

    /// The command as a person would type it beside the script.
    pub fn typed_command(&self, seed: u64) -> Vec<String> {
        let mut command = match &self.start {
            Start::Srun(steps) => std::iter::once("srun".to_string()).chain(steps_options(steps.processes)).collect(),
            Start::Python | Start::Torchrun(_) => Vec::new(),
        };
        command.push("python3".into());
        command.extend(self.torchrun());
        command.push(self.script.clone());
        command.extend(self.arguments.iter().map(|argument| with_seed(argument, seed)));
        command
    }

    fn torchrun(&self) -> Vec<String> {
        let Start::Torchrun(processes) = self.start else { return Vec::new() };
        let words = ["-m", "torch.distributed.run", "--standalone"].map(String::from);
        words.into_iter().chain([format!("--nproc_per_node={processes}")]).collect()
    }

    /// Variables of a seed.
    pub fn variables(&self, seed: u64) -> BTreeMap<String, String> {
        self.variables.iter().map(|(name, value)| (name.clone(), with_seed(value, seed))).collect()
    }

    /// `srun` starts the script's processes, perhaps on other machines.
    pub fn is_by_steps(&self) -> bool {
        matches!(self.start, Start::Srun(_))
    }

    /// How many processes the launcher starts.
    pub fn processes(&self) -> u32 {
        match &self.start {
            Start::Python => 1,
            Start::Torchrun(processes) => *processes,
            Start::Srun(steps) => steps.processes,
        }
    }
}

/// Options that every `srun` gets: a process that dies ends the others.
fn steps_options(processes: u32) -> Vec<String> {
    vec![format!("--ntasks={processes}"), "--kill-on-bad-exit=1".into()]
}

fn with_seed(text: &str, seed: u64) -> String {
    text.replace(SEED_PLACEHOLDER, &seed.to_string())
}
