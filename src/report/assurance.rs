//! Levels of assurance: how much of a claim was really checked.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The strongest thing that was checked and held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something essential is missing, cannot be read, contradicts the rest or breaks a rule.
    Unreadable,
    /// The folder is complete, its numbers agree with one another and with the logs.
    Documented,
    /// The artifact is here, digests match, code plus model are within the budget.
    Sealed,
    /// `val_bpb` was recomputed from the artifact, within the stated tolerance.
    Rescored,
    /// A fresh run from the manifest, or of the submission's own script, lands within the claim's own spread.
    Retrained,
    /// Retrained, three seeds, better than the standing record by the required margin, within both time caps.
    Record,
}

impl Level {
    /// Its number, 0 to 5.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            Level::Unreadable => "unreadable",
            Level::Documented => "documented",
            Level::Sealed => "sealed",
            Level::Rescored => "rescored",
            Level::Retrained => "retrained",
            Level::Record => "record",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The level reached and what is missing to the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assurance {
    /// The level reached.
    pub level: Level,
    /// What the next level needs, one item each; empty at the last level.
    pub next_needs: Vec<String>,
}
