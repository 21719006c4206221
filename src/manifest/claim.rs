//! What somebody claims about a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ClaimedNumber;

/// Which set of rules a submission enters under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Track {
    /// `track_10min_16mb`: 600 s of training on 8xH100, 600 s of evaluation, 16,000,000 bytes.
    #[serde(rename = "10min_16mb")]
    TenMinutes,
    /// `track_non_record_16mb`: unlimited compute, the same byte budget.
    #[default]
    #[serde(rename = "non_record_16mb")]
    NonRecord,
}

/// Who, where, what. All optional: a gap is stated, not guessed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Claim {
    /// Title as published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where the claim was made, such as `openai/parameter-golf#286`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Who makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Date of the claim, `YYYY-MM-DD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Rules the claim is made under.
    pub track: Track,
    /// The numbers.
    pub metrics: ClaimMetrics,
    /// Seeds of the runs behind the numbers.
    pub seeds: Vec<u64>,
    /// What it ran on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Hardware>,
}

impl Claim {
    /// The pull request that `source` names after its `#`.
    pub fn pull_request(&self) -> Option<u64> {
        self.source.as_deref()?.rsplit_once('#')?.1.parse().ok()
    }
}

/// Claimed numbers, each with the digits it was printed with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimMetrics {
    /// Mean loss of the packed model at the evaluation stride, nats per token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<ClaimedNumber>,
    /// The headline: bits per byte of the packed model at the evaluation stride.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_bpb: Option<ClaimedNumber>,
    /// Loss before quantization, non-overlapping windows, as the training log prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_quant_val_loss: Option<ClaimedNumber>,
    /// Bits per byte before quantization, non-overlapping windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_quant_val_bpb: Option<ClaimedNumber>,
    /// Tokens scored on the validation split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_tokens: Option<ClaimedNumber>,
    /// Code plus model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<ClaimedNumber>,
    /// The compressed model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_bytes: Option<ClaimedNumber>,
    /// The counted code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_bytes: Option<ClaimedNumber>,
    /// Parameters of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<ClaimedNumber>,
    /// Training steps done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<ClaimedNumber>,
    /// Training wall-clock, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_seconds: Option<ClaimedNumber>,
    /// Evaluation wall-clock, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_seconds: Option<ClaimedNumber>,
}

/// Claimed hardware.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// Number of accelerators (0: CPU only).
    pub devices: u32,
    /// Their model, such as `H100 SXM`.
    pub kind: String,
}
