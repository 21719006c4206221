//! Claimed numbers beside what logs and files say.

use super::super::carriers::carrying_runs;
use super::super::runs::{Run, mean_by_seed};
use super::size;
use crate::escape::visible;
use crate::manifest::ClaimedNumber;
use crate::report::{ClaimRow, Finite, MAX_ROWS};
use crate::rules::FolderCase;
use crate::submission::{ClaimedField, SubmissionJson};
use crate::units::Bytes;

/// A row for each number that is claimed or logged, the headline first.
pub(super) fn rows(case: &FolderCase) -> Vec<ClaimRow> {
    let json = case.folder.submission.as_ref();
    let runs = carrying_runs(case.folder);
    let mut rows = vec![headline(json, &runs)];
    rows.extend(by_seed(json, &runs));
    rows.push(total(case, json));
    rows.extend(training_time(json, &runs));
    rows.retain(|row| row.claimed.is_some() || row.evidence.is_some());
    rows.truncate(MAX_ROWS);
    rows
}

fn row(
    name: &str,
    claimed: Option<(&ClaimedNumber, String)>,
    evidence: Option<(f64, String, Option<String>)>,
) -> ClaimRow {
    let difference = match (&claimed, &evidence) {
        (Some((number, _)), Some((value, ..))) => Finite::new(value - number.value()),
        _ => None,
    };
    let (claimed, claimed_at) = claimed.map(|(number, at)| (visible(&number.to_string()), visible(&at))).unzip();
    let (evidence, evidence_at) = evidence.map(|(_, words, at)| (words, at)).unzip();
    ClaimRow {
        name: name.to_string(),
        claimed,
        claimed_at,
        evidence: evidence.map(|words| visible(&words)),
        evidence_at: evidence_at.flatten().map(|at| visible(&at)),
        difference,
    }
}

fn place(json: &SubmissionJson, key: &str) -> String {
    format!("{}:{}, {key}", json.path, json.line_of(key))
}

fn headline(json: Option<&SubmissionJson>, runs: &[Run]) -> ClaimRow {
    let claim = json.and_then(|json| json.bpb().map(|field| (json, field)));
    let claimed = claim.as_ref().map(|(json, field)| (&field.number, place(json, &field.key)));
    let evidence = mean_by_seed(runs).map(|(mean, n)| match (runs, n) {
        ([run], _) => (mean, format!("{:.*}", run.last.decimals.min(8) as usize, mean), Some(line(run))),
        (_, 1) => (mean, format!("{mean:.6}, the last of {} runs", runs.len()), None),
        _ => (mean, format!("{mean:.6}, mean of {n} seeds"), None),
    });
    row("val_bpb", claimed, evidence)
}

fn line(run: &Run) -> String {
    format!("{}:{}", run.log.path, run.last.line)
}

fn by_seed(json: Option<&SubmissionJson>, runs: &[Run]) -> Vec<ClaimRow> {
    let results = json.map(SubmissionJson::seed_results).unwrap_or_default();
    let mut seeds: Vec<u64> =
        results.iter().map(|result| result.seed).chain(runs.iter().filter_map(|r| r.seed)).collect();
    seeds.sort_unstable();
    seeds.dedup();
    if seeds.len() < 2 {
        return Vec::new();
    }
    let of_seed = |seed: &u64| {
        let result = results.iter().find(|result| result.seed == *seed);
        let claimed = result.and_then(|result| result.bpb.as_ref());
        let path = json.map_or(String::new(), |json| json.path.clone());
        let run = runs.iter().rfind(|run| run.seed == Some(*seed));
        let logged = run.map(|run| {
            let digits = run.last.decimals.min(8) as usize;
            (run.last.bpb, format!("{:.digits$}", run.last.bpb), Some(line(run)))
        });
        row(&format!("val_bpb, seed {seed}"), claimed.map(|number| (number, path)), logged)
    };
    seeds.iter().map(of_seed).collect()
}

fn total(case: &FolderCase, json: Option<&SubmissionJson>) -> ClaimRow {
    let claim: Option<(&SubmissionJson, ClaimedField)> = json.and_then(|json| json.total().map(|field| (json, field)));
    let claimed = claim.as_ref().map(|(json, field)| (&field.number, place(json, &field.key)));
    let evidence = size::evidence(case)
        .map(|weighed| (weighed.total as f64, format!("{} bytes, {}", Bytes(weighed.total), weighed.basis), None));
    row("total bytes", claimed, evidence)
}

fn training_time(json: Option<&SubmissionJson>, runs: &[Run]) -> Option<ClaimRow> {
    let keys = ["training_time_seconds", "train_time_seconds", "wallclock_seconds"];
    let claim = json.and_then(|json| keys.iter().find_map(|key| Some((json, *key, json.number(key)?))));
    let claimed = claim.as_ref().map(|(json, key, number)| (number, place(json, key)));
    let times = runs.iter().filter_map(|run| run.log.train_seconds.as_ref().map(|noted| (run.log, noted)));
    let longest = times.max_by(|a, b| a.1.value.total_cmp(&b.1.value));
    let evidence = longest.map(|(log, noted)| {
        (noted.value, format!("{:.3}, the longest", noted.value), Some(format!("{}:{}", log.path, noted.line)))
    });
    Some(row("training seconds", claimed, evidence))
}
