//! Classes that only a person or a rerun decides: the rules point at lines and ask, they never fail.

use super::{MAX_PLACES, survey};
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Tracks, Violation};
use crate::submission::code::NoteKind;

const fn review(
    id: &'static str,
    statement: &'static str,
    reference: &'static str,
    why: &'static str,
    example: &'static str,
    check: fn(&FolderCase) -> Outcome,
) -> Rule {
    Rule {
        id: RuleId(id),
        statement,
        reference,
        severity: Severity::Review,
        tracks: Tracks::Both,
        evidence: EvidenceKind::Person,
        why,
        example,
        check: Check::Folder(check),
    }
}

pub(super) const NGRAM: Rule = review(
    "code_ngram_cache",
    "The script has an n-gram or phrase cache: is its distribution normalized before the target is seen?",
    "ruling of 2026-03-27 (PR 779's thread): hashed n-gram caches are out; condition 2 of issue 1017",
    "With the target inside the lookup key the probabilities of all tokens need not sum to 1.",
    "key = (ctx_hash ^ (target * PRIME)) % BUCKETS",
    |case| of_kind(case, NoteKind::NgramCache, "builds or mixes an n-gram cache"),
);

pub(super) const SLOT: Rule = review(
    "code_slot",
    "The script optimizes per sample at evaluation (SLOT): on positions that are scored?",
    "pending ruling in issue 1336; PR 1240 shows the effect on every pair of positions",
    "Optimizing on a position and then scoring it uses the answer.",
    "for _ in range(SLOT_STEPS): loss = score(x + delta, y); loss.backward()",
    |case| of_kind(case, NoteKind::Slot, "has per-sample optimization at evaluation"),
);

pub(super) const TRAINS_BEFORE_SCORING: Rule = review(
    "code_trains_before_scoring",
    "A function that sees validation tokens updates weights with no score accumulated before it.",
    "challenge README, FAQ: test-time training only on tokens already scored; condition 3 of issue 1017",
    "Training on a token and then scoring it measures memory.",
    "for epoch in range(3): model(val_tokens).backward(); optimizer.step()",
    |case| of_kind(case, NoteKind::TrainsBeforeScoring, "updates weights on validation tokens before any score"),
);

pub(super) const CALIBRATION: Rule = review(
    "code_validation_in_calibration",
    "Calibration or quantization mentions validation data.",
    "ruling on PR 728: calibration on validation data is not allowed; PR 1019 was merged with its own samples",
    "Quantization fitted to the test set is training on it.",
    "def collect_hessians(model, val_tokens): ...",
    |case| of_kind(case, NoteKind::ValidationInCalibration, "calibrates with validation data in reach"),
);

pub(super) const NETWORK: Rule = review(
    "code_network",
    "The script can reach the network: at evaluation it must not.",
    "challenge README, FAQ: the artifact is self-contained, no downloads or network calls during evaluation",
    "Whatever is downloaded does not count toward 16,000,000 bytes.",
    "from huggingface_hub import hf_hub_download",
    |case| of_kind(case, NoteKind::Network, "imports or calls something that reaches the network"),
);

pub(super) const PROGRAM: Rule = review(
    "code_external_program",
    "The script starts another program: is it there, and does it count?",
    "PR 1855 needed `lrzip`; disputed, let through",
    "A system package is neither in the folder nor in the budget.",
    "subprocess.run([\"lrzip\", \"-z\", path])",
    |case| of_kind(case, NoteKind::ExternalProgram, "starts a program"),
);

fn of_kind(case: &FolderCase, kind: NoteKind, what: &str) -> Outcome {
    let survey = survey(case);
    if survey.counted.is_empty() {
        return Outcome::NotApplicable;
    }
    let mut violations = Vec::new();
    for file in survey.files.iter().filter(|file| survey.counted.contains(&file.path)) {
        let places: Vec<_> = file.notes.iter().filter(|note| note.kind == kind).collect();
        let Some(first) = places.first() else { continue };
        // Lines of packed code are not lines of the file.
        let inside = matches!(file.packed, Some(Ok(_)));
        let of = if inside { " of the code inside" } else { "" };
        let more = match places.len() - 1 {
            0 => String::new(),
            1 => ", and in one more place".to_string(),
            n => format!(", and in {n} more places"),
        };
        let message = format!("{}: line {}{of} {what}{more}", file.path, first.line);
        let evidence = places.iter().take(MAX_PLACES).map(|note| {
            let place = if inside { Evidence::file(&file.path) } else { Evidence::at(&file.path, note.line) };
            place.found(&note.text)
        });
        violations.push(Violation::new(message, evidence.collect()));
    }
    Outcome::from_violations(violations)
}
