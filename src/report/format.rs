//! Report formats by name.

use super::{
    Csv, CsvSummary, Detail, GitHub, InToto, JUnit, Json, JsonLines, Markdown, Reporter, RuleLookup, Sarif, Severity,
    Text,
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
    /// The reporter. `fail_on` matters where a format itself says what failed, `rules` where one describes them.
    pub fn reporter(self, detail: Detail, fail_on: Severity, rules: RuleLookup) -> Box<dyn Reporter> {
        match self {
            Format::Text => Box::new(Text(detail)),
            Format::Json => Box::new(Json),
            Format::Jsonl => Box::new(JsonLines(detail)),
            Format::Markdown => Box::new(Markdown(detail)),
            Format::Sarif => Box::new(Sarif { rules }),
            Format::Github => Box::new(GitHub),
            Format::Junit => Box::new(JUnit { fail_on }),
            Format::Csv => Box::new(Csv(detail)),
            Format::CsvSummary => Box::new(CsvSummary),
            Format::InToto => Box::new(InToto),
        }
    }
}
