//! JSON for programs: one document, or one finding a line.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::{Audit, Detail, Evidence, Reporter, RuleId, Severity, Status};

/// One pretty-printed document, described by `manifests/audit.schema.json`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Reporter for Json {
    fn write(&self, audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, audit)?;
        out.write_all(b"\n")
    }
}

/// One finding a line with subject and its status, rule, severity, message and evidence. Passes only under [`Detail::Full`].
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonLines(pub Detail);

/// Name and version of a line of `verify --format jsonl`.
pub const FINDING_SCHEMA: &str = "golf-harness/finding/v1";

/// A line of `verify --format jsonl`: a finding, with the subject it is about.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FindingLine<'a> {
    /// Always `golf-harness/finding/v1`.
    #[schemars(extend("const" = FINDING_SCHEMA))]
    schema: &'static str,
    /// The subject.
    path: &'a str,
    /// Whether all of the subject was examined.
    status: Status,
    /// The rule.
    rule: RuleId,
    /// What follows.
    severity: Severity,
    /// One sentence.
    message: &'a str,
    /// Where it was seen.
    evidence: &'a [Evidence],
    /// The rule itself broke; nothing is known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    broken: bool,
    /// The rule saw only a part of its object.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
    /// A failure that was allowed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    allowed: bool,
}

impl Reporter for JsonLines {
    fn write(&self, audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
        for report in &audit.reports {
            for finding in &report.findings {
                if finding.severity == Severity::Pass && self.0 < Detail::Full {
                    continue;
                }
                let line = FindingLine {
                    schema: FINDING_SCHEMA,
                    path: &report.subject,
                    status: report.status,
                    rule: finding.rule,
                    severity: finding.severity,
                    message: &finding.message,
                    evidence: &finding.evidence,
                    broken: finding.broken,
                    incomplete: finding.incomplete,
                    allowed: finding.allowed,
                };
                serde_json::to_writer(&mut *out, &line)?;
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    }
}
