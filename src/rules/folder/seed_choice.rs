//! Is the claim the best of several seeds instead of their mean?

use std::collections::BTreeMap;

use super::carriers::carrying_runs;
use super::results::{NOTHING, claim, line, means};
use super::runs::{Run, end_alike, mean_by_seed, runs, same_number, seeds};
use super::{DEFAULT, cite};
use crate::manifest::Track;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::log::Metric;
use crate::submission::{ClaimedField, LogFile, SubmissionJson};

pub(super) const BEST_SEED: Rule = Rule {
    id: RuleId("claim_is_best_seed_not_mean"),
    statement: "The claim is the best seed's value, not the mean.",
    reference: "challenge README, rule 1: the mean over runs is judged",
    severity: Severity::Fail,
    evidence: EvidenceKind::Logs,
    why: "The best of several seeds is lower than what the method gives. A warning where the README says so, and outside the record track.",
    example: "seeds 1.2120, 1.2160, 1.2174; claimed 1.2120",
    check: Check::Folder(best_seed),
    ..DEFAULT
};

fn best_seed(case: &FolderCase) -> Outcome {
    let Some((json, claim)) = claim(case) else { return Outcome::unknown(NOTHING) };
    // Where submission.json names the one seed it is about, nothing was picked behind anybody's back.
    let named = json.named_seed();
    let carrying = carrying_runs(case.folder);
    // One run that carries the claim may be the best of several, of which the others are kept.
    let considered = if seeds(&carrying).len() >= 2 { carrying } else { runs(case.folder) };
    if let Some(outcome) = named.and_then(|named| best_is_named(case, json, &claim, named, &considered)) {
        return outcome;
    }
    let runs: Vec<Run> = considered.into_iter().filter(|run| named.is_none() || run.seed == named).collect();
    let seeds_logged = seeds(&runs).len();
    let Some((mean, n)) = mean_by_seed(&runs).filter(|(_, n)| *n >= 2 && seeds_logged >= 2) else {
        let listed = best_listed(case, json, &claim).or_else(|| best_in_readme(case, json, &claim));
        return listed.unwrap_or_else(|| Outcome::unknown("fewer than two seeds are logged or listed"));
    };
    let Some(best) = runs.iter().min_by(|a, b| a.last.bpb.total_cmp(&b.last.bpb)) else { return Outcome::HOLDS };
    let is = |value: f64| same_number(&claim.number, value, best.last.decimals.max(4));
    let is_mean = is(mean) || listed_mean(json).is_some_and(is) || means(&runs).into_iter().any(is);
    if !is_mean
        && !is(best.last.bpb)
        && let Some(outcome) = best_listed(case, json, &claim)
    {
        return outcome;
    }
    let doubled = runs.iter().filter(|run| run.last.bpb == best.last.bpb).count() > 1;
    if is_mean || !is(best.last.bpb) || doubled || !end_alike(&runs) {
        return best_by_label(case, json, &claim).unwrap_or(Outcome::HOLDS);
    }
    let message = format!("{} is the best of {n} seeds; their mean is {mean:.6}", claim.number);
    picked(case, message, vec![cite(json, &claim).expected(format!("{mean:.6}")), line(best.log, best.last)])
}

/// A picked seed, softer where the README says so.
fn picked(case: &FolderCase, message: String, evidence: Vec<Evidence>) -> Outcome {
    let declared = |line: &str| {
        let lower = line.to_ascii_lowercase();
        lower.contains("best seed") || lower.contains("best of") || lower.contains("best") && lower.contains("seed")
    };
    let place = case.folder.readme.as_ref().and_then(|readme| {
        let (at, text) = readme.text.lines().enumerate().find(|(_, line)| declared(line))?;
        Some(Evidence::at(&readme.path, at as u64 + 1).found(text))
    });
    let is_record = case.track == Track::TenMinutes;
    let violation = match place {
        Some(place) => {
            let message = format!("{message}; the README says so");
            Violation::new(message, evidence.into_iter().chain([place]).collect()).graded(Severity::Warning)
        }
        // Ablations and studies outside the record track are judged by no mean.
        None if !is_record => Violation::new(message, evidence).graded(Severity::Warning),
        None => Violation::new(message, evidence),
    };
    Outcome::Violated(vec![violation])
}

