//! Rules by how many subjects they speak of.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{BOLD, style};
use crate::report::{Detail, Report, Severity, View};

/// Severities that have a column, worst first.
const COLUMNS: [(Severity, &str); 4] = [
    (Severity::Fail, "fail"),
    (Severity::Warning, "warning"),
    (Severity::Review, "review"),
    (Severity::Unknown, "unknown"),
];

/// Subjects at each of [`COLUMNS`].
type Row = [usize; COLUMNS.len()];

/// Writes the table; nothing where it would be empty.
pub(super) fn write(view: View, reports: &[Report], out: &mut dyn Write) -> io::Result<()> {
    let shows = |row: &Row| {
        COLUMNS.iter().zip(row).any(|((severity, _), &count)| {
            let is_asked = match (view.only, view.detail) {
                (Some(only), _) => *severity == only,
                (None, Detail::Brief) => *severity == Severity::Fail,
                (None, Detail::Usual) => *severity > Severity::Unknown,
                (None, Detail::Full) => true,
            };
            is_asked && count > 0
        })
    };
    let (shown, rest): (Vec<_>, Vec<_>) = rows(reports, view.only).into_iter().partition(|(_, row)| shows(row));
    if shown.is_empty() {
        return Ok(());
    }
    let width = shown.iter().map(|(rule, _)| rule.len()).max().unwrap_or(0);
    write!(out, "{BOLD}{:width$}", "rule")?;
    for (_, word) in COLUMNS {
        write!(out, "  {word:>7}")?;
    }
    writeln!(out, "{BOLD:#}  subjects by the worst finding of the rule")?;
    for (rule, row) in &shown {
        write!(out, "{rule:width$}")?;
        for ((severity, _), count) in COLUMNS.iter().zip(row) {
            match count {
                0 => write!(out, "  {:>7}", "-")?,
                _ => {
                    let style = style(*severity);
                    write!(out, "  {style}{count:>7}{style:#}")?;
                }
            }
        }
        writeln!(out)?;
    }
    // Rules that are undecided for want of evidence would fill the screen.
    if view.only.is_none() && view.detail == Detail::Usual && !rest.is_empty() {
        writeln!(out, "and {} that are only undecided (-v lists them)", rest.len())?;
    }
    writeln!(out)
}

/// The rules that found something, worst first: by subjects at `first`, if it is given, then at each severity, then by
/// name.
fn rows(reports: &[Report], first: Option<Severity>) -> Vec<(&'static str, Row)> {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for report in reports {
        let mut worst: BTreeMap<&str, Severity> = BTreeMap::new();
        for finding in &report.findings {
            let known = worst.entry(finding.rule.0).or_insert(finding.severity);
            *known = finding.severity.max(*known);
        }
        for (rule, severity) in worst {
            if let Some(column) = column(severity) {
                rows.entry(rule).or_default()[column] += 1;
            }
        }
    }
    let mut rows: Vec<(&str, Row)> = rows.into_iter().collect();
    let asked = |row: &Row| first.and_then(column).map_or(0, |column| row[column]);
    // Stable: equal rows stay in the order of their names.
    rows.sort_by_key(|(_, row)| std::cmp::Reverse((asked(row), *row)));
    rows
}

fn column(severity: Severity) -> Option<usize> {
    COLUMNS.iter().position(|(column, _)| *column == severity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Finding, RuleId, sample};

    /// Subjects, each with rules and severities.
    fn reports(subjects: &[&[(&'static str, Severity)]]) -> Vec<Report> {
        let sample = sample::audit().reports.remove(0);
        let of = |findings: &&[(&'static str, Severity)]| Report {
            findings: findings
                .iter()
                .map(|&(rule, severity)| Finding { rule: RuleId(rule), severity, ..sample.findings[0].clone() })
                .collect(),
            ..sample.clone()
        };
        subjects.iter().map(of).collect()
    }

    #[test]
    fn a_subject_counts_once_a_rule_and_the_worst_rule_comes_first() {
        let (fail, warning, unknown) = (Severity::Fail, Severity::Warning, Severity::Unknown);
        let reports = reports(&[
            &[("b", warning), ("c", warning), ("c", fail), ("c", fail), ("p", Severity::Pass)],
            &[("a", warning), ("b", warning), ("u", unknown)],
            &[("a", warning), ("u", unknown), ("b", warning)],
        ]);
        let expected = vec![("c", [1, 0, 0, 0]), ("b", [0, 3, 0, 0]), ("a", [0, 2, 0, 0]), ("u", [0, 0, 0, 2])];
        assert_eq!(rows(&reports, None), expected);
        assert_eq!(rows(&reports, Some(unknown))[0], ("u", [0, 0, 0, 2]));
    }
}
