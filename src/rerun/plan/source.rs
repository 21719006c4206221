//! Where a value of the plan comes from.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// Kinds of sources, strongest first: what a stronger one says, a weaker one does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// A flag of this command.
    Flag,
    /// The `run:` section of a manifest.
    Manifest,
    /// A command in the README, or in a script that it starts.
    Readme,
    /// submission.json.
    SubmissionJson,
    /// What a log says of its own run.
    Log,
    /// What the script, or its launcher, does when it is told nothing.
    Default,
}

/// A source with its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Source {
    /// What kind of source.
    pub kind: SourceKind,
    /// The file inside of the submission's folder, or the flag.
    pub name: String,
    /// 1-based line, for files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

impl Source {
    /// A flag, such as `--nproc`.
    pub fn flag(name: &str) -> Self {
        Source { kind: SourceKind::Flag, name: name.into(), line: None }
    }

    /// A line of a file.
    pub fn at(kind: SourceKind, file: &str, line: u64) -> Self {
        Source { kind, name: file.into(), line: Some(line) }
    }

    /// What something does without being told.
    pub fn default_of(name: &str) -> Self {
        Source { kind: SourceKind::Default, name: name.into(), line: None }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = if self.kind == SourceKind::Default { "default of " } else { "" };
        match self.line {
            Some(line) => write!(f, "{default}{}:{line}", self.name),
            None => write!(f, "{default}{}", self.name),
        }
    }
}

/// A value and its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub source: Source,
}

impl<T> Sourced<T> {
    /// A value from a source.
    pub fn new(value: T, source: Source) -> Self {
        Sourced { value, source }
    }
}
