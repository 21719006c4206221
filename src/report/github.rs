//! Workflow commands of GitHub Actions, which annotate the lines of a pull request.

use std::io::{self, Write};

use super::{Audit, Evidence, Report, Reporter, Severity, Status, location};
use crate::escape::workflow::{data, property};

/// One `::error`, `::warning` or `::notice` line a finding; passes and open questions are left out. A last line says
/// whether the audit is complete.
#[derive(Clone, Copy, Debug, Default)]
pub struct GitHub;

impl Reporter for GitHub {
    fn write(&self, audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
        for report in &audit.reports {
            write_report(report, out)?;
        }
        for skipped in &audit.skipped {
            let message = format!("not examined: {}", skipped.reason);
            writeln!(out, "::warning file={}::{}", property(&skipped.path), data(&message))?;
        }
        let command = if audit.status == Status::Complete { "notice" } else { "warning" };
        writeln!(out, "::{command} title=audit {}::audit {}", audit.status, audit.status.words())?;
        Ok(())
    }
}

fn write_report(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for finding in &report.findings {
        let command = match finding.severity {
            Severity::Fail => "error",
            _ if finding.status() > Status::Complete => "warning",
            Severity::Warning => "warning",
            Severity::Review | Severity::Note => "notice",
            Severity::Pass | Severity::Unknown => continue,
        };
        let whole = Evidence::default();
        let evidence = finding.evidence.first();
        let file = location::path(report, evidence.unwrap_or(&whole));
        let line = evidence.and_then(|e| e.line).map_or(String::new(), |line| format!(",line={line}"));
        let title = if finding.severity == Severity::Review {
            format!("{} (a person must decide)", finding.rule)
        } else if finding.status() > Status::Complete {
            format!("{} (audit {})", finding.rule, finding.status())
        } else {
            finding.rule.to_string()
        };
        let message = location::sentence(&finding.message, evidence);
        let place = if file.is_empty() { String::new() } else { format!("file={}{line},", property(&file)) };
        writeln!(out, "::{command} {place}title={}::{}", property(&title), data(&message))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn findings_annotate_their_lines() {
        insta::assert_snapshot!(sample::written(&GitHub));
    }

    #[test]
    fn quoted_evidence_cannot_start_a_command() {
        let mut audit = sample::audit();
        audit.reports[0].findings[6].message = "x\n::error file=a::forged\r100%".into();
        audit.reports[0].subject = "a,line=1::b".into();
        let text = sample::written_of(&GitHub, &audit);
        assert!(text.lines().all(|line| line.matches("::").count() >= 2 && line.starts_with("::")));
        assert!(text.contains("x%0A::error file=a::forged%0D100%25") && text.contains("a%2Cline=1%3A%3Ab"), "{text}");
    }
}
