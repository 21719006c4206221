//! What one run came to: kept beside its output, so that a session that was interrupted goes on where it was.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{ContentDigest, Digest};
use crate::units::Bytes;

/// The schema identifier of every record.
pub const RECORD_SCHEMA: &str = "golf-harness/rerun-record/v1";

/// Digests of what is run and read.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The submission's files that the script sees, by relative path.
    pub code: BTreeMap<String, ContentDigest>,
    /// Data, by the path at which the script finds it.
    pub data: BTreeMap<String, ContentDigest>,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No line of training yet.
    Starting,
    /// Lines of training.
    Training,
    /// Training is over.
    Evaluating,
}

impl Phase {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Starting => "start",
            Phase::Training => "training",
            Phase::Evaluating => "evaluation",
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By a signal that was not ours.
    Signal(i32),
    /// Stopped: a phase took longer than it may.
    Cap {
        /// The phase.
        phase: Phase,
        /// Seconds it may take.
        seconds: f64,
    },
    /// Stopped: it took more than it may; the words say of what.
    Bound(String),
    /// Stopped by whoever ran it.
    Interrupted,
    /// The sandbox ended without a word: its first process was ended by the script or by the system.
    Lost,
}

impl Ended {
    /// Whether the script came to its own, good end.
    pub fn is_good(&self) -> bool {
        *self == Ended::Code(0)
    }
}

/// By our clock, in seconds. What the log has no marks for is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Times {
    /// From start to end.
    pub total: f64,
    /// Until the first line of training.
    pub start: Option<f64>,
    /// From the first to the last line of training; validation between them included.
    pub training: Option<f64>,
    /// What the log says the same lines are apart.
    pub claimed_training: Option<f64>,
    /// From the last size (else the last line of training) to the last final value.
    pub evaluation: Option<f64>,
}

/// The most that was seen at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Peak {
    /// Memory of all processes, shared pages left out, bytes.
    pub memory: Bytes,
    /// Processes.
    pub processes: usize,
    /// On disk below its own folders, bytes.
    pub disk: Bytes,
}

/// A GPU while a run went on. Other programs on it are among what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuRecord {
    /// Its name.
    pub name: String,
    /// Memory that it has, bytes.
    pub memory: Bytes,
    /// Memory in use before the run, bytes.
    pub memory_before: Bytes,
    /// The most memory seen in use, bytes.
    pub peak_memory: Bytes,
    /// Lowest clock of its multiprocessors seen, MHz.
    pub lowest_clock_mhz: Option<u32>,
    /// Highest clock of its multiprocessors seen, MHz.
    pub highest_clock_mhz: Option<u32>,
}

/// What NVIDIA's management library said once a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuUse {
    /// Version of the driver.
    pub driver: Option<String>,
    /// By index.
    pub devices: Vec<GpuRecord>,
    /// Why nothing was measured.
    pub not_measured: Option<String>,
}

impl GpuUse {
    /// Nothing, for a reason.
    pub fn not_measured(reason: &str) -> Self {
        GpuUse { not_measured: Some(crate::report::quote(reason)), ..GpuUse::default() }
    }

    /// In a line.
    pub fn words(&self) -> String {
        if let Some(reason) = &self.not_measured {
            return format!("not measured ({reason})");
        }
        let Some(first) = self.devices.first() else { return "none".into() };
        let peak = self.devices.iter().map(|gpu| gpu.peak_memory).max().unwrap_or_default();
        let mut words =
            format!("{} x {}, at most {peak} bytes of memory in use on one", self.devices.len(), first.name);
        let lowest = self.devices.iter().filter_map(|gpu| gpu.lowest_clock_mhz).min();
        let highest = self.devices.iter().filter_map(|gpu| gpu.highest_clock_mhz).max();
        if let Some((lowest, highest)) = lowest.zip(highest) {
            words += &format!(", clocks of {lowest} to {highest} MHz");
        }
        if let Some(driver) = &self.driver {
            words += &format!(", driver {driver}");
        }
        words
    }
}

/// A data file, when it was first opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Opening {
    /// As the script finds it.
    pub path: String,
    /// Seconds since the start, to a tenth.
    pub seconds: f64,
    /// Where the run was.
    pub phase: Phase,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileRecord {
    /// Its path, relative, made visible.
    pub path: String,
    /// Size and digests.
    #[serde(flatten)]
    pub digest: ContentDigest,
}

