//! The program that runs a recipe, where no script of its own does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::environment;
use crate::escape::visible;
use crate::units::Bytes;

/// A program that trains and scores a recipe in place of a script: its source counts as code, beside the files of
/// `code`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Which program.
    pub name: ProgramName,
    /// What it was built from; filled in where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ProgramSource>,
}

/// Programs whose source this build can vouch for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProgramName {
    /// This one.
    #[serde(rename = "golf-harness")]
    GolfHarness,
}

/// The source of one build: everything its library and binaries are compiled from. Libraries of others are left out,
/// as the challenge leaves out the packages that a script imports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgramSource {
    /// Version of the crate.
    pub version: String,
    /// The digest that the build names itself by, 16 hexadecimal digits.
    pub digest: String,
    /// Size of all files together.
    pub bytes: Bytes,
}

impl Program {
    /// The same with the source of this build on record.
    pub fn as_built_here(&self) -> Self {
        Program { name: self.name, source: Some(environment::source()) }
    }

    /// The source that counts: the recorded one, else this build's.
    pub fn source(&self) -> ProgramSource {
        self.source.clone().unwrap_or_else(environment::source)
    }

    /// Whether the recorded source is the one this build was made from, so that its size is known and not only stated.
    pub fn is_this_build(&self) -> bool {
        self.source.as_ref().is_some_and(|source| *source == environment::source())
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ProgramName::GolfHarness = self.name;
        let ProgramSource { version, digest, .. } = self.source();
        write!(f, "golf-harness {}, source {}", visible(&version), visible(&digest))
    }
}
