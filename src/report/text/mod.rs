//! Text for people: grouped by severity, aligned, evidence quoted, failures last with a count.

mod by_rule;
mod tree;

pub use tree::COLUMNS as TREE_COLUMNS;

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::{Audit, Detail, Evidence, Finding, Report, Reporter, Severity, Status, View};

/// One subject in full; a tree as one line a subject, then counts by rule.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text(pub View);

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Evidence lines printed for one finding before "and n more".
const MAX_EVIDENCE_LINES: usize = 6;

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Pass => AnsiColor::Green.on_default(),
        Severity::Note => AnsiColor::Blue.on_default(),
        Severity::Unknown => AnsiColor::Magenta.on_default(),
        Severity::Review => AnsiColor::Cyan.on_default(),
        Severity::Warning => AnsiColor::Yellow.on_default(),
        Severity::Fail => AnsiColor::Red.on_default().bold(),
    }
}

impl Reporter for Text {
    fn write(&self, audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
        match audit.reports.as_slice() {
            [only] => self.write_one(only, out)?,
            _ => tree::write(self.0, audit, out)?,
        }
        if !audit.skipped.is_empty() && self.0.detail > Detail::Brief {
            writeln!(out, "\n{BOLD}not examined{BOLD:#}")?;
            for skipped in &audit.skipped {
                writeln!(out, "  {}  {DIM}{}{DIM:#}", skipped.path, skipped.reason)?;
            }
        }
        Ok(())
    }
}

impl Text {
    fn shows(&self, severity: Severity) -> bool {
        match self.0.detail {
            _ if self.0.only.is_some() => self.0.only == Some(severity),
            Detail::Brief => severity == Severity::Fail,
            Detail::Usual => !matches!(severity, Severity::Pass | Severity::Unknown),
            Detail::Full => true,
        }
    }

    fn write_one(&self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let policy = &report.policy;
        // Rules have dates, and so have folders: the two side by side tell which rules were in force.
        let folder = report.fact("date").map_or(String::new(), |date| format!(", folder of {date}"));
        let rules = format!("rules {} of {}{folder}", policy.name, policy.effective);
        writeln!(out, "{BOLD}{}{BOLD:#}  {DIM}{rules}{DIM:#}", report.subject)?;
        if self.0.detail > Detail::Brief {
            let width = report.facts.iter().map(|fact| fact.name.len()).max().unwrap_or(0);
            for fact in &report.facts {
                writeln!(out, "  {:width$}  {}", fact.name, fact.value)?;
            }
        }
        // An open question about a file is shown; one about missing evidence is only counted.
        let points_at_file = |finding: &Finding| finding.severity == Severity::Unknown && !finding.evidence.is_empty();
        let shown = |finding: &&Finding| {
            self.shows(finding.severity)
                || self.0.only.is_none() && finding.status() > Status::Complete
                || (self.0.only.is_none() && self.0.detail == Detail::Usual && points_at_file(finding))
        };
        let width = report.findings.iter().filter(shown).map(|finding| finding.rule.0.len()).max().unwrap_or(0);
        let mut severity = None;
        for finding in report.findings.iter().filter(shown) {
            if severity != Some(finding.severity) {
                writeln!(out)?;
                severity = Some(finding.severity);
            }
            write_finding(finding, width, out)?;
        }
        writeln!(out)?;
        if let Some(only) = self.0.only.filter(|_| severity.is_none()) {
            writeln!(out, "no finding of severity {only}")?;
        } else if severity.is_none() && self.0.detail == Detail::Usual {
            let undecided = report.count(Severity::Unknown);
            writeln!(out, "nothing found, {undecided} undecided (-v lists them)")?;
        }
        write_counts(&Counts::of(std::slice::from_ref(report)), out)?;
        write_status(report.status, out)?;
        writeln!(out, "{BOLD}{}{BOLD:#}", report.level_words())?;
        // What fails was said.
        if self.0.detail > Detail::Brief && report.count(Severity::Fail) == 0 {
            for need in &report.assurance.next_needs {
                writeln!(out, "  next level needs: {need}")?;
            }
        }
        Ok(())
    }
}

/// `audit complete`
fn write_status(status: Status, out: &mut dyn Write) -> io::Result<()> {
    let style = if status == Status::Complete { Style::new() } else { style(Severity::Fail) };
    writeln!(out, "{style}audit {}{style:#}", status.words())
}

fn write_finding(finding: &Finding, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let style = style(finding.severity);
    let aside = if finding.allowed { " (allowed)" } else { "" };
    writeln!(
        out,
        "{style}{:7}{style:#}  {:width$}  {}{aside}",
        finding.severity.word(),
        finding.rule,
        finding.message
    )?;
    for evidence in finding.evidence.iter().take(MAX_EVIDENCE_LINES) {
        writeln!(out, "         {DIM}{}{DIM:#}", evidence_line(evidence))?;
    }
    let more = finding.evidence.len().saturating_sub(MAX_EVIDENCE_LINES);
    if more > 0 {
        writeln!(out, "         {DIM}and {more} more{DIM:#}")?;
    }
    Ok(())
}

/// `train.log:41: found ..., expected ...`
pub(super) fn evidence_line(evidence: &Evidence) -> String {
    let mut line = match (evidence.path.as_str(), evidence.line) {
        ("", _) => String::new(),
        (path, None) => format!("{path}: "),
        (path, Some(number)) => format!("{path}:{number}: "),
    };
    match (&evidence.found, &evidence.expected) {
        (Some(found), Some(expected)) => line.push_str(&format!("{found}  (expected {expected})")),
        (Some(found), None) => line.push_str(found),
        (None, Some(expected)) => line.push_str(&format!("expected {expected}")),
        (None, None) => line.truncate(line.trim_end_matches(": ").len()),
    }
    line
}

/// Findings by severity over some reports.
struct Counts([usize; Severity::ALL.len()]);

impl Counts {
    fn of(reports: &[Report]) -> Self {
        Counts(Severity::ALL.map(|severity| reports.iter().map(|report| report.count(severity)).sum()))
    }
}

/// `61 pass, 3 notes, 9 unknown, 1 warning, 2 failures`
fn write_counts(counts: &Counts, out: &mut dyn Write) -> io::Result<()> {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let mut parts = Vec::new();
    for (severity, &count) in Severity::ALL.iter().zip(&counts.0) {
        let style = if count == 0 { Style::new() } else { style(*severity) };
        let word = match severity {
            Severity::Pass => "pass".to_string(),
            Severity::Unknown => "unknown".to_string(),
            Severity::Review => "to review".to_string(),
            Severity::Fail => format!("failure{}", plural(count)),
            Severity::Note | Severity::Warning => format!("{severity}{}", plural(count)),
        };
        parts.push(format!("{style}{count} {word}{style:#}"));
    }
    writeln!(out, "{}", parts.join(", "))
}
