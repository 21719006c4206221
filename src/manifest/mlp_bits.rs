//! How finely late QAT rounds the MLP's weights.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Bits of the MLP's weights under fake quantization. A number in manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum MlpBits {
    /// int5 (PR #286).
    #[default]
    Five,
    /// int6 (PRs #315 to #1019).
    Six,
}

impl TryFrom<u8> for MlpBits {
    type Error = String;

    fn try_from(bits: u8) -> Result<Self, String> {
        match bits {
            5 => Ok(MlpBits::Five),
            6 => Ok(MlpBits::Six),
            _ => Err(format!("{bits} bits for the MLP's weights; 5 and 6 are supported")),
        }
    }
}

impl From<MlpBits> for u8 {
    fn from(bits: MlpBits) -> u8 {
        match bits {
            MlpBits::Five => 5,
            MlpBits::Six => 6,
        }
    }
}

impl JsonSchema for MlpBits {
    fn schema_name() -> Cow<'static, str> {
        "MlpBits".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "Bits of the MLP's weights in quantization-aware training.", "enum": [5, 6] })
    }
}
