//! What `pack` tells: the table by class, the budget, and the same as JSON.

use std::fmt::Write;
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::pack_job::Done;
use super::{Budget, ClassRule, Part};
use crate::manifest::{ArtifactRecord, FileRef, QuantizationConfig};
use crate::quant::{ArtifactContainer, TensorClass};
use crate::units::{Bytes, group_digits};

/// Name and version of the document of `pack --json`.
const PACK_SCHEMA: &str = "golf-harness/pack/v1";
/// Bytes of a weight before packing.
const F32_BYTES: u64 = 4;

/// The whole report; `verbose` adds one line a tensor.
pub fn text(done: &Done, verbose: bool) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_text(&mut out, done, verbose);
    out
}

fn write_text(out: &mut String, done: &Done, verbose: bool) -> std::fmt::Result {
    let record = &done.record;
    if verbose {
        writeln!(out, "{:<32} {:>6}  {:<16} shape", "tensor", "class", "rule")?;
        for ((name, rule, class), tensor) in done.packed.assignments.iter().zip(&record.tensors) {
            let rule = if let ClassRule::Named(_) = rule { "by name" } else { rule.export_label() };
            writeln!(out, "{name:<32} {class:>6}  {rule:<16} {:?}", tensor.shape)?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "{:<7} {:>7} {:>12} {:>13} {:>13} {:>12}",
        "class", "tensors", "weights", "f32 bytes", "stored bytes", "bits/weight"
    )?;
    for count in &done.packed.classes {
        let before = Bytes(count.elements * F32_BYTES);
        let weights = group_digits(count.elements.into());
        write!(out, "{:<7} {:>7} {weights:>12} {before:>13}", count.class, count.tensors)?;
        if let Some(stored) = stored(done, Part::Class(count.class)) {
            let bits = stored.0 as f64 * 8.0 / count.elements.max(1) as f64;
            write!(out, " {stored:>13} {bits:>12.3}")?;
        }
        writeln!(out)?;
    }
    for part in [Part::Scales, Part::Table] {
        if let Some(stored) = stored(done, part) {
            writeln!(out, "{part:<7} {:>7} {:>12} {:>13} {stored:>13}", "", "", "")?;
        }
    }
    if let ArtifactContainer::Torch(_) = done.manifest.quantization.container {
        let (container, held) = (done.manifest.quantization.container, done.packed.encoded.payload.bytes);
        writeln!(out, "{container}: {held} bytes of torch.save, compressed as one")?;
    }
    let (tensors, weights) = totals(done);
    let bits = record.bytes.0 as f64 * 8.0 / weights.max(1) as f64;
    let (before, weights) = (Bytes(weights * F32_BYTES), group_digits(weights.into()));
    writeln!(out, "{:<7} {tensors:>7} {weights:>12} {before:>13} {:>13} {bits:>12.3}", "total", record.bytes)?;
    if done.packed.pruned > 0 {
        writeln!(out, "\npruned  {} weights set to zero", group_digits(done.packed.pruned.into()))?;
    }
    if !done.packed.without_hessian.is_empty() {
        writeln!(out, "\nnearest {} without a Hessian that can be used", done.packed.without_hessian.join(", "))?;
    }
    let budget = &done.budget;
    writeln!(out, "\nmodel   {:>12}  {}", budget.model, done.artifact_path.display())?;
    let files = match done.manifest.code.len() {
        0 => None,
        1 => Some("1 file".to_string()),
        n => Some(format!("{n} files")),
    };
    let program = done.manifest.program.as_ref().map(ToString::to_string);
    let code: Vec<String> = files.into_iter().chain(program).collect();
    let code = if code.is_empty() { "no code files listed in the manifest".into() } else { code.join(" and ") };
    writeln!(out, "code    {:>12}  {code}", budget.code)?;
    writeln!(out, "total   {:>12}", budget.total)?;
    writeln!(out, "cap     {:>12}", budget.cap)?;
    writeln!(out, "margin  {:>12}  {}", group_digits(budget.margin), verdict(done))?;
    writeln!(out, "\nsha256  {}", record.sha256)?;
    writeln!(out, "blake3  {}", record.blake3)
}

/// One line for `--quiet`.
pub fn summary(done: &Done) -> String {
    let budget = &done.budget;
    format!("{} bytes, margin {}, {}", budget.total, group_digits(budget.margin), verdict(done))
}

fn verdict(done: &Done) -> &'static str {
    if done.budget.is_kept() { "within budget" } else { "OVER BUDGET" }
}

/// Compressed bytes of a part; `None` where all parts are compressed as one.
fn stored(done: &Done, wanted: Part) -> Option<Bytes> {
    let parts = &done.packed.encoded.parts;
    let part = parts.iter().find(|(part, _)| *part == wanted).map_or(Bytes(0), |(_, bytes)| *bytes);
    (!parts.is_empty()).then_some(part)
}

fn totals(done: &Done) -> (u64, u64) {
    done.packed.classes.iter().fold((0, 0), |(n, sum), count| (n + count.tensors, sum + count.elements))
}

/// The document of `pack --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Packing<'a> {
    /// Always `golf-harness/pack/v1`.
    #[schemars(extend("const" = PACK_SCHEMA))]
    schema: &'static str,
    /// The manifest's new section: digests of the file and of every tensor.
    artifact: &'a ArtifactRecord,
    /// Where the artifact was written.
    artifact_file: &'a Path,
    /// Where the manifest was written.
    manifest_file: &'a Path,
    /// The weights that were packed.
    checkpoint: &'a FileRef,
    /// How they were packed.
    quantization: &'a QuantizationConfig,
    /// The classes in use.
    classes: Vec<ClassTotal>,
    /// Compressed bytes of all scales; absent where all is compressed as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    scales_bytes: Option<Bytes>,
    /// Bytes of names, shapes and digests; absent where all is compressed as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    table_bytes: Option<Bytes>,
    /// Weights set to zero.
    pruned_weights: u64,
    /// Code and model against the cap.
    budget: Budget,
    /// Whether they are within it.
    within_budget: bool,
}

/// All tensors of a class.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct ClassTotal {
    /// The class.
    class: TensorClass,
    /// Tensors.
    tensors: u64,
    /// Weights in them.
    weights: u64,
    /// Bytes of these weights in single precision.
    f32_bytes: u64,
    /// Compressed bytes, scales aside; absent where all is compressed as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_bytes: Option<Bytes>,
}

/// The report as one JSON document.
pub fn document(done: &Done) -> Packing<'_> {
    let class = |class: TensorClass| {
        let count = done.packed.classes.iter().find(|count| count.class == class)?;
        Some(ClassTotal {
            class,
            tensors: count.tensors,
            weights: count.elements,
            f32_bytes: count.elements * F32_BYTES,
            stored_bytes: stored(done, Part::Class(class)),
        })
    };
    Packing {
        schema: PACK_SCHEMA,
        artifact: &done.record,
        artifact_file: &done.artifact_path,
        manifest_file: &done.manifest_path,
        checkpoint: &done.checkpoint,
        quantization: &done.manifest.quantization,
        classes: TensorClass::ALL.into_iter().filter_map(class).collect(),
        scales_bytes: stored(done, Part::Scales),
        table_bytes: stored(done, Part::Table),
        pruned_weights: done.packed.pruned,
        budget: done.budget,
        within_budget: done.budget.is_kept(),
    }
}
