//! Probe outcomes for people and for programs.

use std::fmt::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::ProbeOutcome;
use crate::eval::{Probed, Weights, Windowing};
use crate::units::group_digits;

/// Name and version of the document of `score --probe --json`.
const PROBE_SCHEMA: &str = "golf-harness/probe/v1";

/// A table of every probe, with the first failure below its line.
pub fn text(probed: &[Probed]) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_text(&mut out, probed);
    out
}

fn write_text(out: &mut String, probed: &[Probed]) -> fmt::Result {
    for (i, Probed { weights, windowing, outcomes }) in probed.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{weights}/{windowing}")?;
        for outcome in outcomes {
            let verdict = match (outcome.passed(), outcome.checks) {
                (true, 0) => "nothing to check",
                (true, _) => "pass",
                (false, _) => "FAIL",
            };
            let checks = group_digits(outcome.checks.into());
            let (probe, unit) = (outcome.probe, outcome.probe.unit());
            writeln!(out, "  {probe:<17}{verdict:<6}{checks:>11} {unit:<14}{}", probe.statement())?;
            if let Some(first) = &outcome.first_failure {
                writeln!(out, "    {} failed; first: {first}", group_digits(outcome.failures.into()))?;
            }
        }
    }
    Ok(())
}

/// The document of `score --probe --json`: one object a pass, with a verdict over all.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Probing<'a> {
    /// Always `golf-harness/probe/v1`.
    #[schemars(extend("const" = PROBE_SCHEMA))]
    schema: &'static str,
    /// Whether no probe failed.
    passed: bool,
    /// Each form of the weights with each kind of windows.
    passes: Vec<ProbedPass<'a>>,
}

/// One form of the weights with one kind of windows.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct ProbedPass<'a> {
    /// Weights probed.
    weights: Weights,
    /// Kind of windows.
    windowing: Windowing,
    /// What each probe found.
    probes: &'a [ProbeOutcome],
}

/// The outcomes as one document.
pub fn document(probed: &[Probed]) -> Probing<'_> {
    Probing { schema: PROBE_SCHEMA, passed: all_passed(probed), passes: probed.iter().map(pass).collect() }
}

fn pass(probed: &Probed) -> ProbedPass<'_> {
    ProbedPass { weights: probed.weights, windowing: probed.windowing, probes: &probed.outcomes }
}

/// Whether no probe failed.
pub fn all_passed(probed: &[Probed]) -> bool {
    probed.iter().all(|probed| probed.outcomes.iter().all(|outcome| outcome.passed()))
}
