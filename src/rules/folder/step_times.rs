//! Training times against the average step time that the same lines print.

use super::DEFAULT;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::log::StepTime;

/// Steps below this are too few for a printed average.
const FIRST_STEP: f64 = 100.0;
/// Lines that must agree before one that does not is an exception.
const FEWEST: usize = 5;
/// Share of the lines that must agree; otherwise the script means something else by its average.
const MAJORITY: f64 = 0.8;
/// Relative distance that rounding and a clock read twice explain.
const TOLERANCE: f64 = 0.01;
/// Places quoted.
const QUOTED: usize = 5;

pub(super) const RULES: &[Rule] = &[Rule {
    id: RuleId("step_times_contradict"),
    statement: "A training time in a log is not steps times the average step time beside it.",
    reference: "train_gpt.py of the challenge prints both from one clock: step_avg = train_time / step; custom: 223 of 225 logs with both agree on every line",
    severity: Severity::Fail,
    evidence: EvidenceKind::Logs,
    why: "One number was computed from the other. Where they disagree, the line was written or edited by hand.",
    example: "step:6900/20000 train_time:599871ms step_avg:112.90ms",
    check: Check::Folder(check),
    ..DEFAULT
}];

fn check(case: &FolderCase) -> Outcome {
    let mut compared = 0;
    let mut violations = Vec::new();
    for log in &case.folder.logs {
        for run in log.step_times.chunk_by(|a, b| a.step <= b.step) {
            let Some(odd) = contradictions(run) else { continue };
            compared += run.len();
            if odd.is_empty() {
                continue;
            }
            // The end of a run is what its claim rests on; a line in the middle only casts doubt.
            let at_the_end = run.last().is_some_and(|last| odd.iter().any(|(time, _)| time.line == last.line));
            let severity = if at_the_end { Severity::Fail } else { Severity::Warning };
            let evidence = odd.iter().take(QUOTED).map(|(time, expected)| {
                let found = format!("train_time {:.0} ms, step_avg {:.2} ms", time.train_ms, time.average_ms);
                Evidence::at(&log.path, time.line).found(found).expected(format!("about {expected:.0} ms"))
            });
            let message = format!("{} of {} lines contradict the average beside them", odd.len(), run.len());
            violations.push(Violation::new(message, evidence.collect()).graded(severity));
        }
    }
    match (violations.is_empty(), compared) {
        (false, _) => Outcome::Violated(violations),
        (true, 0) => Outcome::unknown("no log prints both on enough lines"),
        (true, compared) => Outcome::holds(format!("{compared} lines agree")),
    }
}

/// Lines of one run whose time is not that of their average, each with the time expected.
///
/// A run that was continued counts its average from a later step: the start most lines imply. `None`: too few lines,
/// or too few that agree on a start.
fn contradictions(run: &[StepTime]) -> Option<Vec<(StepTime, f64)>> {
    let run: Vec<StepTime> =
        run.iter().filter(|time| time.step >= FIRST_STEP && time.average_ms > 0.0).copied().collect();
    let mut starts: Vec<f64> = run.iter().map(|time| time.step - time.train_ms / time.average_ms).collect();
    starts.sort_by(f64::total_cmp);
    let start = *starts.get(starts.len() / 2)?;
    let expected = |time: &StepTime| (time.step - start) * time.average_ms;
    let agrees = |time: &StepTime| {
        // Averages are printed to 0.01 ms or better; the two clocks of a line may be a step apart.
        let slack = TOLERANCE * expected(time).abs() + 0.01 * time.step + 2.0 * time.average_ms;
        (time.train_ms - expected(time)).abs() <= slack
    };
    let agreeing = run.iter().filter(|time| agrees(time)).count();
    if agreeing < FEWEST || (agreeing as f64) < MAJORITY * run.len() as f64 {
        return None;
    }
    Some(run.iter().filter(|time| !agrees(time)).map(|time| (*time, expected(time))).collect())
}
