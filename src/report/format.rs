//! Report formats by name.

use super::{
    Csv, CsvSummary, GitHub, InToto, JUnit, Json, JsonLines, Markdown, Reporter, RuleLookup, Sarif, Severity, Text,
    View,
};

/// A format of the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON document (schema: manifests/audit.schema.json)
    Json,
    /// One JSON object a finding
    Jsonl,
    /// For job summaries and comments
    Markdown,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of GitHub Actions
    Github,
    /// JUnit XML
    Junit,
    /// One finding a row
    Csv,
    /// One subject a row
    CsvSummary,
    /// Unsigned in-toto Statement with a test-result predicate, one a subject
    InToto,
}

impl Format {
    /// Whether it follows a choice of subjects, findings and order; all others are the whole audit.
    pub fn follows_view(self) -> bool {
        matches!(self, Format::Text | Format::Csv | Format::CsvSummary)
    }

    /// The reporter. `fail_on` matters where a format itself says what failed, `rules` where one describes them.
    pub fn reporter(self, view: impl Into<View>, fail_on: Severity, rules: RuleLookup) -> Box<dyn Reporter> {
        let view = view.into();
        let detail = view.detail;
        match self {
            Format::Text => Box::new(Text(view)),
            Format::Json => Box::new(Json),
            Format::Jsonl => Box::new(JsonLines(detail)),
            Format::Markdown => Box::new(Markdown(detail)),
            Format::Sarif => Box::new(Sarif { rules }),
            Format::Github => Box::new(GitHub),
            Format::Junit => Box::new(JUnit { fail_on }),
            Format::Csv => Box::new(Csv(view)),
            Format::CsvSummary => Box::new(CsvSummary(view)),
            Format::InToto => Box::new(InToto),
        }
    }
}
