//! The number of parameters: what logs, submission.json, README and artifact say of one model.

use super::carriers::parts;
use super::{DEFAULT, cite};
use crate::manifest::Track;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::log::Noted;
use crate::submission::{ClaimedField, LogFile, Opened};
use crate::units::group_digits;

pub(super) const RULES: &[Rule] = &[Rule {
    id: RuleId("parameter_count_differs"),
    statement: "Logs, submission.json, README or artifact speak of models of different sizes.",
    reference: "challenge README, file list 3 (2026-03-18), and custom (#2124, 2026-05-01): all runs from one submitted configuration; the script prints `model_params`",
    evidence: EvidenceKind::Logs,
    why: "Another number of parameters is another model: the run, the claim or the artifact is not the submitted one. Rounded numbers are no difference. False alarms: a claim that leaves embeddings out, or counts tied ones twice.",
    example: "train_seed42.log: model_params:26993788; train_seed7.log: model_params:27124860",
    check: Check::Folder(differs),
    ..DEFAULT
}];

/// Fields that claim the number.
const KEYS: &[&str] =
    &["model_params", "num_params", "parameters", "n_params", "total_params", "param_count", "params"];
/// An artifact holds scales and codes beside its weights, but not so many.
const ARTIFACT_ROOM: f64 = 1.5;

fn differs(case: &FolderCase) -> Outcome {
    let parts = parts(case.folder);
    let logged: Vec<(&LogFile, &Noted<u64>)> = parts
        .iter()
        .filter(|part| part.carries)
        .filter_map(|part| {
            let first = part.log.parameters.iter().find(|noted| part.lines.contains(noted.line))?;
            Some((part.log, first))
        })
        .collect();
    let Some((log, noted)) = logged.first() else {
        return Outcome::unknown("no log says how many parameters the model has");
    };
    let count = noted.value;
    let mut evidence = Vec::new();
    let mut sources = Vec::new();
    let others: Vec<_> = logged.iter().filter(|(_, other)| other.value != count).collect();
    if !others.is_empty() {
        sources.push("another log");
        evidence.extend(others.iter().map(|(log, noted)| cited(log, noted)));
    }
    let numbers: std::collections::BTreeSet<u64> =
        case.folder.logs.iter().flat_map(|log| log.parameters.iter().map(|noted| noted.value)).collect();
    if let Some(json) = &case.folder.submission
        && let Some((key, claimed)) = KEYS.iter().find_map(|key| Some((*key, json.number(key)?)))
        && claimed.value() >= 10_000.0
        && !numbers.iter().any(|number| is_rounded(*number, claimed.value()))
    {
        sources.push("submission.json");
        evidence.push(cite(json, &ClaimedField { key: key.into(), number: claimed }));
    }
    if let Some(readme) = &case.folder.readme
        && let Some((line, text)) = other_in_readme(&readme.text, &numbers)
    {
        sources.push("the README");
        evidence.push(Evidence::at(&readme.path, line).found(text));
    }
    for artifact in &case.folder.artifacts {
        if let Opened::Model { values, .. } = artifact.content
            && values as f64 > count as f64 * ARTIFACT_ROOM
        {
            sources.push("the artifact");
            evidence.push(Evidence::file(&artifact.path).found(format!("{} values", group_digits(values.into()))));
        }
    }
    if evidence.is_empty() {
        return Outcome::holds(format!("{} parameters", group_digits(count.into())));
    }
    evidence.insert(0, cited(log, noted));
    sources.dedup();
    let message = format!("{} logged; {} differs", group_digits(count.into()), sources.join(", "));
    let violation = Violation::new(message, evidence);
    // Ablations outside the record track compare models of different sizes.
    let softer = case.track == Track::NonRecord;
    Outcome::Violated(vec![if softer { violation.graded(Severity::Note) } else { violation }])
}

fn cited(log: &LogFile, noted: &Noted<u64>) -> Evidence {
    Evidence::at(&log.path, noted.line).found(format!("{} parameters", group_digits(noted.value.into())))
}

/// Whether a claim is the number, rounded to the digits before its trailing zeros (two at least), or in millions.
fn is_rounded(number: u64, claimed: f64) -> bool {
    let mut step = 1.0;
    while step * 10.0 <= claimed / 10.0 && claimed % (step * 10.0) == 0.0 {
        step *= 10.0;
    }
    (number as f64 - claimed).abs() <= if step >= 1000.0 { step } else { 0.0 }
}

/// `26,993,788 parameters` in the README, where none of its numbers is logged.
fn other_in_readme(text: &str, logged: &std::collections::BTreeSet<u64>) -> Option<(u64, String)> {
    let mut first = None;
    for (at, line) in text.lines().enumerate() {
        let lower = line.to_ascii_lowercase();
        let numbers = lower.match_indices("param").filter_map(|(at, _)| exact_number_before(&lower[..at]));
        let stated = lower.split_once("model_params").and_then(|(_, rest)| exact_number_after(rest));
        for number in numbers.chain(stated) {
            if logged.contains(&number) || is_rounded_to_any(logged, number) {
                return None;
            }
            first.get_or_insert((at as u64 + 1, line.trim().to_string()));
        }
    }
    first
}

fn is_rounded_to_any(logged: &std::collections::BTreeSet<u64>, number: u64) -> bool {
    logged.iter().any(|known| is_rounded(*known, number as f64))
}

/// Seven digits and more, with or without commas, right before.
fn exact_number_before(text: &str) -> Option<u64> {
    let text = text.trim_end_matches([' ', '*', '`', '_']).trim_end_matches("model").trim_end();
    let digits: String = text.chars().rev().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
    exact(&digits.chars().rev().collect::<String>())
}

fn exact_number_after(text: &str) -> Option<u64> {
    let text = text.trim_start_matches([':', '=', ' ', '`', '*', '|']);
    exact(&text.chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect::<String>())
}

fn exact(digits: &str) -> Option<u64> {
    let plain = digits.replace(',', "");
    if plain.len() < 7 { None } else { plain.parse().ok() }
}
