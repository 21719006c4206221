//! Results stated seed by seed against each seed's log.

use super::DEFAULT;
use super::carriers::{Part, parts};
use super::results::line;
use super::runs::{same_number, seed_in_name};
use crate::manifest::ClaimedNumber;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::log::{Metric, MetricKind};
use crate::submission::{LogFile, SeedColumn};

pub(super) const SEED_VALUES: Rule = Rule {
    id: RuleId("seed_bpb_differs_from_log"),
    statement: "A seed's claimed value is not in that seed's log.",
    reference: "custom: claims come from logs (#2076, #2118)",
    severity: Severity::Fail,
    evidence: EvidenceKind::Logs,
    why: "The table was not made from these logs. A warning where only the README's table is better than they are.",
    example: "seed 1337: 1.1142 claimed, 1.114792 logged",
    check: Check::Folder(seed_differs),
    ..DEFAULT
};

fn seed_differs(case: &FolderCase) -> Outcome {
    let Some(json) = &case.folder.submission else { return Outcome::NotApplicable };
    let parts = parts(case.folder);
    let mut compared = 0;
    // Differences of rounding, and values worse than those logged.
    let mut is_harmless = true;
    let mut evidence = Vec::new();
    for claim in json.seed_results() {
        let Some(bpb) = claim.bpb.filter(|bpb| bpb.value() > 0.0) else { continue };
        let is_of_seed =
            |part: &&Part| part.seed == Some(claim.seed) || seed_in_name(&part.log.path) == Some(claim.seed);
        let metrics = || {
            parts.iter().filter(is_of_seed).flat_map(|part| {
                let inside = part.log.metrics.iter().filter(|metric| part.lines.contains(metric.line));
                inside.map(move |metric| (part.log, metric))
            })
        };
        let Some((log, nearest)) = metrics()
            .filter(|(_, metric)| metric.bpb.is_finite() && metric.kind >= MetricKind::PreQuant)
            .min_by(|a, b| (a.1.bpb - bpb.value()).abs().total_cmp(&(b.1.bpb - bpb.value()).abs()))
        else {
            continue;
        };
        compared += 1;
        // Logs of several seeds do not always say which one a line is about.
        let stands_elsewhere = parts.iter().filter(|part| is_of_several(part)).any(|part| {
            part.log.finals().any(|metric| bpb.decimals() > 4 && same_number(&bpb, metric.bpb, metric.decimals))
        });
        if !stands_elsewhere && !metrics().any(|(_, metric)| same_number(&bpb, metric.bpb, metric.decimals)) {
            let away = bpb.value() - nearest.bpb;
            is_harmless &= away > 0.0 || away.abs() <= 1e-4;
            evidence.push(line(log, nearest).expected(format!("seed {}: {bpb}", claim.seed)));
        }
    }
    match (compared, evidence.is_empty()) {
        (0, _) => in_readme(case, &parts).unwrap_or_else(|| Outcome::unknown("no listed seed has a log")),
        (_, true) => in_readme(case, &parts).unwrap_or(Outcome::HOLDS),
        _ => {
            let message = format!("{} of {compared} seeds differ from their logs", evidence.len());
            let violation = Violation::new(message, evidence);
            Outcome::Violated(vec![if is_harmless { violation.graded(Severity::Warning) } else { violation }])
        }
    }
}

/// Whether a run is not clearly of one seed.
fn is_of_several(part: &Part) -> bool {
    part.seed.is_none() || part.log.runs().len() > 1 || part.log.path.to_ascii_lowercase().contains("seeds")
}

/// A table of the README, with scores and nothing else by seed, all of which are better than what the logs hold.
fn in_readme(case: &FolderCase, parts: &[Part]) -> Option<Outcome> {
    let readme = case.folder.readme.as_ref()?;
    let columns = readme.seed_columns();
    // Several columns compare several things, some of which no log holds.
    let is_alone = |column: &&SeedColumn| columns.iter().filter(|other| other.line == column.line).count() == 1;
    let better = |column: &SeedColumn| {
        let rows = column.seeds.iter().map(|(seed, number, at)| {
            let (log, last) = better_than_logged(case, parts, *seed, number)?;
            Some([Evidence::at(&readme.path, *at).found(format!("seed {seed}: {number}")), line(log, last)])
        });
        rows.collect::<Option<Vec<_>>>().filter(|rows| rows.len() >= 2)
    };
    let rows = columns.iter().filter(is_alone).find_map(better)?;
    let message = format!("all {} seeds in {} are better than their logs", rows.len(), readme.path);
    let violation = Violation::new(message, rows.into_iter().flatten().collect());
    Some(Outcome::Violated(vec![violation.graded(Severity::Warning)]))
}

/// The best a seed's logs end with, where the number is better and stands in no log.
fn better_than_logged<'a>(
    case: &FolderCase<'a>,
    parts: &[Part<'a>],
    seed: u64,
    number: &ClaimedNumber,
) -> Option<(&'a LogFile, &'a Metric)> {
    let is_told = |metric: &&Metric| metric.bpb.is_finite() && metric.decimals >= 4;
    let mut metrics = case.folder.logs.iter().flat_map(|log| &log.metrics).filter(is_told);
    if number.decimals() < 4 || metrics.any(|metric| same_number(number, metric.bpb, metric.decimals)) {
        return None;
    }
    let of_seed = parts.iter().filter(|part| part.seed == Some(seed)).filter_map(|part| Some((part.log, part.last?)));
    let (log, last) = of_seed.min_by(|a, b| a.1.bpb.total_cmp(&b.1.bpb))?;
    let away = last.bpb - number.value();
    (last.decimals >= 4 && away > SLIP && away < OTHER_METRIC).then_some((log, last))
}

/// What a slip in the last digit explains.
const SLIP: f64 = 1e-4;
/// Farther away a column holds something else than the score.
const OTHER_METRIC: f64 = 0.05;
