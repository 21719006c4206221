//! Results of runs whose logs stop before they have one.

use std::collections::BTreeMap;

use super::carriers::{Part, parts};
use super::logs::trained;
use super::results::{NOTHING, claim};
use super::runs::{same_number, seed_in_name};
use super::{DEFAULT, cite};
use crate::manifest::{ClaimedNumber, Track};
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::log::{Metric, MetricKind};

pub(super) const UNFINISHED: Rule = Rule {
    id: RuleId("result_of_unfinished_log"),
    statement: "A result is stated for a run whose log stops before its final number.",
    reference: "custom (#2071): the number claimed must stand in the log",
    evidence: EvidenceKind::Logs,
    why: "Nothing in the folder shows that the run came to this result. A failure in the record track where it is stated seed by seed, a warning elsewhere.",
    example: "README: seed 1337 has 1.16282254; train_seed1337.log ends with step:3000/20000",
    check: Check::Folder(unfinished),
    ..DEFAULT
};

/// Fewer decimals stand for rounded or hoped-for values.
const RESULT_DECIMALS: u32 = 4;

fn unfinished(case: &FolderCase) -> Outcome {
    let Some((json, claim)) = claim(case) else { return Outcome::unknown(NOTHING) };
    let parts = parts(case.folder);
    if !parts.iter().any(|part| trained(part.log)) {
        return Outcome::unknown("no log tells of a training run");
    }
    // A number that stands in any log was printed by some run.
    let stands = |number: &ClaimedNumber| {
        let metrics = || case.folder.logs.iter().flat_map(|log| &log.metrics);
        let is_told = |metric: &&Metric| metric.bpb.is_finite() && metric.decimals >= 3;
        metrics().filter(is_told).any(|metric| same_number(number, metric.bpb, metric.decimals))
    };
    let mut seeds = Vec::new();
    for (seed, (number, place)) in stated(case) {
        let mut of_seed =
            parts.iter().filter(|part| part.seed == Some(seed) || seed_in_name(&part.log.path) == Some(seed));
        let mut any = of_seed.clone().peekable();
        if any.peek().is_none() || !of_seed.all(stops_early) || stands(&number) {
            continue;
        }
        let log = any.next().map(|part| last_line(part).expected(format!("seed {seed}: {number}")));
        seeds.push((seed, [Some(place), log]));
    }
    let has_result = |part: &Part| part.log.metrics.iter().any(|metric| metric.kind >= MetricKind::PreQuant);
    let nowhere = !parts.iter().any(has_result) && parts.iter().any(stops_early) && !stands(&claim.number);
    if !seeds.is_empty() {
        let names: Vec<String> = seeds.iter().map(|(seed, _)| seed.to_string()).collect();
        let (what, log) = if names.len() == 1 { ("seed", "log stops") } else { ("seeds", "logs stop") };
        let message = format!("{what} {}: a result is stated, the {log} before the final number", names.join(", "));
        let evidence = seeds.into_iter().flat_map(|(_, places)| places).flatten().collect();
        let is_record = case.track == Track::TenMinutes;
        let severity = if is_record { Severity::Fail } else { Severity::Warning };
        return Outcome::Violated(vec![Violation::new(message, evidence).graded(severity)]);
    }
    if nowhere {
        let message = format!("{} claimed; every log stops before its final number", claim.number);
        let logs = parts.iter().filter(|part| stops_early(part)).map(last_line);
        return Outcome::violated(message, std::iter::once(cite(json, &claim)).chain(logs).collect());
    }
    Outcome::HOLDS
}

/// Whether the run was trained and is not evaluated: neither quantized nor before.
fn stops_early(part: &Part) -> bool {
    let mut inside = part.log.metrics.iter().filter(|metric| part.lines.contains(metric.line));
    trained(part.log) && inside.all(|metric| metric.kind < MetricKind::PreQuant || !metric.bpb.is_finite())
}

fn last_line(part: &Part) -> Evidence {
    let inside = part.log.metrics.iter().rfind(|metric| part.lines.contains(metric.line));
    let line = inside.map_or(part.log.lines, |metric| metric.line);
    Evidence::at(&part.log.path, line).found(format!("last value of {} lines", part.log.lines))
}

/// Results by seed that submission.json, else a table of the README, states.
fn stated(case: &FolderCase) -> BTreeMap<u64, (ClaimedNumber, Evidence)> {
    let mut stated = BTreeMap::new();
    let is_result = |number: &ClaimedNumber| number.value() > 0.0 && number.decimals() >= RESULT_DECIMALS;
    if let Some(readme) = &case.folder.readme {
        for column in readme.seed_columns() {
            for (seed, number, line) in column.seeds.into_iter().filter(|(_, number, _)| is_result(number)) {
                let place = Evidence::at(&readme.path, line).found(format!("seed {seed}: {number}"));
                stated.insert(seed, (number, place));
            }
        }
    }
    let results = case.folder.submission.as_ref().map(|json| (json, json.seed_results()));
    for (json, claim) in
        results.into_iter().flat_map(|(json, claims)| claims.into_iter().map(move |claim| (json, claim)))
    {
        let Some(number) = claim.bpb.filter(is_result) else { continue };
        let place = Evidence::file(&json.path).found(format!("seed {}: {number}", claim.seed));
        stated.insert(claim.seed, (number, place));
    }
    stated
}
