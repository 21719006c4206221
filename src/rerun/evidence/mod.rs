//! What is handed on: report, comment, page, statement, and a complete record folder.

mod handed_on;
mod page;
mod statement;

use std::path::{Path, PathBuf};

pub use handed_on::write_record_folder;
pub use statement::{PREDICATE_TYPE, statement};

use super::judge::{Judgement, markdown};
use super::record::Inputs;
use crate::atomic_write::{self, WriteError};

/// Names in the run folder.
pub const REPORT: &str = "report.json";
/// A comment for a pull request.
pub const COMMENT: &str = "report.md";
/// A page to open in a browser.
pub const PAGE: &str = "report.html";
/// An in-toto statement.
pub const STATEMENT: &str = "statement.intoto.json";

/// Writes report, comment, page and statement into the run folder; gives their paths.
pub fn write(judgement: &Judgement, inputs: &Inputs, out: &Path) -> Result<Vec<PathBuf>, WriteError> {
    let json = |path: &Path, value: serde_json::Result<Vec<u8>>| {
        let text = value.map_err(|error| WriteError::new(path, error.into()))?;
        atomic_write::write(path, &text)
    };
    let [report, comment, attested] = [REPORT, COMMENT, STATEMENT].map(|name| out.join(name));
    json(&report, serde_json::to_vec_pretty(judgement))?;
    atomic_write::write(&comment, markdown(judgement).as_bytes())?;
    json(&attested, serde_json::to_vec_pretty(&statement(judgement, inputs)))?;
    page::page(judgement, inputs, out).write(&out.join(PAGE))?;
    Ok(vec![report, comment, attested])
}
