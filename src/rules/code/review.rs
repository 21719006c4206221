//! Classes that only a person or a rerun decides: the rules point at lines and ask, they never fail.

use std::cell::LazyCell;
use std::collections::BTreeSet;

use super::{MAX_PLACES, survey};
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::code::settings::is_on;
use crate::submission::code::shell::{self, Word};
use crate::submission::code::{Note, NoteKind};
use crate::submission::log::LogFile;

/// What all rules here share.
const REVIEW: Rule = Rule { severity: Severity::Review, evidence: EvidenceKind::Person, ..Rule::BLANK };

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("code_ngram_cache"),
        statement: "The script has an n-gram or phrase cache: is its distribution normalized before the target is seen?",
        reference: "ruling of 2026-03-27 (PR 779's thread): hashed n-gram caches are out; condition 2 of issue 1017",
        why: "With the target inside the lookup key the probabilities of all tokens need not sum to 1.",
        example: "key = (ctx_hash ^ (target * PRIME)) % BUCKETS",
        check: Check::Folder(|case| of_kind(case, NoteKind::NgramCache, "builds or mixes an n-gram cache")),
        ..REVIEW
    },
    Rule {
        id: RuleId("ppm_or_cache_mixing"),
        statement: "The script mixes a PPM model or a cache into the probabilities: normalized, and over which alphabet?",
        reference: "issue 1872 (open since April 2026): mixtures over bytes; #1902 (2026-04-28) left them off the board",
        why: "A mixture over bytes is no distribution over tokens; a score made of both compares with nothing.",
        example: "class PPMD: ...; p = (1 - w) * p_model + w * ppm.prob(target)",
        check: Check::Folder(|case| {
            of_kind(case, NoteKind::CacheMixing, "defines a mixture with a PPM model or a cache")
        }),
        ..REVIEW
    },
    Rule {
        id: RuleId("code_slot"),
        statement: "The script optimizes an offset for each sample (SLOT) on positions that it then scores.",
        reference: "pending ruling in issue 1336; PR 1240 shows the effect on every pair of positions",
        why: "Optimizing on a position and then scoring it uses the answer.",
        example: "for _ in range(SLOT_STEPS): loss = score(x + delta, y); loss.backward()",
        check: Check::Folder(|case| of_kind(case, NoteKind::Slot, "optimizes an offset on what is scored")),
        ..REVIEW
    },
    Rule {
        id: RuleId("code_trains_before_scoring"),
        statement: "Validation text is trained on before its score is fixed.",
        reference: "challenge README, FAQ: test-time training only on tokens already scored; condition 3 of issue 1017",
        why: "Training on a token and then scoring it measures memory.",
        example: "for epoch in range(3): model(val_tokens).backward(); optimizer.step()",
        check: Check::Folder(|case| {
            of_kind(case, NoteKind::TrainsBeforeScoring, "trains on validation text before it is scored")
        }),
        ..REVIEW
    },
    Rule {
        id: RuleId("last_epoch_scored"),
        statement: "Several passes are trained over validation text, and the score of a later pass is kept.",
        reference: "condition 4 of issue 1017: one pass, no rescoring; rulings on PR 568 and PR 1376",
        why: "From the second pass on the text is known.",
        example: "for epoch in range(5): for x, y in val: ...; if epoch == 4: nll += loss",
        check: Check::Folder(|case| {
            of_kind(case, NoteKind::LaterPassScored, "trains in a loop of passes over text that is scored in it")
        }),
        ..REVIEW
    },
    Rule {
        id: RuleId("code_adapts_after_scoring"),
        statement: "The script adapts to validation text after scoring it: lawful, and worth knowing.",
        reference: "challenge README, FAQ: test-time training only on tokens already scored",
        severity: Severity::Note,
        why: "The order of scoring and training was read from the code; a rerun proves it.",
        example: "nll += loss_of(chunk); loss.backward(); optimizer.step()",
        check: Check::Folder(|case| of_kind(case, NoteKind::TrainsAfterScoring, "adapts after scoring")),
        ..REVIEW
    },
    Rule {
        id: RuleId("paid_prefix"),
        statement: "Validation tokens are written into a file or compressed: are they in the artifact?",
        reference: "challenge README, FAQ: no validation data in the artifact (\"paid prefix\"); #168, #262, #275 are out of scope",
        why: "Text that is stored need not be predicted.",
        example: "blob = lzma.compress(val_tokens[:N].numpy().tobytes())",
        check: Check::Folder(|case| of_kind(case, NoteKind::PaidPrefix, "stores validation tokens")),
        ..REVIEW
    },
    Rule {
        id: RuleId("code_validation_in_calibration"),
        statement: "Calibration or quantization mentions validation data.",
        reference: "ruling on PR 728: calibration on validation data is not allowed; PR 1019 was merged with its own samples",
        why: "Quantization fitted to the test set is training on it.",
        example: "def collect_hessians(model, val_tokens): ...",
        check: Check::Folder(|case| {
            of_kind(case, NoteKind::ValidationInCalibration, "calibrates with validation data in reach")
        }),
        ..REVIEW
    },
    Rule {
        id: RuleId("code_network"),
        statement: "The script can reach the network: at evaluation it must not.",
        reference: "challenge README, FAQ: the artifact is self-contained, no downloads or network calls during evaluation",
        why: "Whatever is downloaded does not count toward 16,000,000 bytes.",
        example: "from huggingface_hub import hf_hub_download",
        check: Check::Folder(network),
        ..REVIEW
    },
    Rule {
        id: RuleId("code_external_program"),
        statement: "The script starts another program or loads a compiled library: is it there, and does it count?",
        reference: "PR 1855 needed `lrzip`; disputed, let through",
        why: "A system package is neither in the folder nor in the budget.",
        example: "subprocess.run([\"lrzip\", \"-z\", path])",
        check: Check::Folder(|case| of_kind(case, NoteKind::ExternalProgram, "starts a program or loads a library")),
        ..REVIEW
    },
];

