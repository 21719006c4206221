//! The top level of the manifest and its published JSON Schema.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ArtifactRecord, Claim, CodeFile, DataConfig, Environment, EvalConfig, OptimizerConfig, Program, QuantizationConfig,
    Results, RunConfig, ScheduleConfig, Tolerance,
};
use crate::model::ModelConfig;

/// The schema identifier every manifest starts with.
pub const MANIFEST_SCHEMA: &str = "golf-harness/manifest/v1";

/// Everything needed to repeat a claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always `golf-harness/manifest/v1`.
    pub schema: String,
    /// Short name; also the default name of the output folder. Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Who claims what, with as many digits as were claimed.
    #[serde(default)]
    pub claim: Claim,
    /// The network.
    #[serde(default)]
    pub model: ModelConfig,
    /// Learning rates and optimizer settings.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// Steps, batches, warm-down, averaging, seed.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// From checkpoint to artifact.
    #[serde(default)]
    pub quantization: QuantizationConfig,
    /// How `val_loss` and `val_bpb` are computed.
    #[serde(default)]
    pub eval: EvalConfig,
    /// Tokenizer and token shards.
    #[serde(default)]
    pub data: DataConfig,
    /// Code files that count toward the budget.
    #[serde(default)]
    pub code: Vec<CodeFile>,
    /// The program that trains and scores it where no script of its own does; its source counts as code, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// The submission's own script and how `rerun` starts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunConfig>,
    /// The packed model, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactRecord>,
    /// Where results were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Filled in by `train`, `pack`, `score` and `reproduce`.
    #[serde(default, skip_serializing_if = "Results::is_empty")]
    pub results: Results,
    /// How far a reproduced number may lie from the claimed one.
    #[serde(default)]
    pub tolerance: Tolerance,
    /// Remarks for readers: oddities of the original run, gaps that could not be filled.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Manifest {
    /// The network as it is scored: in rows padded to the windows of the evaluation.
    pub fn scored_model(&self) -> ModelConfig {
        self.model.clone().in_rows_of(self.eval.seq_len as usize)
    }
}

/// The JSON Schema of [`Manifest`], as published in `manifests/manifest.schema.json`.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Manifest).to_value()
}
