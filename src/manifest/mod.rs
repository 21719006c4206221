//! The manifest: one YAML file that says everything needed to repeat a claim and to know it was repeated.
//!
//! Schema `golf-harness/manifest/v1`. Every recipe field has the value of PR #286 as its default, so
//! a manifest states only what differs. Unknown keys are errors; see [`LoadError`].

mod canonical;
mod checks;
mod claim;
mod claimed_number;
pub mod environment;
mod evaluation;
mod files;
mod load;
mod locate;
mod mlp_bits;
mod overrides;
mod program;
mod ranges;
mod rebase_paths;
mod recipe;
mod relocate;
mod results;
mod run;
mod schema;
mod write;

pub use canonical::{canonical_yaml, identity};
pub use checks::MICRO_BATCHES_PER_STEP;
pub use claim::{Claim, ClaimMetrics, Hardware, Track};
pub use claimed_number::{ClaimedNumber, ParseClaimedNumberError};
pub use evaluation::{EvalConfig, FrozenParts, Tail, TttConfig};
pub use files::{
    ArtifactRecord, ByteSidecar, CodeFile, DataConfig, FileRef, HessianRecord, LoaderOrder, ShardRef, ShardRole,
    TensorRecord, WrittenText, ZstdRecord,
};
pub use load::{LoadError, closest_of_expected, load, parse};
pub use mlp_bits::MlpBits;
pub use overrides::{
    ENVIRONMENT, Effective, Override, OverrideError, OverrideSource, assignment, from_environment, with_overrides,
};
pub use program::{Program, ProgramName, ProgramSource};
pub use rebase_paths::{code_copies, rebase_paths};
pub use recipe::{
    AdamConfig, CalibrationConfig, CalibrationText, MuonConfig, OptimizerConfig, OrthogonalizerPrecision, QatConfig,
    QuantizationConfig, ScheduleConfig, SwaConfig,
};
pub use relocate::{relative, relocate};
pub use results::{Environment, Results, SampleRecord, ScoreRecord, StageRecord, Tolerance, TrainingRecord};
pub use run::{
    DataMount, Launcher, MAX_PROCESSES, MountRole, RunConfig, SEED_PLACEHOLDER, is_launcher_variable, is_variable_name,
};
pub use schema::{MANIFEST_SCHEMA, Manifest, json_schema};
pub(crate) use write::value_to_yaml;
pub use write::{is_written, save, to_yaml};