/// A model file that a run wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelRecord {
    /// The file.
    pub file: FileRecord,
    /// What it is, by its content.
    pub content: String,
    /// Loading it would run code, or programs differ in what they load; the words say how.
    pub danger: Option<String>,
}

/// A final value of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FinalValue {
    /// 1-based line.
    pub line: u64,
    /// Words before it.
    pub label: String,
    /// Bits per byte.
    pub val_bpb: f64,
    /// Nats per token, where the line gives it.
    pub val_loss: Option<f64>,
}

/// What the run's log says. Claims of the script, all of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogFacts {
    /// Lines.
    pub lines: u64,
    /// Reading stopped before the end.
    pub cut_short: bool,
    /// The last final values, at most 16; the last one is the run's result.
    pub finals: Vec<FinalValue>,
    /// Seed stated.
    pub seed: Option<u64>,
    /// Number of the last step.
    pub steps: Option<u64>,
    /// Training shards.
    pub train_shards: Option<u64>,
    /// Processes.
    pub world_size: Option<u64>,
    /// Training time stated, seconds.
    pub train_seconds: Option<f64>,
    /// Longest evaluation time stated, seconds.
    pub eval_seconds: Option<f64>,
    /// Bytes of the artifact stated.
    pub model_bytes: Option<u64>,
    /// Bytes of model and code stated.
    pub total_bytes: Option<u64>,
    /// Errors, at most 8.
    pub errors: Vec<String>,
}

/// A container that a script ran in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerRecord {
    /// The engine, such as `podman`.
    pub engine: String,
    /// Its version.
    pub version: String,
    /// The image, as it was asked for.
    pub image: String,
    /// The engine's identifier of exactly this image, or the path of its file.
    pub id: String,
    /// Digest of the image: of its manifest, if it came from a registry, else of its configuration or its file.
    pub digest: String,
    /// User and group of the script, by the image's numbers.
    pub user: (u32, u32),
}

/// What stood around the script.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Surroundings {
    /// In words, such as `bubblewrap with seccomp`.
    pub isolation: String,
    /// Whether there was any.
    pub is_isolated: bool,
    /// The container, with the image that was run, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerRecord>,
    /// What was tried from inside before the run: promise, whether it held, what happened.
    pub tried: Vec<(String, bool, String)>,
    /// Layers that hold, by the word of the first process inside.
    pub held: Vec<String>,
    /// Layers that do not.
    pub missing: Vec<String>,
}

/// One seed, run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeedRecord {
    /// Always `golf-harness/rerun-record/v1`.
    #[schemars(extend("const" = RECORD_SCHEMA))]
    pub schema: String,
    /// The seed.
    pub seed: u64,
    /// Digest of everything that decides what comes out: recipe, code, data, interpreter, isolation, caps.
    pub key: Digest,
    /// Start, seconds since 1970 by this machine's clock.
    pub started: u64,
    /// What was started.
    pub command: Vec<String>,
    /// The script's environment.
    pub variables: BTreeMap<String, String>,
    /// What stood around it.
    pub surroundings: Surroundings,
    /// How it ended.
    pub ended: Ended,
    /// By our clock.
    pub times: Times,
    /// What it took.
    pub peak: Peak,
    /// What the GPUs did meanwhile; an older record has nothing.
    #[serde(default)]
    pub gpus: GpuUse,
    /// Data files, when they were first opened. Another program that opened them meanwhile is among it.
    pub opened: Vec<Opening>,
    /// Processes it left behind, which were ended.
    pub left_processes: usize,
    /// What it printed.
    pub output: ContentDigest,
    /// What that says.
    pub log: LogFacts,
    /// The artifact, if there is one.
    pub artifact: Option<ModelRecord>,
    /// Other model files it wrote.
    pub other_models: Vec<ModelRecord>,
    /// Bytes of the code that counts.
    pub code_bytes: Bytes,
    /// Files that it changed or removed and must not.
    pub changed: Vec<String>,
    /// Odd things among its files: links, special files, names that are no text.
    pub oddities: Vec<String>,
    /// New files, at most 200, models left out.
    pub files: Vec<FileRecord>,
}

impl SeedRecord {
    /// The value that the run ends with.
    pub fn result(&self) -> Option<&FinalValue> {
        self.log.finals.last().filter(|_| self.ended.is_good())
    }

    /// Code plus artifact.
    pub fn total_bytes(&self) -> Option<Bytes> {
        self.artifact.as_ref().map(|artifact| Bytes(artifact.file.digest.bytes.0 + self.code_bytes.0))
    }
}
