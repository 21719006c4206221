//! Whether an audit saw everything, apart from what it thinks of what it saw.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Finding;

/// How far an audit came. Ordered from best to worst. Only a complete one can pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything that is there was examined.
    #[default]
    Complete,
    /// Something that is there was not examined: larger than a limit, damaged, or out of reach.
    Incomplete,
    /// A check broke, or the audit ended early.
    Broken,
}

impl Status {
    /// What findings say about the audit that made them.
    pub fn of(findings: &[Finding]) -> Self {
        findings.iter().map(Finding::status).max().unwrap_or_default()
    }

    /// The word used in every report format.
    pub fn word(self) -> &'static str {
        match self {
            Status::Complete => "complete",
            Status::Incomplete => "incomplete",
            Status::Broken => "broken",
        }
    }

    /// The word and what it means.
    pub fn words(self) -> &'static str {
        match self {
            Status::Complete => "complete",
            Status::Incomplete => "incomplete: not everything was examined",
            Status::Broken => "broken: a check did not come to its end",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
