//! Markdown for job summaries and review comments.

use std::io::{self, Write};

use super::{Audit, Detail, Finding, Report, Reporter, Severity, Status};
use crate::escape::markdown::{code, text};

/// A heading, a table of facts and a table of findings for each subject; one table for many subjects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Markdown(pub Detail);

/// With more subjects than this, subjects without anything to act on are only counted.
const MAX_FULL_SUBJECTS: usize = 5;

/// Pieces of evidence quoted for one finding.
const MAX_EVIDENCE: usize = 4;

impl Reporter for Markdown {
    fn write(&self, audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
        if audit.reports.len() > 1 {
            writeln!(out, "Audit {}.\n", audit.status.words())?;
            write_overview(&audit.reports, out)?;
        }
        let many = audit.reports.len() > MAX_FULL_SUBJECTS;
        let acted_on = |report: &&Report| report.worst() >= Severity::Warning || report.status > Status::Complete;
        for report in audit.reports.iter().filter(|report| !many || acted_on(report)) {
            self.write_report(report, out)?;
        }
        if !audit.skipped.is_empty() {
            writeln!(out, "**Not examined**\n")?;
            for skipped in &audit.skipped {
                writeln!(out, "* {}: {}", code(&skipped.path), text(&skipped.reason))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

fn write_overview(reports: &[Report], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "| subject | audit | worst | level | fail | warning | review |")?;
    writeln!(out, "|---|---|---|---|--:|--:|--:|")?;
    for report in reports {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            code(&report.subject),
            report.status,
            report.worst(),
            report.level_cell(),
            report.count(Severity::Fail),
            report.count(Severity::Warning),
            report.count(Severity::Review)
        )?;
    }
    writeln!(out)
}

impl Markdown {
    fn write_report(&self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let verdict = match report.worst() {
            Severity::Fail => "fails",
            Severity::Warning => "has warnings",
            Severity::Review => "needs a reviewer's decision",
            _ if report.status > Status::Complete => "was not wholly examined",
            _ => "passes",
        };
        writeln!(out, "### {} {verdict}\n", code(&report.subject))?;
        let level = report.level_words();
        let (first, rest) = level.split_at(1);
        writeln!(
            out,
            "Audit {}. **{}{}**. Rules: {} of {}.\n",
            report.status.words(),
            first.to_uppercase(),
            text(rest),
            text(&report.policy.name),
            text(&report.policy.effective)
        )?;
        if !report.facts.is_empty() {
            writeln!(out, "| fact | value |\n|---|---|")?;
            for fact in &report.facts {
                writeln!(out, "| {} | {} |", text(fact.name), text(&fact.value))?;
            }
            writeln!(out)?;
        }
        let shown: Vec<&Finding> = report.findings.iter().rev().filter(|finding| self.shows(finding)).collect();
        if shown.is_empty() {
            writeln!(out, "Nothing found by {} rules.\n", report.count(Severity::Pass))?;
        } else {
            writeln!(out, "| severity | rule | what | where |\n|---|---|---|---|")?;
            for finding in shown {
                write_finding(finding, out)?;
            }
            writeln!(out)?;
        }
        let said = report.count(Severity::Fail) > 0;
        for need in report.assurance.next_needs.iter().filter(|_| !said) {
            writeln!(out, "* next level needs: {}", text(need))?;
        }
        writeln!(out)
    }

    fn shows(&self, finding: &Finding) -> bool {
        finding.status() > Status::Complete
            || match self.0 {
                Detail::Brief => finding.severity == Severity::Fail,
                // An open question about a file is shown; one about missing evidence is only counted.
                Detail::Usual if finding.severity == Severity::Unknown => !finding.evidence.is_empty(),
                Detail::Usual => finding.severity != Severity::Pass,
                Detail::Full => true,
            }
    }
}

fn write_finding(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let aside = if finding.allowed { " (allowed)" } else { "" };
    let mut places: Vec<String> = finding
        .evidence
        .iter()
        .take(MAX_EVIDENCE)
        .map(|evidence| {
            let line = evidence.line.map_or(String::new(), |line| format!(":{line}"));
            let place = code(&format!("{}{line}", evidence.path));
            match (&evidence.found, &evidence.expected) {
                (Some(found), Some(expected)) => format!("{place} {} expected {}", code(found), code(expected)),
                (Some(found), None) => format!("{place} {}", code(found)),
                (None, Some(expected)) => format!("{place} expected {}", code(expected)),
                (None, None) => place,
            }
        })
        .collect();
    if finding.evidence.len() > MAX_EVIDENCE {
        places.push(format!("and {} more", finding.evidence.len() - MAX_EVIDENCE));
    }
    let message = text(&finding.message);
    writeln!(out, "| {}{aside} | {} | {message} | {} |", finding.severity, code(finding.rule.0), places.join("<br>"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_summary_reads_well() {
        insta::assert_snapshot!(sample::written(&Markdown(Detail::Usual)));
    }

    #[test]
    fn every_row_has_four_cells() {
        let text = sample::written(&Markdown(Detail::Full));
        let rows = text.lines().filter(|line| line.starts_with("| fail") || line.starts_with("| review"));
        for row in rows {
            assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
        }
    }
}
