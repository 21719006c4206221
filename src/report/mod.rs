//! Findings and how they are written down: text and Markdown for people, JSON, CSV, SARIF, JUnit, workflow commands
//! and in-toto statements for programs.

mod assurance;
mod conclusion;
mod csv;
mod csv_summary;
mod finding;
mod format;
mod github;
pub mod in_toto;
mod json;
mod junit;
mod location;
mod markdown;
mod profile;
#[allow(clippy::module_inception)]
mod report;
mod reporter;
mod rule_info;
#[cfg(test)]
mod sample;
mod sarif;
mod status;
mod text;
mod view;

pub use assurance::{Assurance, Level};
pub use conclusion::Conclusion;
pub use csv::Csv;
pub use csv_summary::{CsvSummary, HEADER as CSV_SUMMARY_HEADER};
pub use finding::{Evidence, Finding, MAX_QUOTE_CHARS, RuleId, Severity, quote};
pub use format::Format;
pub use github::GitHub;
pub use in_toto::InToto;
pub use json::{FINDING_SCHEMA, FindingLine, Json, JsonLines};
pub use junit::JUnit;
pub use markdown::Markdown;
pub use profile::{
    Caps, Cited, ClaimRow, Event, Excerpt, Finite, MAX_EXCERPTS, MAX_MARKS, MAX_ROWS, MAX_RUNS, MAX_SERIES, Point,
    Profile, RecordProfile, RunProfile, SizeProfile,
};
pub use report::{Audit, Defaults, Fact, PolicyRef, Report, SkipCause, Skipped, SubjectFile, SubjectKind};
pub use reporter::{Detail, Reporter};
pub use rule_info::{RuleInfo, RuleLookup};
pub use sarif::Sarif;
pub use status::Status;
pub use text::{TREE_COLUMNS, Text};
pub use view::{Order, View};
