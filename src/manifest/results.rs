//! What runs of the harness found, and how much difference is allowed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FileRef;
use crate::units::{BitsPerByte, Millis, Nats, group_digits};

/// Filled in stage by stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Results {
    /// What `train` did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingRecord>,
    /// What `score` found, by label such as `packed/sliding`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "labeled_scores")]
    pub scores: BTreeMap<String, ScoreRecord>,
    /// What `score --sample` estimated, by the same labels. An estimate is no score: it reaches no level.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub samples: BTreeMap<String, SampleRecord>,
    /// Inputs and outputs of each finished stage of `reproduce`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stages: BTreeMap<String, StageRecord>,
}

impl Results {
    /// Nothing was run yet.
    pub fn is_empty(&self) -> bool {
        *self == Results::default()
    }
}

/// Scores by label. Older manifests call non-overlapping windows `plain`.
fn labeled_scores<'de, D: serde::Deserializer<'de>>(input: D) -> Result<BTreeMap<String, ScoreRecord>, D::Error> {
    let scores = BTreeMap::<String, ScoreRecord>::deserialize(input)?;
    let renamed = |label: String| match label.strip_suffix("/plain") {
        Some(weights) => format!("{weights}/non-overlapping"),
        None => label,
    };
    Ok(scores.into_iter().map(|(label, score)| (renamed(label), score)).collect())
}

/// One training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainingRecord {
    /// Optimizer steps taken.
    pub steps: u64,
    /// Training time, validation excluded.
    pub train_time_ms: Millis,
    /// Last training loss.
    pub train_loss: Nats,
    /// Snapshots averaged into the final weights (0 or 1: none were).
    pub swa_snapshots: u64,
    /// Final weights.
    pub checkpoint: FileRef,
    /// Schedule trace for `--replay`.
    pub trace: FileRef,
    /// Log in the challenge's format; older records have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<FileRef>,
}

/// One evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoreRecord {
    /// Nats per token.
    pub val_loss: Nats,
    /// Bits per byte.
    pub val_bpb: BitsPerByte,
    /// Tokens scored.
    pub tokens: u64,
    /// Bytes of text they stand for.
    pub bytes: u64,
    /// Windows run.
    pub windows: u64,
    /// Engine that ran them.
    pub engine: String,
}

/// One evaluation of a random sample of the windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleRecord {
    /// Nats per token, estimated.
    pub val_loss: Nats,
    /// Bits per byte, estimated.
    pub val_bpb: BitsPerByte,
    /// Lower end of the 95 % interval.
    pub val_bpb_low: BitsPerByte,
    /// Its upper end.
    pub val_bpb_high: BitsPerByte,
    /// Windows run.
    pub windows: u64,
    /// Windows of the whole evaluation.
    pub of: u64,
    /// Seed they were drawn with.
    pub seed: u64,
    /// Engine that ran them.
    pub engine: String,
}

impl std::fmt::Display for SampleRecord {
    /// What a report says of it: that it is a sample, how large, and how much it tells.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (windows, of) = (group_digits(self.windows.into()), group_digits(self.of.into()));
        let (low, high) = (self.val_bpb_low.0, self.val_bpb_high.0);
        write!(f, "rescored (sample of {windows} of {of} windows): val_bpb {low:.5} to {high:.5}")
    }
}

/// A finished stage of `reproduce`: done again only if an input changed or an output is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageRecord {
    /// Everything the stage read.
    pub inputs: Vec<FileRef>,
    /// Everything it wrote.
    pub outputs: Vec<FileRef>,
}

/// Where results were made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Environment {
    /// Version of this crate.
    pub harness: String,
    /// Operating system and architecture.
    pub platform: String,
    /// CPU model and number of threads used.
    pub cpu: String,
    /// Accelerators found, with driver version; empty for none.
    pub devices: Vec<String>,
    /// zstd library version.
    pub zstd: String,
}

/// How far a reproduced number may lie from the claimed one.
///
/// Defaults from measured reruns of the challenge: same checkpoint rescored elsewhere within 1e-4 bpb
/// of a bf16 log; same-seed retraining within 0.001 bpb on one node and 0.004 on another (PR #1126, #1868).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tolerance {
    /// |difference| of `val_bpb` when the same artifact is scored again.
    pub rescored_bpb: f64,
    /// |difference| of `val_bpb` when the model is trained again.
    pub retrained_bpb: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Tolerance { rescored_bpb: 1e-4, retrained_bpb: 4e-3 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_labels_of_scores_are_read_and_no_longer_written() {
        let score = "{val_loss: 1.5, val_bpb: 0.9, tokens: 2, bytes: 3, windows: 1, engine: kernels}";
        let text = format!("scores:\n  checkpoint/plain: {score}\n  packed/sliding: {score}\n");
        let results: Results = serde_yaml::from_str(&text).unwrap();
        let labels: Vec<&str> = results.scores.keys().map(String::as_str).collect();
        assert_eq!(labels, ["checkpoint/non-overlapping", "packed/sliding"]);
    }
}