fn network(case: &FolderCase) -> Outcome {
    let reached = of_kind(case, NoteKind::Network, "imports or calls something that reaches the network");
    if !matches!(reached, Outcome::Holds(_)) {
        return reached;
    }
    match of_kind(case, NoteKind::NetworkElsewhere, "reports to a service or fetches data, not at evaluation") {
        Outcome::Violated(violations) => {
            Outcome::Violated(violations.into_iter().map(|violation| violation.graded(Severity::Note)).collect())
        }
        other => other,
    }
}

/// Variables that the README's commands and the shell scripts switch on.
fn set_by_commands(case: &FolderCase) -> BTreeSet<String> {
    let readme = case.folder.readme.as_ref().map_or("", |readme| readme.text.as_str());
    let scripts = case.folder.code.iter().filter(|code| code.path.ends_with(".sh"));
    let by_script = scripts.filter_map(|code| Some(shell::parse(code.text.as_deref()?, 1))).flatten();
    let given = shell::commands(readme).into_iter().chain(by_script).flat_map(|command| {
        let is_export = command.words.first().is_some_and(|word| matches!(word.literal(), Some("export" | "env")));
        let exported = command.words.iter().filter(|_| is_export).filter_map(Word::assignment);
        command.assignments.iter().cloned().chain(exported).collect::<Vec<_>>()
    });
    given.filter(|given| is_on(&given.value.text())).map(|given| given.name).collect()
}

/// Whether the run's own commands, or its logs, switch on what is off by default.
fn is_switched_on(case: &FolderCase, set_by_commands: &BTreeSet<String>, variable: &str) -> bool {
    let set = set_by_commands.contains(variable);
    // What the logs print of their settings, any run of them.
    let printed = |log: &LogFile| log.switches.get(&variable.to_ascii_lowercase()).copied();
    let printed: Vec<bool> = case.folder.logs.iter().filter_map(printed).collect();
    if !printed.is_empty() {
        return set || printed.contains(&true);
    }
    // The labels of final results say what was evaluated.
    let first = variable.split('_').next().unwrap_or_default().to_ascii_lowercase();
    let labels = case.folder.logs.iter().flat_map(|log| log.finals()).map(|metric| metric.label.to_ascii_lowercase());
    set || first.len() >= 3 && labels.into_iter().any(|label| label.contains(&first))
}

pub(super) fn of_kind(case: &FolderCase, kind: NoteKind, what: &str) -> Outcome {
    let survey = survey(case);
    if survey.counted.is_empty() {
        return Outcome::NotApplicable;
    }
    // Commands are read once, and only where a note depends on them.
    let commands = LazyCell::new(|| set_by_commands(case));
    let runs = |note: &&Note| note.switch.as_ref().is_none_or(|variable| is_switched_on(case, &commands, variable));
    let mut violations = Vec::new();
    let mut off: Option<&str> = None;
    for file in survey.files.iter().filter(|file| survey.counted.contains(&file.path)) {
        let of_kind = file.notes.iter().filter(|note| note.kind == kind);
        let (places, idle): (Vec<&Note>, Vec<&Note>) = of_kind.partition(runs);
        off = off.or_else(|| idle.first().and_then(|note| note.switch.as_deref()));
        let Some(first) = places.first() else { continue };
        // Lines of packed code are not lines of the file.
        let inside = matches!(file.packed, Some(Ok(_))) && !first.outer;
        let of = if inside { " of the code inside" } else { "" };
        let more = match places.len() - 1 {
            0 => String::new(),
            1 => ", and in one more place".to_string(),
            n => format!(", and in {n} more places"),
        };
        let detail = if first.detail.is_empty() { String::new() } else { format!(": {}", first.detail) };
        let message = format!("{}: line {}{of} {what}{detail}{more}", file.path, first.line);
        let mut lines: Vec<(u64, &str)> = Vec::new();
        for note in &places {
            let mut own: Vec<(u64, &str)> = note.others.iter().map(|(line, text)| (*line, text.as_str())).collect();
            own.push((note.line, &note.text));
            own.sort_unstable();
            lines.extend(own);
        }
        lines.dedup();
        let evidence = lines.into_iter().take(MAX_PLACES).map(|(line, text)| {
            if inside {
                Evidence::file(&file.path).found(format!("line {line} inside: {text}"))
            } else {
                Evidence::at(&file.path, line).found(text)
            }
        });
        violations.push(Violation::new(message, evidence.collect()));
    }
    match off {
        Some(variable) if violations.is_empty() => Outcome::holds(format!("off unless {variable} is set")),
        _ => Outcome::from_violations(violations),
    }
}
