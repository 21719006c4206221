//! JSON for programs: one document, or one finding a line.

use std::io::{self, Write};

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

#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    status: Status,
    rule: RuleId,
    severity: Severity,
    message: &'a str,
    evidence: &'a [Evidence],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    broken: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
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
                let line = Line {
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
