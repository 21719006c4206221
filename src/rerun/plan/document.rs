//! The plan as a value: what would be run, where each part comes from, and what stands in the way.

use schemars::JsonSchema;
use serde::Serialize;

use super::source::{Source, Sourced};
use crate::manifest::{Launcher, MountRole};
use crate::units::Bytes;

/// The schema identifier of every plan.
pub const PLAN_SCHEMA: &str = "golf-harness/rerun-plan/v1";

/// What would be run, and what stands in the way.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Plan {
    /// Always `golf-harness/rerun-plan/v1`.
    #[schemars(extend("const" = PLAN_SCHEMA))]
    pub schema: String,
    /// Name of the submission's folder.
    pub name: String,
    /// Nothing is missing and nothing ambiguous.
    pub startable: bool,
    /// A few iterations without a cap: the result is no reproduction.
    pub smoke: bool,
    /// The command the plan follows; where several differ, the likeliest, and `problems` asks.
    pub command: Option<CommandPlan>,
    /// Other commands that start something.
    pub other_commands: Vec<CommandPlan>,
    /// The script, inside of the folder.
    pub script: Option<Sourced<String>>,
    /// The program that starts it.
    pub launcher: Option<Sourced<Launcher>>,
    /// Processes.
    pub processes: Option<Sourced<u32>>,
    /// Seeds, one run each.
    pub seeds: Option<Sourced<Vec<u64>>>,
    /// Environment variables, by name; `{seed}` stands for the seed.
    pub variables: Vec<Variable>,
    /// Arguments after the script, in order.
    pub arguments: Vec<Sourced<String>>,
    /// What the README asks to do before. Shown, never run.
    pub setup: Vec<Sourced<String>>,
    /// Data and tokenizer.
    pub data: Vec<DataWanted>,
    /// Packages, as the interpreter that would be used finds them.
    pub packages: Packages,
    /// GPUs.
    pub gpus: Gpus,
    /// Room for what the runs write.
    pub disk: Disk,
    /// How long it takes, if that can be told.
    pub time: Option<Time>,
    /// What stands in the way, all of it.
    pub problems: Vec<Problem>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// A command that starts something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CommandPlan {
    /// Where it stands.
    pub source: Source,
    /// Lines of its repetitions, with other seeds.
    pub lines: Vec<u64>,
    /// In a line.
    pub summary: String,
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where the value comes from.
    pub source: Source,
    /// The run's environment holds it; otherwise it is what the script does by itself.
    pub is_set: bool,
    /// What weaker sources say, where that differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<Sourced<String>>,
}

/// A file or folder of data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DataWanted {
    /// What it is.
    pub role: MountRole,
    /// As the command or the script states it.
    pub stated: String,
    /// Where that is stated.
    pub source: Source,
    /// The variable or option that tells the script.
    pub told_by: Option<String>,
    /// Where it lies on this machine; none if it is missing.
    pub found: Option<String>,
}

/// Packages the script imports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Packages {
    /// The interpreter that answered.
    pub interpreter: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Every package, in the order of imports.
    pub imported: Vec<Package>,
}

/// An imported package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Package {
    /// Top-level name.
    pub name: String,
    /// Where it is imported.
    pub source: Source,
    /// The script ends without it; otherwise it has a way around.
    pub required: bool,
    /// The interpreter finds it; none if it was not asked.
    pub installed: Option<bool>,
}

/// GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Gpus {
    /// How many the run uses.
    pub wanted: u32,
    /// Those the logs name.
    pub claimed: Vec<String>,
    /// Those of this machine.
    pub found: Vec<String>,
}

/// Room on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Disk {
    /// For checkpoints, artifacts and logs of all seeds.
    pub needed: Bytes,
    /// Free in the current folder.
    pub free: Option<Bytes>,
}

/// Expected time, on the hardware of the claim.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Time {
    /// Training, seconds a seed.
    pub train_seconds: Sourced<f64>,
    /// Evaluation, seconds a seed.
    pub eval_seconds: Sourced<f64>,
    /// Start, compilation and export, seconds a seed: an allowance.
    pub overhead_seconds: f64,
    /// All seeds, seconds.
    pub total_seconds: f64,
    /// All seeds on all GPUs.
    pub gpu_hours: f64,
}

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// Something is not there.
    Missing,
    /// Something can mean several things.
    Ambiguous,
}

/// Something that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// What kind.
    pub kind: ProblemKind,
    /// What it is.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Plan {
    pub(super) fn missing(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        self.problem(ProblemKind::Missing, message.into(), remedy.into());
    }

    pub(super) fn ambiguous(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        self.problem(ProblemKind::Ambiguous, message.into(), remedy.into());
    }

    fn problem(&mut self, kind: ProblemKind, message: String, remedy: String) {
        self.problems.push(Problem { kind, message: crate::escape::visible(&message), remedy });
    }

    pub(super) fn note(&mut self, note: impl AsRef<str>) {
        self.notes.push(crate::escape::visible(note.as_ref()));
    }

    /// A variable that the environment of the run holds.
    pub fn set_variable(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|variable| variable.is_set && variable.name == name)
    }
}
