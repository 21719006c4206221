//! What a reproduction found, as one JSON document.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::outcome::{Missing, Reproduction};
use super::{Stage, Table};
use crate::manifest::ScoreRecord;
use crate::report::Report;
use crate::units::BitsPerByte;

/// Name and version of the document of `reproduce --json`.
const REPRODUCTION_SCHEMA: &str = "golf-harness/reproduction/v1";

/// The document of `reproduce --json`: what came out, or what is missing.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ReproductionDocument<'a> {
    /// Everything ran, now or earlier.
    Done(Box<Reproduced<'a>>),
    /// It could not start.
    Missing(NotReproduced<'a>),
}

/// A finished reproduction.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Reproduced<'a> {
    /// Always `golf-harness/reproduction/v1`.
    #[schemars(extend("const" = REPRODUCTION_SCHEMA))]
    schema: &'static str,
    /// The manifest's name.
    name: &'a str,
    /// Where everything is.
    folder: &'a Path,
    /// Claimed against reproduced.
    table: Table,
    /// Scores by weights and windows, such as `packed/sliding`.
    scores: &'a BTreeMap<String, ScoreRecord>,
    /// Entropy of the validation text, byte by byte.
    byte_unigram_bpb: Option<BitsPerByte>,
    /// The same, token by token.
    token_unigram_bpb: Option<BitsPerByte>,
    /// What the rules say of the run folder, as `verify` reports a subject.
    report: &'a Report,
    /// Stages done in this run.
    stages_done: &'a [Stage],
    /// Stages kept from an earlier one.
    stages_kept: &'a [Stage],
    /// Nothing was computed: the folder held this run, finished.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    recorded: bool,
    /// What that means.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// A reproduction that could not start.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NotReproduced<'a> {
    /// Always `golf-harness/reproduction/v1`.
    #[schemars(extend("const" = REPRODUCTION_SCHEMA))]
    schema: &'static str,
    /// What is not here, a sentence each.
    missing: Vec<String>,
    /// What could be checked anyway, as `verify` reports a subject.
    report: &'a Report,
}

impl Reproduction {
    /// The whole story for programs; `recorded` says why nothing was computed, if nothing was.
    pub fn document(&self, recorded: Option<String>) -> ReproductionDocument<'_> {
        ReproductionDocument::Done(Box::new(Reproduced {
            schema: REPRODUCTION_SCHEMA,
            name: &self.manifest.name,
            folder: self.folder.root(),
            table: self.table(),
            scores: &self.manifest.results.scores,
            byte_unigram_bpb: self.bounds.map(|(bytes, _)| bytes),
            token_unigram_bpb: self.bounds.map(|(_, tokens)| tokens),
            report: &self.report,
            stages_done: &self.done,
            stages_kept: &self.kept,
            recorded: recorded.is_some(),
            message: recorded,
        }))
    }
}

impl Missing {
    /// What is missing, for programs.
    pub fn document(&self) -> ReproductionDocument<'_> {
        ReproductionDocument::Missing(NotReproduced {
            schema: REPRODUCTION_SCHEMA,
            missing: self.gaps.iter().map(ToString::to_string).collect(),
            report: &self.report,
        })
    }
}
