//! What was found, as programs read it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::needs;
use crate::cli::version::Build;
use crate::units::Bytes;

/// The document of `doctor --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Diagnosis {
    /// Always `golf-harness/doctor/v1`.
    #[schemars(extend("const" = Self::SCHEMA))]
    pub schema: &'static str,
    /// This program.
    pub build: Build,
    /// This machine.
    pub machine: Machine,
    /// The commands, each with what it lacks here.
    pub commands: Vec<Readiness>,
}

/// What can be told of a machine without changing it.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Machine {
    /// Operating system and architecture.
    pub platform: String,
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// The processor's name.
    pub processor: String,
    /// Threads that can run at a time.
    pub threads: usize,
    /// Vector instructions that the kernels have code for.
    pub instructions: Vec<Present>,
    /// Memory, all of it.
    pub memory: Option<Bytes>,
    /// Memory that is free to take.
    pub memory_available: Option<Bytes>,
    /// Room on disks.
    pub disks: Vec<Disk>,
    /// Names of the GPUs that NVIDIA's driver shows.
    pub gpus: Vec<String>,
    /// What NVIDIA's driver says of itself.
    pub driver: Option<String>,
    /// Shared libraries that work on a GPU needs.
    pub libraries: Vec<Found>,
    /// What the kernel has to confine a process with.
    pub confinement: Vec<Present>,
    /// The interpreter, if it answers.
    pub python: Option<Python>,
    /// Why it does not.
    pub python_error: Option<String>,
    /// Programs on the path that some commands start, or are started by.
    pub programs: Vec<Found>,
}

/// Something that is there or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Present {
    /// What.
    pub name: &'static str,
    /// Whether it is there; null where the system does not tell.
    pub is_there: Option<bool>,
}

/// A file that was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Found {
    /// What.
    pub name: &'static str,
    /// Where it is, if it is anywhere.
    pub path: Option<PathBuf>,
}

/// Room on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Disk {
    /// What lies there.
    pub what: &'static str,
    /// A folder on it.
    pub path: PathBuf,
    /// What this user may still write.
    pub free: Option<Bytes>,
}

/// A Python interpreter, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Python {
    /// The program.
    pub executable: String,
    /// Its version.
    pub version: String,
    /// Packages, found without importing them.
    pub packages: Vec<Present>,
}

/// What a command can do here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Readiness {
    /// The command.
    pub command: &'static str,
    /// In a word.
    pub state: State,
    /// What it lacks.
    pub missing: Vec<Missing>,
}

/// How far a command works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does all it can.
    Ready,
    /// It works, but for what is missing.
    Limited,
    /// It does not work.
    Unavailable,
}

impl State {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Limited => "limited",
            State::Unavailable => "unavailable",
        }
    }
}

/// Something missing, what that means, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Missing {
    /// What is missing.
    pub what: &'static str,
    /// What does not work without it.
    pub effect: &'static str,
    /// How to get it.
    pub remedy: &'static str,
    /// Whether the command does nothing without it.
    pub is_essential: bool,
}

impl Diagnosis {
    /// Name and version of the document's shape.
    pub const SCHEMA: &'static str = "golf-harness/doctor/v1";

    /// Holds what the commands need against what a machine has.
    pub fn of(machine: Machine) -> Self {
        let commands = needs::commands(&machine);
        Diagnosis { schema: Self::SCHEMA, build: Build::this(), machine, commands }
    }

    /// Whether the commands work that need no more than any machine has.
    pub fn basics_work(&self) -> bool {
        let is_basic = |command: &&Readiness| matches!(command.command, "verify" | "pack");
        self.commands.iter().filter(is_basic).all(|command| command.state != State::Unavailable)
    }
}

impl Machine {
    /// Whether something of [`Machine::confinement`] or [`Machine::instructions`] is missing for certain.
    pub fn lacks(&self, name: &str) -> bool {
        self.confinement.iter().chain(&self.instructions).any(|part| part.name == name && part.is_there == Some(false))
    }

    /// Where a program or a library is.
    pub fn find(&self, name: &str) -> Option<&PathBuf> {
        self.programs.iter().chain(&self.libraries).find(|found| found.name == name)?.path.as_ref()
    }
}
