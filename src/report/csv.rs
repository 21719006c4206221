//! CSV for spreadsheets (RFC 4180), one finding a row.

use std::io::{self, Write};

use super::{Audit, Detail, Report, Reporter, Severity, Status, View};
use crate::escape::cell::cell;

/// Every finding but passes; a subject without findings has one row with an empty rule. The last cell says whether all
/// of the subject was examined.
#[derive(Clone, Copy, Debug, Default)]
pub struct Csv(pub View);

const HEADER: [&str; 13] = [
    "subject",
    "policy",
    "effective",
    "level",
    "val_bpb",
    "rule",
    "severity",
    "message",
    "path",
    "line",
    "found",
    "expected",
    "status",
];

impl Reporter for Csv {
    fn write(&self, audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
        write_row(HEADER.map(str::to_string), out)?;
        self.0.reports(audit).into_iter().try_for_each(|report| self.write_report(report, out))
    }
}

impl Csv {
    fn write_report(&self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let bpb = report.fact("val_bpb").unwrap_or_default();
        let row = |rest: [String; 7]| -> [String; 13] {
            let policy = &report.policy;
            let [rule, severity, message, path, line, found, expected] = rest;
            let level = report.assurance.level.to_string();
            let (subject, bpb) = (report.subject.clone(), bpb.to_string());
            let (name, effective) = (policy.name.clone(), policy.effective.clone());
            [
                subject,
                name,
                effective,
                level,
                bpb,
                rule,
                severity,
                message,
                path,
                line,
                found,
                expected,
                report.status.to_string(),
            ]
        };
        let mut empty = true;
        for finding in &report.findings {
            let shown = match self.0.detail {
                _ if self.0.only.is_some() => self.0.only == Some(finding.severity),
                Detail::Brief => finding.severity == Severity::Fail || finding.status() > Status::Complete,
                Detail::Usual => finding.severity > Severity::Pass,
                Detail::Full => true,
            };
            if !shown {
                continue;
            }
            empty = false;
            let first = finding.evidence.first().cloned().unwrap_or_default();
            let line = first.line.map_or(String::new(), |line| line.to_string());
            let (rule, severity) = (finding.rule.to_string(), finding.severity.to_string());
            let (found, expected) = (first.found.unwrap_or_default(), first.expected.unwrap_or_default());
            write_row(row([rule, severity, finding.message.clone(), first.path, line, found, expected]), out)?;
        }
        if empty {
            let mut rest: [String; 7] = Default::default();
            rest[1] = report.worst().to_string();
            write_row(row(rest), out)?;
        }
        Ok(())
    }
}

fn write_row(cells: [String; 13], out: &mut dyn Write) -> io::Result<()> {
    write_cells(&cells, out)
}

/// A row of cells, escaped.
pub(super) fn write_cells(cells: &[String], out: &mut dyn Write) -> io::Result<()> {
    let cells: Vec<_> = cells.iter().map(|text| cell(text)).collect();
    write!(out, "{}\r\n", cells.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn rows(text: &str) -> Vec<csv::StringRecord> {
        csv::ReaderBuilder::new().from_reader(text.as_bytes()).records().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn another_reader_gets_the_same_cells() {
        let mut audit = sample::audit();
        audit.reports[0].findings[0].message = "a \"quoted\", two-line\r\nmessage".into();
        let rows = rows(&sample::written_of(&Csv(Detail::Full.into()), &audit));
        assert_eq!(rows.len(), audit.reports.iter().map(|report| report.findings.len()).sum::<usize>());
        assert_eq!(&rows[0][7], "a \"quoted\", two-line\r\nmessage");
        assert!(rows.iter().all(|row| row.len() == HEADER.len()));
    }

    #[test]
    fn a_clean_subject_keeps_its_row() {
        let mut audit = sample::audit();
        audit.reports.iter_mut().for_each(|report| report.findings.clear());
        assert_eq!(rows(&sample::written_of(&Csv(Detail::Usual.into()), &audit)).len(), audit.reports.len());
    }
}
