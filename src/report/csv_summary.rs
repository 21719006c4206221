//! CSV for spreadsheets (RFC 4180), one subject a row.

use std::io::{self, Write};

use super::csv::write_cells;
use super::{Audit, Report, Reporter, Severity, Status, View};

/// A row a subject: who claims what, how far it was checked, and which rules found something.
#[derive(Clone, Copy, Debug, Default)]
pub struct CsvSummary(pub View);

/// The header, by which earlier files are known.
pub const HEADER: &str =
    "subject,author,date,policy,val_bpb,total_bytes,level,status,worst,failures,warnings,review,rules";

impl Reporter for CsvSummary {
    fn write(&self, audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{HEADER}\r\n")?;
        self.0.reports(audit).into_iter().try_for_each(|report| write_cells(&cells(report, self.0.only), out))
    }
}

fn cells(report: &Report, only: Option<Severity>) -> [String; 13] {
    let fact = |name: &str| report.fact(name).map(str::to_string);
    // Numbers for programs: without a comma between groups of digits.
    let bytes = fact("total_bytes").unwrap_or_default().replace(',', "");
    let acts = |finding: &&super::Finding| match only {
        Some(severity) => finding.severity == severity,
        None => finding.severity >= Severity::Review || finding.status() > Status::Complete,
    };
    let mut rules: Vec<&str> = report.findings.iter().rev().filter(acts).map(|finding| finding.rule.0).collect();
    rules.dedup();
    let count = |severity| report.count(severity).to_string();
    [
        report.subject.clone(),
        fact("author").unwrap_or_default(),
        fact("date").unwrap_or_default(),
        format!("{} of {}", report.policy.name, report.policy.effective),
        fact("val_bpb").unwrap_or_default(),
        bytes,
        report.assurance.level.to_string(),
        report.status.to_string(),
        report.worst().to_string(),
        count(Severity::Fail),
        count(Severity::Warning),
        count(Severity::Review),
        rules.join(" "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn another_reader_gets_a_row_a_subject() {
        let mut audit = sample::audit();
        audit.reports[0].subject = "=cmd, \"x\"".into();
        let text = sample::written_of(&CsvSummary::default(), &audit);
        let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
        let columns = reader.headers().unwrap().clone();
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        assert_eq!(rows.len(), audit.reports.len());
        let cell = |name: &str| &rows[0][columns.iter().position(|column| column == name).unwrap()];
        assert_eq!(cell("subject"), "'=cmd, \"x\"");
        assert_eq!(cell("val_bpb"), "1.1628");
        assert_eq!(cell("failures"), audit.reports[0].count(Severity::Fail).to_string());
        let rules: Vec<&str> = cell("rules").split(' ').collect();
        assert!(rules.contains(&"code_network") && rules.contains(&"code_not_parsed"), "{rules:?}");
        assert!(!rules.contains(&"single_seed"), "{rules:?}");
    }
}
