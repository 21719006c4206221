//! How a tensor's values are held in an artifact.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Storage class of one tensor (PR #286's export).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TensorClass {
    /// 5-bit integers in -16..=15 with one f16 scale a row.
    Int5,
    /// 6-bit integers in -32..=31 with one f16 scale a row.
    Int6,
    /// 8-bit integers in -127..=127 with one f16 scale a row.
    Int8,
    /// Half precision.
    F16,
    /// Single precision.
    F32,
}

impl fmt::Display for TensorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TensorClass::Int5 => "int5",
            TensorClass::Int6 => "int6",
            TensorClass::Int8 => "int8",
            TensorClass::F16 => "f16",
            TensorClass::F32 => "f32",
        })
    }
}