/// Is the one seed that submission.json is about the best of those that are logged alike?
fn best_is_named(
    case: &FolderCase,
    json: &SubmissionJson,
    claim: &ClaimedField,
    named: u64,
    runs: &[Run],
) -> Option<Outcome> {
    let (mean, n) = mean_by_seed(runs).filter(|(_, n)| *n >= 2)?;
    let best = runs.iter().min_by(|a, b| a.last.bpb.total_cmp(&b.last.bpb))?;
    let is = |value: f64| same_number(&claim.number, value, best.last.decimals.max(4));
    if case.track != Track::TenMinutes || best.seed != Some(named) || !is(best.last.bpb) || is(mean) || !end_alike(runs)
    {
        return None;
    }
    // A README that shows the others hides nothing.
    let is_shown = |run: &Run| {
        let digits: String = format!("{:.8}", run.last.bpb).chars().take(6).collect();
        case.folder.readme.as_ref().is_some_and(|readme| readme.text.contains(&digits))
    };
    if runs.iter().filter(|run| run.seed != Some(named)).all(is_shown) {
        return None;
    }
    let message =
        format!("{} is seed {named} alone, the best of {n} that are logged; their mean is {mean:.6}", claim.number);
    let evidence = vec![cite(json, claim).expected(format!("{mean:.6}")), line(best.log, best.last)];
    Some(Outcome::Violated(vec![Violation::new(message, evidence).graded(Severity::Warning)]))
}

/// Values submission.json lists by seed.
fn listed(json: &SubmissionJson) -> Vec<f64> {
    json.seed_results().iter().filter_map(|seed| seed.bpb.as_ref()).map(|number| number.value()).collect()
}

/// Their mean, where there are at least two.
pub(super) fn listed_mean(json: &SubmissionJson) -> Option<f64> {
    let listed = listed(json);
    (listed.len() >= 2).then(|| listed.iter().sum::<f64>() / listed.len() as f64)
}

/// Is the claim the best of the seeds submission.json itself lists, and not their mean?
fn best_listed(case: &FolderCase, json: &SubmissionJson, claim: &ClaimedField) -> Option<Outcome> {
    let listed = listed(json);
    let mean = listed_mean(json)?;
    let best = listed.iter().copied().fold(f64::INFINITY, f64::min);
    let is = |value: f64| same_number(&claim.number, value, 4);
    (is(best) && !is(mean)).then(|| {
        let message = format!("{} is the best of {} seeds listed; their mean is {mean:.6}", claim.number, listed.len());
        picked(case, message, vec![cite(json, claim).expected(format!("{mean:.6}"))])
    })
}

/// Is the claim the best seed of a table in the README, and not its mean?
fn best_in_readme(case: &FolderCase, json: &SubmissionJson, claim: &ClaimedField) -> Option<Outcome> {
    let readme = case.folder.readme.as_ref()?;
    let is = |value: f64| same_number(&claim.number, value, 4);
    let columns = readme.seed_columns().into_iter().filter(|column| column.seeds.len() >= 2);
    let mut best = columns.filter_map(|column| {
        let values = || column.seeds.iter().map(|(_, number, _)| number.value());
        let mean = values().sum::<f64>() / column.seeds.len() as f64;
        let is_mean = is(mean) || column.mean.as_ref().is_some_and(|(stated, _)| is(stated.value()));
        let least = values().fold(f64::INFINITY, f64::min);
        (is(least) && !is_mean).then_some((column.line, column.seeds.len(), mean))
    });
    let (line, seeds, mean) = best.next()?;
    let message = format!("{} is the best of {seeds} seeds in {}; their mean is {mean:.6}", claim.number, readme.path);
    Some(picked(
        case,
        message,
        vec![cite(json, claim).expected(format!("{mean:.6}")), Evidence::at(&readme.path, line)],
    ))
}

/// Final values under one label, one a seed: is the claim the best of them?
///
/// Logs end with different evaluations; the claim may be about an earlier one.
fn best_by_label(case: &FolderCase, json: &SubmissionJson, claim: &ClaimedField) -> Option<Outcome> {
    let mut by_label: BTreeMap<&str, BTreeMap<u64, (&LogFile, &Metric)>> = BTreeMap::new();
    let runs = runs(case.folder);
    if seeds(&runs).len() != runs.len() {
        return None;
    }
    for run in runs {
        for metric in run.log.finals() {
            by_label.entry(&metric.label).or_default().insert(run.seed?, (run.log, metric));
        }
    }
    let is = |value: f64| same_number(&claim.number, value, 6);
    let matching: Vec<_> = by_label.values().filter(|values| values.values().any(|(_, m)| is(m.bpb))).collect();
    let values = matching.first()?;
    let mean = values.values().map(|(_, metric)| metric.bpb).sum::<f64>() / values.len() as f64;
    let (log, best) = values.values().min_by(|a, b| a.1.bpb.total_cmp(&b.1.bpb))?;
    if values.len() < 2 || matching.len() > 1 || !is(best.bpb) || is(mean) {
        return None;
    }
    let message = format!("{} is the best of {} seeds; their mean is {mean:.6}", claim.number, values.len());
    Some(picked(case, message, vec![cite(json, claim).expected(format!("{mean:.6}")), line(log, best)]))
}
