//! What a rule found: a severity, a sentence, and the evidence it rests on.

use crate::escape::{push_visible, visible};
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::Status;

/// A rule's name, stable across versions: lower-case words joined by `_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct RuleId(pub &'static str);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

/// How bad a finding is. Ordered from best to worst, the order in which reports print them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The rule was checked and holds.
    Pass,
    /// Worth knowing; nobody has to act.
    Note,
    /// The evidence needed is not here, or the check itself broke. Never counts as a pass.
    Unknown,
    /// A person must decide; the tool points at the place.
    Review,
    /// Probably wrong, or against custom.
    Warning,
    /// Against a rule that a machine can decide.
    Fail,
}

impl Severity {
    /// All severities, best first.
    pub const ALL: [Severity; 6] =
        [Severity::Pass, Severity::Note, Severity::Unknown, Severity::Review, Severity::Warning, Severity::Fail];

    /// The word used in every report format.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Pass => "pass",
            Severity::Note => "note",
            Severity::Unknown => "unknown",
            Severity::Review => "review",
            Severity::Warning => "warning",
            Severity::Fail => "fail",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One place in one file, what stands there and what should.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Evidence {
    /// File, relative to the subject, with `/` between parts; empty for the subject as a whole.
    pub path: String,
    /// 1-based line, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What was found, quoted and shortened; control characters made visible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What was expected, where that can be said in one value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// Longest quotation kept, characters: a log line of any length must not fill a report.
pub const MAX_QUOTE_CHARS: usize = 160;

impl Evidence {
    /// A file as a whole.
    pub fn file(path: impl Into<String>) -> Self {
        Evidence { path: visible(&path.into()), ..Evidence::default() }
    }

    /// A line of a file.
    pub fn at(path: impl Into<String>, line: u64) -> Self {
        Evidence { line: Some(line), ..Evidence::file(path) }
    }

    /// Adds what stands there.
    pub fn found(mut self, text: impl fmt::Display) -> Self {
        self.found = Some(quote(&text.to_string()));
        self
    }

    /// Adds what should stand there.
    pub fn expected(mut self, text: impl fmt::Display) -> Self {
        self.expected = Some(quote(&text.to_string()));
        self
    }
}

/// Shortens to [`MAX_QUOTE_CHARS`] and makes control characters visible, so that evidence cannot repaint a terminal.
pub fn quote(text: &str) -> String {
    let text = text.trim();
    let mut quoted = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_QUOTE_CHARS {
            quoted.push('…');
            break;
        }
        push_visible(&mut quoted, c);
    }
    quoted
}

/// What one rule found about one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// Which rule.
    pub rule: RuleId,
    /// How bad.
    pub severity: Severity,
    /// One sentence with the numbers in it.
    pub message: String,
    /// Where to look.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// The check itself failed (an internal error, or a file that could not be read): the run could not check.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub broken: bool,
    /// What the evidence points at is there and was not examined: the audit is incomplete.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// Suppressed by `--allow` or a policy; counts as a note.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allowed: bool,
}

impl Finding {
    /// What it says about the audit itself.
    pub fn status(&self) -> Status {
        match (self.broken, self.incomplete) {
            (true, _) => Status::Broken,
            (false, true) => Status::Incomplete,
            (false, false) => Status::Complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_repaint_a_terminal_or_flood_a_report() {
        assert_eq!(quote("\u{1b}[31mred\r"), "\\u{1b}[31mred");
        assert_eq!(quote("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(quote(&"x".repeat(1 << 20)).chars().count(), MAX_QUOTE_CHARS + 1);
    }

    #[test]
    fn levels_are_ordered_from_best_to_worst() {
        assert!(Severity::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
