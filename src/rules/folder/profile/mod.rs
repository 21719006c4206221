//! What pages show of a record folder besides its report: claims beside evidence, runs, bytes, quotations.

mod claims;
mod runs;
mod size;

pub use runs::{claimed_runs, runs_of_log};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::record;
use crate::escape::visible;
use crate::report::{
    Caps, Excerpt, Finding, Finite, MAX_EXCERPTS, MAX_ROWS, Profile, RecordProfile, Severity, SizeProfile,
};
use crate::rules::FolderCase;
use crate::stats::{Board, GateReport, RefusalReason};
use crate::submission::{MAX_LOG_BYTES, lines_of};

/// The profile of a folder with these findings.
pub fn profile(case: &FolderCase, findings: &[Finding]) -> Profile {
    let limits = &case.policy.limits;
    let (runs, more_runs) = runs::runs(case.folder);
    let json = case.folder.submission.as_ref();
    let mut seeds: Vec<u64> = json.map(|json| json.seeds()).unwrap_or_default();
    seeds.extend(runs.iter().filter(|run| run.carries).filter_map(|run| run.seed));
    seeds.sort_unstable();
    seeds.dedup();
    seeds.truncate(MAX_ROWS);
    Profile {
        day: record::date(case.folder).map(visible),
        caps: Caps {
            bytes: limits.budget_bytes.0,
            train_seconds: Finite::new(limits.train_seconds).unwrap_or_default(),
            eval_seconds: limits.eval_seconds.and_then(Finite::new),
        },
        claims: claims::rows(case),
        seeds,
        runs,
        more_runs,
        size: size::weighed(case).map(|weighed| SizeProfile {
            total: weighed.total,
            code: weighed.code,
            basis: weighed.basis.to_string(),
        }),
        record: standing(case),
        excerpts: excerpts(case, findings),
    }
}

/// The board that claims are shown against where none is given.
static SHIPPED: LazyLock<Option<Board>> = LazyLock::new(|| Board::shipped().ok());

fn standing(case: &FolderCase) -> Option<RecordProfile> {
    let board = case.policy.board().or(SHIPPED.as_ref()).filter(|board| board.track == case.track)?;
    let (entry, compared) = record::compared(case, board)?;
    let finite = |value: Option<f64>| value.and_then(Finite::new);
    let (report, verdict): (Option<GateReport>, String) = match compared {
        Ok(report) => {
            let words = report.verdict_text();
            (Some(report), words)
        }
        Err(RefusalReason::NoRuns) => return None,
        Err(reason) => (None, reason.to_string()),
    };
    let deciding = report.as_ref().and_then(|report| report.margins.first()?.test);
    Some(RecordProfile {
        standing: visible(&entry.label()),
        standing_bpb: Finite::new(entry.val_bpb)?,
        improvement: finite(report.as_ref().map(|report| report.improvement_bpb)),
        p: finite(deciding.map(|test| test.p.0)),
        mean: finite(report.as_ref().map(|report| report.mean)),
        sd: finite(report.as_ref().and_then(|report| report.sd)),
        verdict: visible(&verdict),
    })
}

/// The lines that findings point at, the worst findings' first, each with its neighbors.
fn excerpts(case: &FolderCase, findings: &[Finding]) -> Vec<Excerpt> {
    let worst_first = findings.iter().rev().filter(|finding| finding.severity > Severity::Pass);
    let mut places: Vec<(&str, u64)> = Vec::new();
    for evidence in worst_first.flat_map(|finding| &finding.evidence) {
        let Some(line) = evidence.line else { continue };
        let place = (evidence.path.as_str(), line);
        if places.len() < MAX_EXCERPTS && !places.contains(&place) {
            places.push(place);
        }
    }
    let mut wanted: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for (path, line) in &places {
        wanted.entry(path).or_default().extend(line.saturating_sub(1).max(1)..=line.saturating_add(1));
    }
    let mut lines: BTreeMap<&str, BTreeMap<u64, String>> = BTreeMap::new();
    for (path, numbers) in wanted {
        let Some(file) = case.folder.files.iter().find(|file| visible(&file.path) == path) else { continue };
        // A file that changed or went meanwhile has nothing to quote.
        let found = lines_of(&case.folder.root.join(&file.path), &numbers, MAX_LOG_BYTES);
        lines.insert(path, found.unwrap_or_default());
    }
    let excerpt = |(path, line): (&str, u64)| {
        let around = lines.get(path)?.range(line.saturating_sub(1)..=line.saturating_add(1));
        let lines: Vec<(u64, String)> = around.map(|(number, text)| (*number, text.clone())).collect();
        let has_place = lines.iter().any(|(number, _)| *number == line);
        has_place.then(|| Excerpt { path: path.to_string(), line, lines })
    };
    places.into_iter().filter_map(excerpt).collect()
}
