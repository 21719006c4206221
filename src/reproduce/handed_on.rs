//! What was reproduced, as a record folder.

use std::fmt::Write;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, json};

use super::Reproduction;
use crate::escape::visible;
use crate::manifest::{self, Claim, Manifest, ScoreRecord};
use crate::record_folder::{Content, NewRecordFolder, RecordFolderError, SeedResult, seed_count};
use crate::stats::seeds::fewest_bytes_per_token;
use crate::stats::{Board, RecordTerms, SeedRun, against_board};
use crate::units::Bytes;

/// The script of a folder whose manifest has none: the recipe is the manifest, and this program runs it.
const LAUNCHER: &str = include_str!("launcher.py");
/// The script's name in the challenge.
const SCRIPT: &str = "train_gpt.py";
/// The recipe beside it.
const RECIPE: &str = "manifest.yaml";

/// Code files by their path in the folder, and how many bytes they have.
struct Code {
    files: Vec<(String, Content)>,
    bytes: Bytes,
    is_launcher: bool,
}

/// Writes a record folder of reproductions of one recipe, a seed each; `recipe` is what was reproduced, with every
/// override applied. With a board, its README sets the runs against the record that stood.
pub fn write_record_folder(
    runs: &[Box<Reproduction>],
    recipe: &Manifest,
    against: Option<(&Board, &RecordTerms)>,
    folder: &Path,
) -> Result<(), RecordFolderError> {
    let Some(first) = runs.first() else { return Ok(()) };
    let code = first.code();
    let results: Result<Vec<SeedResult>, RecordFolderError> = runs.iter().map(|run| run.result(code.bytes)).collect();
    let results = results?;
    let claim = &recipe.claim;
    let mut identity = Map::new();
    identity.insert("author".into(), json!(claim.author.as_deref().unwrap_or("golf-harness")));
    identity.insert("name".into(), json!(claim.title.as_deref().unwrap_or(&recipe.name)));
    claim.date.as_ref().map(|date| identity.insert("date".into(), json!(date)));
    // One process on one device, whatever the claim was timed on: no entry to the track of 8 H100.
    identity.insert("track".into(), json!("non-record-16mb"));
    let seeds: Vec<String> = runs.iter().map(|run| run.manifest.schedule.seed.to_string()).collect();
    let program = if code.is_launcher { format!("python3 {SCRIPT}") } else { format!("reproduce {RECIPE}") };
    let is_launcher = code.is_launcher;
    let mut files = code.files;
    files.push((RECIPE.into(), Content::Text(manifest::to_yaml(recipe))));
    let new = NewRecordFolder {
        identity,
        hardware: first.hardware(),
        board: against.map_or_else(Vec::new, |(board, terms)| board_lines(&results, claim, board, terms)),
        seeds: results,
        files,
        made: format!(
            "Trained, packed and scored by golf-harness {}: {}.",
            env!("CARGO_PKG_VERSION"),
            seed_count(runs.len())
        ),
        test: None,
        paragraphs: vec![about_code(is_launcher)],
        facts: std::iter::once(format!("Machine: {}", first.hardware()))
            .chain(runs.iter().map(|run| run.fact()))
            .collect(),
        command: format!("{program} --seeds {}", seeds.join(",")),
    };
    new.write(folder)
}

/// The runs against the record that stood on the claim's day.
fn board_lines(results: &[SeedResult], claim: &Claim, board: &Board, terms: &RecordTerms) -> Vec<String> {
    let runs: Vec<SeedRun> = results
        .iter()
        .map(|result| SeedRun { seed: Some(result.seed), val_bpb: result.val_bpb, val_loss: result.val_loss })
        .collect();
    let day = (claim.date.as_deref(), claim.pr());
    match against_board(board, day, (&runs, &runs), fewest_bytes_per_token(&runs), terms) {
        None => vec!["Against the board: it has no record from before this claim".into()],
        Some((entry, Err(reason))) => vec![format!("Against {}: not decided: {reason}", visible(&entry.label()))],
        Some((entry, Ok(report))) => {
            let verdict = format!("Against {}: {}", visible(&entry.label()), report.verdict_with_warnings());
            std::iter::once(verdict).chain(report.test_lines()).collect()
        }
    }
}

fn about_code(is_launcher: bool) -> String {
    if is_launcher {
        format!(
            "`{RECIPE}` is the recipe, and `{SCRIPT}` starts golf-harness on it. bytes_code counts that script alone: the \
             program is not part of it, so the total is no measure of a submission that stands by itself."
        )
    } else {
        format!(
            "`{RECIPE}` is the recipe that golf-harness ran. `{SCRIPT}` is the code that the manifest counts; it was not \
             run here."
        )
    }
}

