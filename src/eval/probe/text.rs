//! Probe outcomes for people and for programs.

use std::fmt::{self, Write};

use serde_json::{Value, json};

use crate::eval::Probed;
use crate::units::group_digits;

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

/// One object a pass, with a verdict over all.
pub fn json(probed: &[Probed]) -> Value {
    let pass = |probed: &Probed| json!({ "weights": probed.weights, "windowing": probed.windowing, "probes": probed.outcomes });
    json!({
        "schema": "golf-harness/probe/v1",
        "passed": all_passed(probed),
        "passes": probed.iter().map(pass).collect::<Vec<_>>(),
    })
}

/// Whether no probe failed.
pub fn all_passed(probed: &[Probed]) -> bool {
    probed.iter().all(|probed| probed.outcomes.iter().all(|outcome| outcome.passed()))
}
