//! Markdown for job summaries and review comments.

use std::io::{self, Write};

use super::{Audit, Detail, Finding, Report, Reporter, Severity, Status};

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
                writeln!(out, "* {}: {}", code(&skipped.path), escape(&skipped.reason))?;
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
            escape(rest),
            escape(&report.policy.name),
            escape(&report.policy.effective)
        )?;
        if !report.facts.is_empty() {
            writeln!(out, "| fact | value |\n|---|---|")?;
            for fact in &report.facts {
                writeln!(out, "| {} | {} |", escape(fact.name), escape(&fact.value))?;
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
            writeln!(out, "* next level needs: {}", escape(need))?;
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
    let message = escape(&finding.message);
    writeln!(out, "| {}{aside} | {} | {message} | {} |", finding.severity, code(finding.rule.0), places.join("<br>"))
}

/// Plain text as Markdown text: nothing in it can format, link, mention or leave its table cell.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' => escaped.push_str("&#64;"),
            '\n' | '\r' => escaped.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Text as a code span: fenced by more backticks than it holds, with `|` escaped for tables.
fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    let text = text.replace('|', "\\|").replace(['\n', '\r'], " ");
    format!("{fence}{pad}{text}{pad}{fence}")
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
    fn text_from_a_submission_cannot_format() {
        assert_eq!(escape("<img src=x> | [a](b) @you #1"), "&lt;img src=x&gt; \\| \\[a\\](b) &#64;you \\#1");
        assert_eq!(code("a|b"), "`a\\|b`");
        assert_eq!(code("``x"), "``` ``x ```");
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