impl Reproduction {
    fn result(&self, code: Bytes) -> Result<SeedResult, RecordFolderError> {
        let seed = self.manifest.schedule.seed;
        let (Some(score), Some(artifact)) = (self.headline(), self.manifest.artifact.as_ref()) else {
            return Err(RecordFolderError::NoResult(seed));
        };
        let total = Bytes(artifact.bytes.0.saturating_add(code.0));
        let sizes = Sizes { model: artifact.bytes, code, total };
        Ok(SeedResult {
            seed,
            val_loss: Some(digits(score.val_loss.0)),
            val_bpb: digits(score.val_bpb.0),
            total_bytes: Some(total),
            code_bytes: code,
            log: Content::Text(self.log(score, &sizes)?),
        })
    }

    /// The manifest's code if all of it is here, else the launcher.
    fn code(&self) -> Code {
        let root = self.folder.root();
        let here: Option<Vec<(String, PathBuf, u64)>> = self
            .manifest
            .code
            .iter()
            .map(|file| {
                let inside = file.path.strip_prefix("code").unwrap_or(&file.path);
                let is_plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
                let from = root.join(&file.path);
                let data = fs::symlink_metadata(&from).ok().filter(|data| is_plain && data.is_file())?;
                Some((inside.to_str()?.to_string(), from, data.len()))
            })
            .collect();
        match here.filter(|files| files.iter().any(|(name, ..)| name == SCRIPT)) {
            Some(files) => Code {
                bytes: Bytes(files.iter().map(|(.., bytes)| bytes).sum()),
                files: files.into_iter().map(|(name, from, _)| (name, Content::File(from))).collect(),
                is_launcher: false,
            },
            None => Code {
                bytes: Bytes(LAUNCHER.len() as u64),
                files: vec![(SCRIPT.into(), Content::Text(LAUNCHER.into()))],
                is_launcher: true,
            },
        }
    }

    /// The training log, then sizes and result in the challenge's words.
    fn log(&self, score: &ScoreRecord, bytes: &Sizes) -> Result<String, RecordFolderError> {
        let path = self.folder.train_log();
        let mut log = fs::read_to_string(&path).map_err(|source| RecordFolderError::Copy { path, source })?;
        // Writing into a String cannot fail.
        let _ = self.write_end(score, bytes, &mut log);
        Ok(log)
    }

    fn write_end(&self, score: &ScoreRecord, bytes: &Sizes, log: &mut String) -> std::fmt::Result {
        if !log.is_empty() && !log.ends_with('\n') {
            writeln!(log)?;
        }
        let Sizes { model, code, total } = bytes;
        if let Ok(raw) = fs::metadata(self.folder.checkpoint()) {
            writeln!(log, "Serialized model: {} bytes", raw.len())?;
        }
        writeln!(log, "Code size: {} bytes", code.0)?;
        writeln!(log, "Serialized model packed: {} bytes", model.0)?;
        writeln!(log, "Total submission size packed: {} bytes", total.0)?;
        let (loss, bpb) = (score.val_loss.0, score.val_bpb.0);
        if let Some(seconds) = self.eval_seconds {
            let milliseconds = (seconds * 1000.0).round();
            writeln!(log, "final_packed_roundtrip val_loss:{loss:.4} val_bpb:{bpb:.4} eval_time:{milliseconds:.0}ms")?;
        }
        writeln!(log, "final_packed_roundtrip_exact val_loss:{loss:.8} val_bpb:{bpb:.8}")
    }

    fn hardware(&self) -> String {
        let environment = self.manifest.environment.as_ref();
        let device = environment.and_then(|environment| environment.devices.first());
        let is_on_device = self.headline().is_some_and(|score| score.engine.starts_with("cuda"));
        match (device, environment) {
            (Some(device), _) if is_on_device => format!("1x {}", visible(device)),
            (_, Some(environment)) => format!("{}, no GPU", visible(&environment.cpu)),
            (_, None) => "not recorded".into(),
        }
    }

    /// A line of the README.
    fn fact(&self) -> String {
        let mut parts = Vec::new();
        if let Some(training) = &self.manifest.results.training {
            parts.push(format!("{} steps, {:.1} s of training", training.steps, training.train_time_ms.0 / 1000.0));
        }
        parts.extend(self.headline().map(|score| {
            format!(
                "{} tokens scored by engine {}, {} bytes of text",
                score.tokens,
                visible(&score.engine),
                score.bytes
            )
        }));
        let artifact = self.manifest.artifact.as_ref();
        parts.extend(
            artifact.map(|artifact| format!("artifact of {} bytes, SHA-256 {}", artifact.bytes, artifact.sha256)),
        );
        if !self.kept.is_empty() {
            let kept: Vec<&str> = self.kept.iter().map(|stage| stage.key()).collect();
            parts.push(format!("kept from an earlier call: {}", kept.join(", ")));
        }
        format!("Seed {}: {}", self.manifest.schedule.seed, parts.join("; "))
    }
}

/// Bytes that the budget counts.
struct Sizes {
    model: Bytes,
    code: Bytes,
    total: Bytes,
}

/// As many digits as the log has.
fn digits(value: f64) -> f64 {
    (value * 1e8).round() / 1e8
}
