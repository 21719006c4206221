//! A complete record folder of what was rerun, in the challenge's spelling.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::atomic_write::{self, WriteError};
use crate::escape::visible;
use crate::rerun::judge::Judgement;
use crate::rerun::launch::Launch;
use crate::rerun::record::SeedRecord;
use crate::stats::Summary;
use crate::submission::SubmissionJson;

/// Fields of submission.json that a rerun keeps: who, what, when.
const KEPT_FIELDS: [&str; 7] = ["author", "github_id", "name", "blurb", "description", "date", "track"];

/// Why there is no record folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFolderError {
    /// Something lies there.
    #[error("{} is there and not empty; name another folder", .0.display())]
    NotEmpty(PathBuf),
    /// A seed has no result.
    #[error("seed {0} has no result, and a record folder shows results")]
    NoResult(u64),
    /// A file could not be copied.
    #[error("{}: {source}", path.display())]
    Copy {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes the folder: script, logs, submission.json, README.
pub fn write_record_folder(
    judgement: &Judgement,
    launch: &Launch,
    original: Option<&SubmissionJson>,
    folder: &Path,
) -> Result<(), RecordFolderError> {
    let copy_error = |path: &Path| {
        let path = path.to_path_buf();
        move |source| RecordFolderError::Copy { path, source }
    };
    fs::create_dir_all(folder).map_err(copy_error(folder))?;
    if fs::read_dir(folder).map_err(copy_error(folder))?.next().is_some() {
        return Err(RecordFolderError::NotEmpty(folder.to_path_buf()));
    }
    if let Some(record) = judgement.records.iter().find(|record| record.result().is_none()) {
        return Err(RecordFolderError::NoResult(record.seed));
    }
    for file in &launch.files {
        let to = folder.join(file);
        to.parent().map_or(Ok(()), fs::create_dir_all).map_err(copy_error(&to))?;
        fs::copy(launch.folder.join(file), &to).map_err(copy_error(&to))?;
    }
    for record in &judgement.records {
        let to = folder.join(format!("train_seed{}.log", record.seed));
        let from = judgement.folder.join(format!("seed-{}/output.log", record.seed));
        fs::copy(from, &to).map_err(copy_error(&to))?;
    }
    let fields = submission_json(judgement, original);
    let text = format!("{:#}\n", Value::Object(fields));
    atomic_write::write(&folder.join("submission.json"), text.as_bytes())?;
    atomic_write::write(&folder.join("README.md"), readme(judgement, launch, original).as_bytes())?;
    Ok(())
}

/// Eight digits, as logs print them.
fn rounded(value: f64) -> f64 {
    (value * 1e8).round() / 1e8
}

fn mean(records: &[SeedRecord], of: impl Fn(&SeedRecord) -> Option<f64>) -> Option<f64> {
    let values: Option<Vec<f64>> = records.iter().map(of).collect();
    let values = values.filter(|values| !values.is_empty())?;
    Some(rounded(values.iter().sum::<f64>() / values.len() as f64))
}

fn bpb(record: &SeedRecord) -> Option<f64> {
    Some(record.result()?.val_bpb)
}

fn submission_json(judgement: &Judgement, original: Option<&SubmissionJson>) -> Map<String, Value> {
    let mut fields = Map::new();
    for name in KEPT_FIELDS {
        if let Some(value) = original.and_then(|json| json.fields.get(name)) {
            fields.insert(name.into(), value.clone());
        }
    }
    fields.entry("name").or_insert_with(|| json!(judgement.name));
    let records = &judgement.records;
    if let Some(loss) = mean(records, |record| record.result()?.val_loss) {
        fields.insert("val_loss".into(), json!(loss));
    }
    fields.insert("val_bpb".into(), json!(mean(records, bpb)));
    fields.insert("seeds".into(), json!(records.iter().map(|record| record.seed).collect::<Vec<_>>()));
    let mut results = Map::new();
    for record in records {
        let mut result = Map::new();
        if let Some(value) = record.result() {
            value.val_loss.map(|loss| result.insert("val_loss".into(), json!(loss)));
            result.insert("val_bpb".into(), json!(value.val_bpb));
        }
        record.total_bytes().map(|total| result.insert("bytes_total".into(), json!(total)));
        results.insert(record.seed.to_string(), Value::Object(result));
    }
    fields.insert("seed_results".into(), Value::Object(results));
    if let Some(worst) = records.iter().max_by_key(|record| record.total_bytes())
        && let Some(total) = worst.total_bytes()
    {
        fields.insert("bytes_total".into(), json!(total));
        fields.insert("bytes_code".into(), json!(worst.code_bytes));
    }
    let machine = &judgement.machine;
    let hardware = match machine.gpus.first() {
        Some(first) => format!("{}x {first}", machine.gpus.len()),
        None => format!("{} processors, no GPU", machine.processors),
    };
    fields.insert("hardware".into(), json!(hardware));
    fields
}

fn readme(judgement: &Judgement, launch: &Launch, original: Option<&SubmissionJson>) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_readme(judgement, launch, original, &mut out);
    out
}

