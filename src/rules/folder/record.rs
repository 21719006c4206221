//! Is a record folder a record? Asked only where a board of standing records is given.

use super::denominator::log_ratio;
use super::runs::{Run, is_seed_sweep, runs};
use crate::report::{RuleId, Severity};
use crate::rules::record::{self, Claim, decide};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Tracks, is_iso_date};
use crate::stats::{Board, BoardEntry, BytesPerToken, GateReport, RefusalReason, SeedRun};
use crate::submission::{RecordFolder, SubmissionJson};

pub(super) const RULES: &[Rule] = &[Rule {
    id: RuleId("not_a_record"),
    statement: "The folder's runs do not beat the standing record by 0.005 nats per token at p < 0.01.",
    reference: "challenge README, submission rule 1; the test is that of PR 1902, the unit that of val_loss (issue 2148)",
    severity: Severity::Fail,
    tracks: Tracks::TenMinutes,
    evidence: EvidenceKind::Logs,
    why: "Seeds differ by about 0.0006 bpb; a smaller or unproved improvement is noise.",
    example: "one seed at 1.1628 against a standing 1.1598",
    check: Check::Folder(not_a_record),
}];

fn not_a_record(case: &FolderCase) -> Outcome {
    if case.policy.board().is_none() {
        return Outcome::NotApplicable;
    }
    let Some(json) = &case.folder.submission else { return Outcome::unknown("there is no submission.json") };
    let (claimed, known) = claimed_and_known(json, &runs(case.folder));
    if claimed.is_empty() {
        return Outcome::unknown("no bits per byte are claimed");
    }
    decide(case.policy, &claim(case.folder, json, (&claimed, &known)))
}

fn claim<'a>(
    folder: &'a RecordFolder,
    json: &'a SubmissionJson,
    (runs, known): (&'a [SeedRun], &'a [SeedRun]),
) -> Claim<'a> {
    let bytes_per_token = log_ratio(folder).and_then(BytesPerToken::plausible);
    Claim { runs, known, date: date(folder), pr: own_pr(json), bytes_per_token, path: &json.path }
}

/// The record of a board that stands on the folder's day, and its claim set against it.
pub(super) fn compared<'a>(
    case: &FolderCase,
    board: &'a Board,
) -> Option<(&'a BoardEntry, Result<GateReport, RefusalReason>)> {
    let json = case.folder.submission.as_ref()?;
    let (claimed, known) = claimed_and_known(json, &runs(case.folder));
    record::compared(case.policy, board, &claim(case.folder, json, (&claimed, &known)))
}

/// The submission's day, `YYYY-MM-DD`: submission.json's, else the one its folder's name starts with.
pub fn date(folder: &RecordFolder) -> Option<&str> {
    let stated = folder.submission.as_ref().and_then(|json| json.text_field("date"));
    let texts = [stated, Some(folder.name.as_str())];
    texts.into_iter().flatten().filter_map(|text| text.get(..10)).find(|day| is_iso_date(day))
}

/// The submission's own pull request, as submission.json states it.
pub fn own_pr(json: &SubmissionJson) -> Option<u64> {
    json.fields.get("pr").and_then(serde_json::Value::as_u64)
}

/// The runs a claim rests on, and all runs there is evidence of.
///
/// Results by seed in submission.json come first, then logs that are one experiment with different seeds, then the
/// headline number as a single run. Logs that are no seed sweep are ablations and say nothing about the spread.
pub(super) fn claimed_and_known(json: &SubmissionJson, logged: &[Run]) -> (Vec<SeedRun>, Vec<SeedRun>) {
    let listed: Vec<SeedRun> = json
        .seed_results()
        .iter()
        .filter_map(|result| {
            let val_bpb = result.bpb.as_ref()?.value();
            (val_bpb > 0.0).then_some(SeedRun { seed: Some(result.seed), val_bpb, val_loss: None })
        })
        .collect();
    let sweep: Vec<SeedRun> = if is_seed_sweep(logged) {
        logged.iter().map(|run| SeedRun { seed: run.seed, val_bpb: run.last.bpb, val_loss: run.last.loss }).collect()
    } else {
        Vec::new()
    };
    let claimed = if listed.len() > 1 {
        listed
    } else if !sweep.is_empty() {
        sweep.clone()
    } else {
        let seed = logged.first().and_then(|run| run.seed).or(json.seeds().first().copied());
        let headline = json.bpb().map(|bpb| bpb.number.value()).filter(|bpb| *bpb > 0.0);
        headline.map(|val_bpb| SeedRun { seed, val_bpb, val_loss: None }).into_iter().collect()
    };
    let mut known = claimed.clone();
    known.extend(sweep.into_iter().filter(|run| !claimed.iter().any(|other| other.seed == run.seed)));
    (claimed, known)
}
