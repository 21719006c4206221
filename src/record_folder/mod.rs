//! Writing a record folder in the challenge's spelling: script, logs, submission.json and README of runs made here.
//!
//! `rerun` and `reproduce` make the runs; what they hand in has one form.

use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::atomic_write::{self, WriteError};
use crate::escape::visible;
use crate::stats::Summary;
use crate::units::Bytes;

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

/// Where a file's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file to copy.
    File(PathBuf),
    /// These.
    Text(String),
}

/// A seed's result.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedResult {
    /// The seed.
    pub seed: u64,
    /// Nats per token, where known.
    pub val_loss: Option<f64>,
    /// Bits per byte.
    pub val_bpb: f64,
    /// Code plus artifact, where there is one.
    pub total_bytes: Option<Bytes>,
    /// The code that counts.
    pub code_bytes: Bytes,
    /// Its log.
    pub log: Content,
}

/// A record folder to write.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRecordFolder {
    /// First fields of submission.json: who, what, when; with a `name`.
    pub identity: Map<String, Value>,
    /// What it ran on.
    pub hardware: String,
    /// Results by seed.
    pub seeds: Vec<SeedResult>,
    /// Scripts and other files by their path in the folder.
    pub files: Vec<(String, Content)>,
    /// First sentence of the README.
    pub made: String,
    /// What follows the mean in the README, such as a test.
    pub test: Option<String>,
    /// The runs against a standing record: the verdict, then the tests, one line each.
    pub board: Vec<String>,
    /// Paragraphs below the table.
    pub paragraphs: Vec<String>,
    /// A list of facts below them, one line each.
    pub facts: Vec<String>,
    /// The command that runs the script.
    pub command: String,
}

/// `1 seed`, `3 seeds`.
pub fn seed_count(seeds: usize) -> String {
    if seeds == 1 { "1 seed".into() } else { format!("{seeds} seeds") }
}

/// Refuses a folder in which something lies; one that is not there yet is fine.
pub fn check_empty(folder: &Path) -> Result<(), RecordFolderError> {
    let copy_error = |source| RecordFolderError::Copy { path: folder.to_path_buf(), source };
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(RecordFolderError::NotEmpty(folder.to_path_buf())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(copy_error(error)),
    }
}

impl NewRecordFolder {
    /// Writes everything into a folder that is empty or not there yet.
    pub fn write(&self, folder: &Path) -> Result<(), RecordFolderError> {
        check_empty(folder)?;
        fs::create_dir_all(folder).map_err(copy_error(folder))?;
        for (path, content) in &self.files {
            put(content, &folder.join(path))?;
        }
        for result in &self.seeds {
            put(&result.log, &folder.join(format!("train_seed{}.log", result.seed)))?;
        }
        let text = format!("{:#}\n", Value::Object(self.submission_json()));
        atomic_write::write(&folder.join("submission.json"), text.as_bytes())?;
        let mut readme = String::new();
        // Writing into a String cannot fail.
        let _ = self.write_readme(&mut readme);
        atomic_write::write(&folder.join("README.md"), readme.as_bytes())?;
        Ok(())
    }

    fn mean(&self, of: impl Fn(&SeedResult) -> Option<f64>) -> Option<f64> {
        let values: Option<Vec<f64>> = self.seeds.iter().map(of).collect();
        let values = values.filter(|values| !values.is_empty())?;
        Some(rounded(values.iter().sum::<f64>() / values.len() as f64))
    }

    fn submission_json(&self) -> Map<String, Value> {
        let mut fields = self.identity.clone();
        if let Some(loss) = self.mean(|result| result.val_loss) {
            fields.insert("val_loss".into(), json!(loss));
        }
        fields.insert("val_bpb".into(), json!(self.mean(|result| Some(result.val_bpb))));
        fields.insert("seeds".into(), json!(self.seeds.iter().map(|result| result.seed).collect::<Vec<_>>()));
        let mut results = Map::new();
        for seed in &self.seeds {
            let mut result = Map::new();
            seed.val_loss.map(|loss| result.insert("val_loss".into(), json!(loss)));
            result.insert("val_bpb".into(), json!(seed.val_bpb));
            seed.total_bytes.map(|total| result.insert("bytes_total".into(), json!(total)));
            results.insert(seed.seed.to_string(), Value::Object(result));
        }
        fields.insert("seed_results".into(), Value::Object(results));
        if let Some(worst) = self.seeds.iter().max_by_key(|result| result.total_bytes)
            && let Some(total) = worst.total_bytes
        {
            fields.insert("bytes_total".into(), json!(total));
            fields.insert("bytes_code".into(), json!(worst.code_bytes));
        }
        fields.insert("hardware".into(), json!(self.hardware));
        fields
    }

    fn write_readme(&self, out: &mut String) -> fmt::Result {
        let name = self.identity.get("name").and_then(Value::as_str).unwrap_or_default();
        writeln!(out, "# {}\n\n{}\n", visible(name), self.made)?;
        writeln!(out, "| seed | val_loss | val_bpb | bytes |\n|---:|---:|---:|---:|")?;
        for result in &self.seeds {
            let loss = result.val_loss.map_or_else(|| "-".into(), |loss| format!("{loss:.8}"));
            let bytes = result.total_bytes.map_or_else(|| "-".into(), |total| total.to_string());
            writeln!(out, "| {} | {loss} | {:.8} | {bytes} |", result.seed, result.val_bpb)?;
        }
        if let Some(mean) = self.mean(|result| Some(result.val_bpb)) {
            write!(out, "\nMean val_bpb: **{mean:.8}**")?;
        }
        let values: Vec<f64> = self.seeds.iter().map(|result| result.val_bpb).collect();
        if let Ok(summary) = Summary::of(&values) {
            write!(out, ", standard deviation {:.6}", summary.sd())?;
        }
        if let Some(test) = &self.test {
            write!(out, "; {test}")?;
        }
        writeln!(out, ".\n")?;
        for line in &self.board {
            writeln!(out, "* {line}")?;
        }
        if !self.board.is_empty() {
            writeln!(out)?;
        }
        for paragraph in &self.paragraphs {
            writeln!(out, "{paragraph}\n")?;
        }
        for fact in &self.facts {
            writeln!(out, "* {fact}")?;
        }
        writeln!(out, "\n```bash\n{}\n```", self.command)
    }
}

fn copy_error(path: &Path) -> impl FnOnce(std::io::Error) -> RecordFolderError + use<> {
    let path = path.to_path_buf();
    move |source| RecordFolderError::Copy { path, source }
}

fn put(content: &Content, to: &Path) -> Result<(), RecordFolderError> {
    to.parent().map_or(Ok(()), fs::create_dir_all).map_err(copy_error(to))?;
    match content {
        Content::File(from) => fs::copy(from, to).map(drop).map_err(copy_error(to)),
        Content::Text(text) => Ok(atomic_write::write(to, text.as_bytes())?),
    }
}

/// Eight digits, as logs print them.
fn rounded(value: f64) -> f64 {
    (value * 1e8).round() / 1e8
}
