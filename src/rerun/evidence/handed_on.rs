//! What was rerun, as a record folder.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::escape::visible;
use crate::record_folder::{Content, NewRecordFolder, RecordFolderError, SeedResult, seed_count};
use crate::rerun::judge::{Judgement, Standing};
use crate::rerun::launch::Launch;
use crate::submission::SubmissionJson;

/// Fields of submission.json that a rerun keeps: who, what, when.
const KEPT_FIELDS: [&str; 7] = ["author", "github_id", "name", "blurb", "description", "date", "track"];

/// Writes the folder: script, logs, submission.json, README.
pub fn write_record_folder(
    judgement: &Judgement,
    launch: &Launch,
    original: Option<&SubmissionJson>,
    folder: &Path,
) -> Result<(), RecordFolderError> {
    let machine = &judgement.machine;
    let hardware = match machine.gpus.first() {
        Some(first) => format!("{}x {first}", machine.gpus.len()),
        None => format!("{} processors, no GPU", machine.processors),
    };
    let files = launch.files.iter().map(|file| (file.clone(), Content::File(launch.folder.join(file))));
    let welch = judgement.comparison.welch.as_ref();
    let new = NewRecordFolder {
        identity: identity(judgement, original),
        hardware,
        seeds: seeds(judgement)?,
        files: files.collect(),
        made: format!("Run again by {}: {}.", judgement.harness, seed_count(judgement.records.len())),
        test: welch.map(|welch| format!("Welch's test against the seeds claimed before: two-sided p {:.4}", welch.p)),
        board: judgement.standing.as_ref().map_or_else(Vec::new, Standing::lines),
        paragraphs: paragraphs(judgement),
        facts: facts(judgement),
        command: command(judgement, launch),
    };
    new.write(folder)
}

fn identity(judgement: &Judgement, original: Option<&SubmissionJson>) -> Map<String, Value> {
    let mut fields = Map::new();
    for name in KEPT_FIELDS {
        if let Some(value) = original.and_then(|json| json.fields.get(name)) {
            fields.insert(name.into(), value.clone());
        }
    }
    fields.entry("name").or_insert_with(|| json!(judgement.name));
    fields
}

fn seeds(judgement: &Judgement) -> Result<Vec<SeedResult>, RecordFolderError> {
    let of = |record: &crate::rerun::record::SeedRecord| {
        let result = record.result().ok_or(RecordFolderError::NoResult(record.seed))?;
        Ok(SeedResult {
            seed: record.seed,
            val_loss: result.val_loss,
            val_bpb: result.val_bpb,
            total_bytes: record.total_bytes(),
            code_bytes: record.code_bytes,
            log: Content::File(judgement.folder.join(format!("seed-{}/output.log", record.seed))),
        })
    };
    judgement.records.iter().map(of).collect()
}

fn paragraphs(judgement: &Judgement) -> Vec<String> {
    let mut paragraphs = vec![
        "Each seed was run by itself, from the script in this folder, with nothing of an earlier run in reach. Every line \
         of its log was timed by the supervisor's clock, and the artifact was found by its content and measured."
            .to_string(),
    ];
    if !judgement.remarks.iter().any(|remark| matches!(remark.kind, "inputs_changed" | "changed_its_code")) {
        paragraphs.push("Code and data had the same digests before and after the runs.".into());
    }
    paragraphs
}

fn facts(judgement: &Judgement) -> Vec<String> {
    let machine = &judgement.machine;
    let mut facts = vec![match machine.gpus.first() {
        Some(first) => format!("Machine: {} x {}", machine.gpus.len(), visible(first)),
        None => format!("Machine: {} processors, {}, no GPU", machine.processors, machine.platform),
    }];
    facts.push(machine.python.clone());
    facts.extend(judgement.records.first().map(|record| format!("Isolation: {}", record.surroundings.isolation)));
    facts.extend(judgement.records.iter().filter_map(|record| {
        let training = record.times.training?;
        Some(format!("Seed {}: {training:.1} s of training, {:.1} s in all", record.seed, record.times.total))
    }));
    facts
}

fn command(judgement: &Judgement, launch: &Launch) -> String {
    let seed = judgement.records.first().map_or(0, |record| record.seed);
    let mut variables = launch.variables(seed);
    // Not where data happens to lie on this machine.
    variables.extend(launch.stated.clone());
    let variables = variables.into_iter().map(|(name, value)| format!("{name}={}", quoted(&value)));
    let words = launch.typed_command(seed).into_iter().map(|word| quoted(&word));
    variables.chain(words).collect::<Vec<String>>().join(" ")
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_string();
    }
    format!("'{}'", visible(word).replace('\'', "'\\''"))
}