fn write_readme(
    judgement: &Judgement,
    launch: &Launch,
    original: Option<&SubmissionJson>,
    out: &mut String,
) -> std::fmt::Result {
    let name = original.and_then(|json| json.text_field("name")).unwrap_or(&judgement.name);
    writeln!(out, "# {}\n", visible(name))?;
    let records = &judgement.records;
    writeln!(out, "Run again by {}: {} seeds.\n", judgement.harness, records.len())?;
    writeln!(out, "| seed | val_loss | val_bpb | bytes |\n|---:|---:|---:|---:|")?;
    for record in records {
        let Some(result) = record.result() else { continue };
        let loss = result.val_loss.map_or_else(|| "-".into(), |loss| format!("{loss:.8}"));
        let bytes = record.total_bytes().map_or_else(|| "-".into(), |total| total.to_string());
        writeln!(out, "| {} | {loss} | {:.8} | {bytes} |", record.seed, result.val_bpb)?;
    }
    let values: Vec<f64> = records.iter().filter_map(bpb).collect();
    if let Some(mean) = mean(records, bpb) {
        write!(out, "\nMean val_bpb: **{mean:.8}**")?;
    }
    if let Ok(summary) = Summary::of(&values) {
        write!(out, ", standard deviation {:.6}", summary.sd())?;
    }
    if let Some(welch) = &judgement.comparison.welch {
        write!(out, "; Welch's test against the seeds claimed before: two-sided p {:.4}", welch.p)?;
    }
    writeln!(out, ".\n")?;
    let machine = &judgement.machine;
    writeln!(
        out,
        "Each seed was run by itself, from the script in this folder, with nothing of an earlier run in reach. Every line \
         of its log was timed by the supervisor's clock, and the artifact was found by its content and measured.\n"
    )?;
    if !judgement.remarks.iter().any(|remark| matches!(remark.kind, "inputs_changed" | "changed_its_code")) {
        writeln!(out, "Code and data had the same digests before and after the runs.\n")?;
    }
    match machine.gpus.first() {
        Some(first) => writeln!(out, "* Machine: {} x {}", machine.gpus.len(), visible(first))?,
        None => writeln!(out, "* Machine: {} processors, {}, no GPU", machine.processors, machine.platform)?,
    }
    writeln!(out, "* {}", machine.python)?;
    if let Some(record) = records.first() {
        writeln!(out, "* Isolation: {}", record.surroundings.isolation)?;
    }
    for record in records {
        if let Some(training) = record.times.training {
            writeln!(out, "* Seed {}: {training:.1} s of training, {:.1} s in all", record.seed, record.times.total)?;
        }
    }
    writeln!(out, "\n```bash")?;
    let seed = records.first().map_or(0, |record| record.seed);
    let mut variables = launch.variables(seed);
    // Not where data happens to lie on this machine.
    variables.extend(launch.stated.clone());
    for (name, value) in variables {
        write!(out, "{name}={} ", quoted(&value))?;
    }
    let mut command = launch.command(seed, Path::new("")).into_iter();
    command.next();
    let words: Vec<String> = std::iter::once("python3".to_string()).chain(command).map(|word| quoted(&word)).collect();
    writeln!(out, "{}\n```", words.join(" "))
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_string();
    }
    format!("'{}'", visible(word).replace('\'', "'\\''"))
}
