//! A tree: a line a subject under one header, the rules with their counts, the result.

use std::io::{self, Write};

use super::{BOLD, Counts, by_rule, style, write_counts, write_finding, write_status};
use crate::report::{Audit, Detail, Finding, Report, Severity, Status, View};

/// The words of the header, by which earlier reports are known.
pub const COLUMNS: &str = "verdict subject val_bpb bytes date level fail warn review rules";

/// Longest name that widens the column for all: one long path must not push every number off the screen.
const MAX_NAME: usize = 100;

pub(super) fn write(view: View, audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
    let is_quiet = |report: &&Report| {
        view.detail == Detail::Brief
            && view.only.is_none()
            && report.verdict_word() < Severity::Fail
            && report.status == Status::Complete
    };
    let shown: Vec<&Report> = view.reports(audit).into_iter().filter(|report| !is_quiet(report)).collect();
    write_rows(view, &shown, out)?;
    if !shown.is_empty() {
        writeln!(out)?;
    }
    by_rule::write(view, &audit.reports, out)?;
    let reports = &audit.reports;
    if let Some(severity) = view.only {
        writeln!(
            out,
            "showing {} of {} subjects, those with a finding of severity {severity}",
            shown.len(),
            reports.len()
        )?;
    }
    let worst = |severity| reports.iter().filter(|report| report.worst() == severity).count();
    writeln!(
        out,
        "{} subjects: {} failing, {} with warnings, {} to review, {} clean",
        reports.len(),
        worst(Severity::Fail),
        worst(Severity::Warning),
        worst(Severity::Review),
        worst(Severity::Pass) + worst(Severity::Note) + worst(Severity::Unknown),
    )?;
    write_counts(&Counts::of(reports), out)?;
    write_status(audit.status, out)
}

fn write_rows(view: View, reports: &[&Report], out: &mut dyn Write) -> io::Result<()> {
    let Some(name) = reports.iter().map(|report| report.subject.chars().count()).max() else { return Ok(()) };
    let name = name.clamp("subject".len(), MAX_NAME);
    writeln!(
        out,
        "{BOLD}{:7}  {:name$}  {:>10}  {:>11}  {:10}  {:10}  fail  warn  review  rules{BOLD:#}",
        "verdict", "subject", "val_bpb", "bytes", "date", "level"
    )?;
    for report in reports {
        let worst = report.verdict_word();
        let style = style(worst);
        let fact = |name| report.fact(name).unwrap_or("-");
        let line = format!(
            "{:name$}  {:>10}  {:>11}  {:10}  {:10}  {:>4}  {:>4}  {:>6}  {}",
            report.subject,
            fact("val_bpb"),
            fact("total_bytes"),
            fact("date"),
            report.level_cell(),
            report.count(Severity::Fail),
            report.count(Severity::Warning),
            report.count(Severity::Review),
            rules(report, view.only).join(" ")
        );
        writeln!(out, "{style}{:7}{style:#}  {}", worst.word(), line.trim_end())?;
        let shows = |finding: &&Finding| match view.only {
            Some(severity) => finding.severity == severity,
            None => view.detail == Detail::Full && finding.severity > Severity::Pass,
        };
        report.findings.iter().filter(shows).try_for_each(|finding| write_finding(finding, 0, out))?;
    }
    Ok(())
}

/// The rules that a row names, with what is wrong with the audit itself before them.
fn rules(report: &Report, only: Option<Severity>) -> Vec<&'static str> {
    let is_named = |finding: &&Finding| match only {
        Some(severity) => finding.severity == severity,
        None => finding.severity == Severity::Fail || finding.status() > Status::Complete,
    };
    let mut rules: Vec<&str> = report.findings.iter().filter(is_named).map(|finding| finding.rule.0).collect();
    rules.dedup();
    if report.status > Status::Complete {
        rules.insert(0, report.status.word());
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Text, sample};

    #[test]
    fn the_header_has_the_words_by_which_earlier_reports_are_known() {
        let text = sample::written(&Text::default());
        let plain = anstream::adapter::strip_str(&text).to_string();
        let first = plain.lines().next().unwrap_or_default();
        assert_eq!(first.split_whitespace().collect::<Vec<_>>().join(" "), COLUMNS);
    }
}
