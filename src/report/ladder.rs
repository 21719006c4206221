//! The verdict ladder: how much of a claim was really checked.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// The strongest thing that was checked and held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// Something essential is missing, cannot be read, contradicts the rest or breaks a rule.
    Undocumented,
    /// The folder is complete, its numbers agree with one another and with the logs.
    Documented,
    /// The artifact is here, digests match, code plus model are within the budget.
    Sealed,
    /// `val_bpb` was recomputed from the artifact, within the stated tolerance.
    Rescored,
    /// A fresh run from the manifest lands within the claim's own spread.
    Retrained,
    /// Retrained, three seeds, better than the standing record by the required margin, within both time caps.
    Record,
}

impl Rung {
    /// Position on the ladder, 0 to 5.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            Rung::Undocumented => "undocumented",
            Rung::Documented => "documented",
            Rung::Sealed => "sealed",
            Rung::Rescored => "rescored",
            Rung::Retrained => "retrained",
            Rung::Record => "record",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A place on the ladder and what is missing to the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Standing {
    /// The rung reached.
    pub rung: Rung,
    /// What the next rung needs, one item each; empty on the last rung.
    pub next_needs: Vec<String>,
}
