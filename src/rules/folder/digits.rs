//! A claim of many digits that is nearly the mean of its logs, and is not.

use super::carriers::carrying_runs;
use super::results::{BY_HAND, NOTHING, Support, claim, line, support};
use super::runs::{Run, end_alike, mean_by_seed, same_number};
use super::{DEFAULT, cite};
use crate::manifest::ClaimedNumber;
use crate::report::{RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::LogFile;
use crate::submission::log::Metric;

pub(super) const DIGITS: Rule = Rule {
    id: RuleId("claim_digits_not_from_logs"),
    statement: "The claim has six or more decimals, and they are not those of the mean of its logs.",
    reference: "arithmetic; custom: claims come from logs (#2076, #2118)",
    evidence: EvidenceKind::Logs,
    why: "Who types a mean by hand rounds it; six decimals are copied or computed, from other runs than these. A note where the claim is worse than the logs.",
    example: "logs 1.16320112, 1.16280344 and 1.16291876; claimed 1.16257444",
    check: Check::Folder(digits),
    ..DEFAULT
};

/// Fewer decimals are rounded by hand.
const COPIED: u32 = 6;

fn digits(case: &FolderCase) -> Outcome {
    let Some((json, claim)) = claim(case) else { return Outcome::unknown(NOTHING) };
    if claim.number.decimals() < COPIED {
        return Outcome::HOLDS;
    }
    let runs = carrying_runs(case.folder);
    // A log that prints fewer digits than the claim is not where the claim was copied from.
    let Some((mean, n)) = mean_by_seed(&runs).filter(|_| runs.iter().all(|run| run.last.decimals >= COPIED)) else {
        return Outcome::unknown("no carrying log ends with a value of six decimals");
    };
    // Of seeds without a result another rule speaks; the mean was taken over more than what is here.
    let have = super::runs::seeds(&runs);
    if json.seeds().iter().any(|seed| !have.contains(seed)) && !have.is_empty() {
        return Outcome::unknown("not every claimed seed has a log with a result");
    }
    let is_far = |near: f64| (near - claim.number.value()).abs() > BY_HAND;
    match support(case, &claim) {
        // Farther away the claim is another rule's.
        Some(Support::None(_, metric)) if !is_far(metric.bpb) => {}
        // The same value stands there with fewer digits, and beside it with all of them.
        Some(Support::OtherFinal(log, metric)) if metric.decimals < COPIED && prints_more_digits(log, metric) => {}
        None => return Outcome::unknown(NOTHING),
        _ => return Outcome::HOLDS,
    }
    if same_number(&claim.number, mean, COPIED)
        || is_mean_of_rounded(&claim.number, &runs)
        || is_far(mean)
        || !end_alike(&runs)
    {
        return Outcome::HOLDS;
    }
    let away = claim.number.value() - mean;
    let (word, severity) = if away < 0.0 { ("better", Severity::Warning) } else { ("worse", Severity::Note) };
    let of = if n > 1 { format!("the mean of {n} runs is {mean:.8}") } else { format!("its log ends with {mean:.8}") };
    let message = format!("{} claimed; {of}: the claim is {:.8} {word}", claim.number, away.abs());
    let lines = runs.iter().map(|run| line(run.log, run.last));
    let evidence = std::iter::once(cite(json, &claim).expected(format!("{mean:.8}"))).chain(lines).collect();
    Outcome::Violated(vec![Violation::new(message, evidence).graded(severity)])
}

/// Whether the log prints a value of six decimals that this one is the rounding of.
fn prints_more_digits(log: &LogFile, metric: &Metric) -> bool {
    let unit = 10f64.powi(-(metric.decimals.min(12) as i32));
    log.finals().any(|other| other.decimals >= COPIED && (other.bpb - metric.bpb).abs() <= unit)
}

/// Whether the claim is the mean of the runs' values as a table shows them, rounded or cut off to fewer digits.
fn is_mean_of_rounded(claim: &ClaimedNumber, runs: &[Run]) -> bool {
    (3..COPIED as i32).any(|decimals| {
        let unit = 10f64.powi(decimals);
        [f64::round, f64::floor].into_iter().any(|cut| {
            let mean = runs.iter().map(|run| cut(run.last.bpb * unit) / unit).sum::<f64>() / runs.len() as f64;
            claim.agrees_with(mean)
        })
    })
}
