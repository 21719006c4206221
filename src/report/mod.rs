//! Findings and how they are written down: text for people, JSON and JSON lines for programs.

mod finding;
mod json;
mod ladder;
#[allow(clippy::module_inception)]
mod report;
mod reporter;
mod text;

pub use finding::{Evidence, Finding, Level, MAX_QUOTE_CHARS, RuleId, quote, visible};
pub use json::{Json, JsonLines};
pub use ladder::{Rung, Standing};
pub use report::{Audit, Fact, PolicyRef, Report, Skipped, SubjectFile, SubjectKind};
pub use reporter::{Detail, Reporter};
pub use text::Text;
