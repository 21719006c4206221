//! Is the claim a record? Asked only where a board of standing records is given.

use super::{Check, EvidenceKind, ManifestCase, Outcome, Policy, Rule, Tracks, Violation};
use crate::report::{Evidence, RuleId, Severity};
use crate::stats::{Board, BoardEntry, BytesPerToken, GateReport, GateVerdict, RefusalReason, SeedRun, compare};
use crate::units::{BitsPerByte, Nats};

/// All of them, in report order.
pub(super) const RULES: &[Rule] = &[MANIFEST];

const MANIFEST: Rule = Rule {
    id: RuleId("manifest_not_a_record"),
    statement: "The claim does not beat the standing record by 0.005 nats per token at p < 0.01.",
    reference: "challenge README, submission rule 1; the test is that of PR 1902, the unit that of val_loss (issue 2148)",
    severity: Severity::Fail,
    tracks: Tracks::TenMinutes,
    evidence: EvidenceKind::Logs,
    why: "Seeds differ by about 0.0006 bpb; a smaller or unproved improvement is noise.",
    example: "mean 1.1628 over 1 run against a standing 1.1428",
    check: Check::Manifest(manifest),
};

/// What a claim brings to the comparison.
pub(super) struct Claim<'a> {
    /// Runs it rests on.
    pub runs: &'a [SeedRun],
    /// All runs there is evidence of, `runs` among them.
    pub known: &'a [SeedRun],
    /// Day of the claim.
    pub date: Option<&'a str>,
    /// Its own pull request.
    pub pr: Option<u64>,
    /// From its loss and bits per byte.
    pub bytes_per_token: Option<BytesPerToken>,
    /// The file that states it.
    pub path: &'a str,
}

/// The record of a board that stands on a claim's day, and the claim set against it.
pub(super) fn compared<'a>(
    policy: &Policy,
    board: &'a Board,
    claim: &Claim,
) -> Option<(&'a BoardEntry, Result<GateReport, RefusalReason>)> {
    let standing = board.standing(claim.date, claim.pr)?;
    let bytes_per_token = claim.bytes_per_token.or_else(|| standing.bytes_per_token());
    let terms = policy.record_terms();
    Some((standing, compare(claim.runs, claim.known, 0, &standing.reference(), bytes_per_token, &terms)))
}

/// Sets a claim against the policy's board.
pub(super) fn decide(policy: &Policy, claim: &Claim) -> Outcome {
    let Some(board) = policy.board() else { return Outcome::NotApplicable };
    let Some((standing, compared)) = compared(policy, board, claim) else {
        return Outcome::unknown("the board has no record from before this claim");
    };
    let report = match compared {
        Ok(report) => report,
        Err(reason) => return Outcome::unknown(reason.to_string()),
    };
    let sentence = format!("against {}: {}", standing.label(), report.verdict_text());
    let lines = report.test_lines().into_iter().map(|line| Evidence::file(claim.path).found(line)).collect();
    let mut violations: Vec<Violation> = report
        .warnings
        .iter()
        .map(|warning| Violation::new(warning.to_string(), vec![Evidence::file(claim.path)]).graded(Severity::Warning))
        .collect();
    if report.outcome == GateVerdict::Record {
        return if violations.is_empty() { Outcome::holds(sentence) } else { Outcome::Violated(violations) };
    }
    violations.insert(0, Violation::new(sentence, lines));
    Outcome::Violated(violations)
}

fn manifest(case: &ManifestCase) -> Outcome {
    if case.policy.board().is_none() {
        return Outcome::NotApplicable;
    }
    let claim = &case.manifest.claim;
    let Some(bpb) = &claim.metrics.val_bpb else { return Outcome::unknown("the manifest claims no val_bpb") };
    // A manifest states the mean alone; with several seeds the test needs the value of each.
    if claim.seeds.len() > 1 {
        return Outcome::unknown(format!(
            "the manifest gives the mean of {} seeds, the test needs each: verify the record folder",
            claim.seeds.len()
        ));
    }
    let loss = claim.metrics.val_loss.as_ref().map(|loss| loss.value());
    let runs = [SeedRun { seed: claim.seeds.first().copied(), val_bpb: bpb.value(), val_loss: loss }];
    let bytes_per_token = loss.and_then(|loss| BytesPerToken::from_claim(Nats(loss), BitsPerByte(bpb.value())));
    decide(
        case.policy,
        &Claim {
            runs: &runs,
            known: &runs,
            date: claim.date.as_deref(),
            pr: claim.pull_request(),
            bytes_per_token,
            path: &case.files.manifest_name,
        },
    )
}
