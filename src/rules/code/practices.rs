//! What a script does that a reader of its README would not expect.

use super::review::of_kind;
use super::survey;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::folder::corrected_bpb;
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::code::NoteKind;

/// What all rules here share.
const REVIEW: Rule = Rule { severity: Severity::Review, evidence: EvidenceKind::Person, ..Rule::BLANK };

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("byte_table_wrong"),
        statement: "The script's table of bytes per token does not count the bytes of the text.",
        reference: "train_gpt.py of 2026-03-18, build_sentencepiece_luts; #897, #1271 (2026-04-02), #1632, #1672: spaces and byte tokens miscounted",
        why: "Bits per byte are divided by this count: byte tokens counted as three gave 4 % for nothing.",
        example: "base_bytes[i] = len(piece.replace(\"\u{2581}\", \" \").encode())  # and + has_leading_space in the sum",
        check: Check::Folder(byte_table),
        ..REVIEW
    },
    Rule {
        id: RuleId("tail_scored_twice"),
        statement: "Windows cut by the end of the text each score its last targets again.",
        reference: "sliding evaluation of PR 287 ff. (2026-03-20): `min(ws + seq_len, total) - ws >= 1`; mended in PR 1218",
        severity: Severity::Note,
        why: "The last targets count up to seq_len / stride times; the effect is below 0.0001 bits per byte.",
        example: "s = 0 if ws == 0 else max(wlen - stride, 0)  # windows of any length are kept",
        check: Check::Folder(|case| {
            of_kind(case, NoteKind::TailScoredTwice, "scores the end of the text in several windows")
        }),
        ..REVIEW
    },
    Rule {
        id: RuleId("swa_collected_never_applied"),
        statement: "Averaged weights (SWA) are collected, and nothing loads or exports them.",
        reference: "custom, 2026-04: PR 414 gathers SWA and exports the EMA; the README's method is not the one that ran",
        severity: Severity::Warning,
        why: "Who reads the README credits averaging with a gain that it did not make.",
        example: "swa_state[name] += p  # and no load_state_dict of it",
        check: Check::Folder(|case| {
            of_kind(case, NoteKind::AverageNeverApplied, "collects an average that nothing uses")
        }),
        ..REVIEW
    },
    Rule {
        id: RuleId("qat_never_active"),
        statement: "The flag of quantization-aware training is only ever set to off.",
        reference: "custom, 2026-03: late-QAT scripts whose flag no line switches on",
        severity: Severity::Warning,
        why: "The run trained without what its title names.",
        example: "_qat_enabled = False  # tested in forward(), never set again",
        check: Check::Folder(|case| {
            of_kind(case, NoteKind::QuantizationNeverOn, "sets the flag off, and no line sets it on")
        }),
        ..REVIEW
    },
    Rule {
        id: RuleId("entry_executes_another_file"),
        statement: "train_gpt.py runs another file: is it in the folder, and is it counted?",
        reference: "challenge README, FAQ (2026-03-18): all counted code should live in train_gpt.py",
        why: "The code that makes the score is not the code whose size is claimed.",
        example: "exec(open(\"real_train.py\").read())",
        check: Check::Folder(entry),
        ..REVIEW
    },
    Rule {
        id: RuleId("result_depends_on_timing"),
        statement: "A lock on a file hands out the work: which process evaluates what depends on timing.",
        reference: "custom, 2026-04: evaluations with adaptation whose ranks claim documents from a shared counter",
        why: "With weights that adapt, another order of claims is another score; it cannot be repeated.",
        example: "def claim_next(f): fcntl.flock(f, fcntl.LOCK_EX); return int(f.read())",
        check: Check::Folder(|case| of_kind(case, NoteKind::WorkByLock, "hands out work by a lock on a file")),
        ..REVIEW
    },
    Rule {
        id: RuleId("loader_seeded_by_paths"),
        statement: "A seed is made from the names of files.",
        reference: "custom, 2026-04: `hash()` of text differs between processes (PYTHONHASHSEED), paths between machines",
        severity: Severity::Warning,
        why: "Another folder, or another process, gives other batches under the same seed.",
        example: "rng = random.Random(hash(str(shard_path)))",
        check: Check::Folder(|case| of_kind(case, NoteKind::SeedFromPaths, "seeds by the names of files")),
        ..REVIEW
    },
];

fn byte_table(case: &FolderCase) -> Outcome {
    let survey = survey(case);
    let mut violations = Vec::new();
    for file in survey.files.iter().filter(|file| survey.counted.contains(&file.path)) {
        let faults: Vec<_> = file.notes.iter().filter(|note| note.kind == NoteKind::ByteTable).collect();
        let Some(first) = faults.first() else { continue };
        let what: Vec<&str> = faults.iter().map(|note| note.detail).collect();
        let corrected = match corrected_bpb(case) {
            Some((logged, corrected)) if (logged / corrected - 1.0).abs() > 0.0005 => {
                format!("; by the tokens and the loss logged, {logged} bits per byte are {corrected:.4}")
            }
            Some((logged, _)) => format!("; yet the logged {logged} agrees with the tokens and the loss logged"),
            None => String::new(),
        };
        let message = format!("{}: line {}: {}{corrected}", file.path, first.line, what.join("; "));
        let evidence = faults.iter().flat_map(|note| {
            let own = Evidence::at(&file.path, note.line).found(&note.text).expected(note.detail);
            let others = note.others.iter().map(|(line, text)| Evidence::at(&file.path, *line).found(text));
            std::iter::once(own).chain(others).collect::<Vec<_>>()
        });
        violations.push(Violation::new(message, evidence.collect()));
    }
    if survey.counted.is_empty() { Outcome::NotApplicable } else { Outcome::from_violations(violations) }
}

/// Only the entry matters: other files are tools, unless it runs them.
fn entry(case: &FolderCase) -> Outcome {
    let is_entry = |violation: &Violation| violation.evidence.iter().any(|place| place.path == "train_gpt.py");
    match of_kind(case, NoteKind::RunsAnotherFile, "runs another file") {
        Outcome::Violated(violations) => Outcome::from_violations(violations.into_iter().filter(is_entry).collect()),
        other => other,
    }
}
