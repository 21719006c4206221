//! JSON Schemas of the documents that commands write, published in `manifests/` (docs/json.md).

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::doctor::Diagnosis;
use super::progress::Line;
use crate::artifact::inspect::InspectionDocument;
use crate::artifact::report::Packing;
use crate::eval::sample::{SamplePart, SampleScoring};
use crate::eval::{PartRecord, Scoring};
use crate::manifest;
use crate::report::{Audit, FindingLine};
use crate::rerun::judge::Judgement;
use crate::rerun::plan::Plan;
use crate::rerun::record::SeedRecord;

/// A JSON Schema as it is published.
#[derive(Clone, Debug)]
pub struct Published {
    /// Name of the document, and of its file: `manifests/NAME.schema.json`.
    pub name: &'static str,
    /// The schema.
    pub schema: Value,
}

/// Every published schema that this build knows; those of commands with an engine are in builds
/// with one, those of Slurm in builds for Linux.
pub fn published() -> Vec<Published> {
    let published = vec![
        // What is read is described as strictly as it is read.
        Published { name: "manifest", schema: manifest::json_schema() },
        written::<Audit>("audit"),
        written::<FindingLine>("finding"),
        written::<Packing>("pack"),
        written::<InspectionDocument>("inspection"),
        written::<Scoring>("score"),
        written::<PartRecord>("score-part"),
        written::<SampleScoring>("score-sample"),
        written::<SamplePart>("score-sample-part"),
        written::<Plan>("rerun-plan"),
        written::<Judgement>("rerun-report"),
        written::<SeedRecord>("rerun-record"),
        written::<Diagnosis>("doctor"),
        written::<Line>("progress"),
    ];
    published.into_iter().chain(of_slurm()).chain(of_engines()).collect()
}

#[cfg(target_os = "linux")]
fn of_slurm() -> Vec<Published> {
    use super::rerun::{NothingJudged, SubmittedSeeds};

    vec![written::<SubmittedSeeds>("rerun-submitted"), written::<NothingJudged>("rerun-missing")]
}

#[cfg(not(target_os = "linux"))]
fn of_slurm() -> Vec<Published> {
    Vec::new()
}

#[cfg(feature = "engine")]
fn of_engines() -> Vec<Published> {
    vec![
        written::<crate::fit::Fitting>("fit"),
        written::<crate::train::Training>("training"),
        written::<crate::eval::probe::Probing>("probe"),
        written::<crate::reproduce::ReproductionDocument>("reproduction"),
        written::<super::reproduce::Reproductions>("reproductions"),
        written::<super::reproduce::ReproductionPlans>("reproduction-plans"),
        written::<crate::reproduce::SeedsSummary>("seed-summary"),
        written::<super::score::LossPlot>("loss-plot"),
        written::<crate::eval::ttt::TraceDocument>("ttt-trace"),
        written::<super::score::TraceCheck>("ttt-check"),
    ]
}

#[cfg(not(feature = "engine"))]
fn of_engines() -> Vec<Published> {
    Vec::new()
}

/// The schema of a document as it is written: what is left out when empty is not required, and fields that a later
/// version of the program adds are allowed.
fn written<T: JsonSchema>(name: &'static str) -> Published {
    let mut open = RecursiveTransform(|schema: &mut Schema| {
        if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
            schema.remove("additionalProperties");
        }
    });
    let settings = SchemaSettings::default().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schemars::transform::Transform::transform(&mut open, &mut schema);
    Published { name, schema: schema.to_value() }
}
