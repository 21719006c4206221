//! An unsigned in-toto Statement with a test-result predicate; signing is left to tools made for it.
//!
//! Formats: <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md> and
//! <https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md> (v0.1). Consumers match subjects
//! by digest alone, so only files that were read to their end are subjects.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Audit, Finding, Report, Reporter, Severity, Status};

/// `_type` of a Statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of a test result.
pub const PREDICATE_TYPE: &str = "https://in-toto.io/attestation/test-result/v0.1";

/// One Statement a subject, one a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct InToto;

impl Reporter for InToto {
    fn write(&self, audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
        for report in &audit.reports {
            // An audit that was stopped read nothing to the end; what it found stands in the other formats.
            let was_stopped = report.findings.iter().all(|finding| finding.broken);
            if report.files.is_empty() && was_stopped && audit.reports.len() > 1 {
                continue;
            }
            if report.files.is_empty() {
                let message = format!("{}: no file was read, so there is nothing to attest", report.subject);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            serde_json::to_writer(&mut *out, &statement(report, audit.harness))?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

fn statement(report: &Report, harness: &str) -> Value {
    let subjects: Vec<Value> = report
        .files
        .iter()
        .map(|file| {
            let digest = json!({ "sha256": file.digest.sha256, "blake3": file.digest.blake3 });
            json!({ "name": file.path, "digest": digest })
        })
        .collect();
    // A rule with several findings counts by its worst one; what was not examined has not passed.
    let failed = rules(report, |finding| finding.severity == Severity::Fail || finding.status() > Status::Complete);
    let warned =
        rules(report, |finding| matches!(finding.severity, Severity::Warning | Severity::Review | Severity::Unknown))
            .difference(&failed)
            .copied()
            .collect::<BTreeSet<_>>();
    let passed = rules(report, |_| true)
        .into_iter()
        .filter(|rule| !failed.contains(rule) && !warned.contains(rule))
        .collect::<BTreeSet<_>>();
    let result = match (failed.is_empty(), warned.is_empty()) {
        (false, _) => "FAILED",
        (true, false) => "WARNED",
        (true, true) => "PASSED",
    };
    let policy = &report.policy;
    json!({
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": result,
            "configuration": [{
                "name": policy.name,
                "uri": format!("golf-harness:policy/{}/{}", policy.name, policy.effective),
                "annotations": {
                    "effective": policy.effective,
                    "harness": harness,
                    "level": report.assurance.level.word(),
                    "status": report.status,
                },
            }],
            "passedTests": passed,
            "warnedTests": warned,
            "failedTests": failed,
        },
    })
}

fn rules(report: &Report, keep: impl Fn(&Finding) -> bool) -> BTreeSet<&'static str> {
    report.findings.iter().filter(|finding| keep(finding)).map(|finding| finding.rule.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_rule_is_in_exactly_one_list_and_subjects_have_digests() {
        let audit = sample::audit();
        let text = sample::written(&InToto);
        assert_eq!(text.lines().count(), audit.reports.len());
        for (line, report) in text.lines().zip(&audit.reports) {
            let statement: Value = serde_json::from_str(line).unwrap();
            assert_eq!(statement["_type"], STATEMENT_TYPE);
            let list = |name: &str| statement["predicate"][name].as_array().unwrap().clone();
            let mut all = [list("passedTests"), list("warnedTests"), list("failedTests")].concat();
            let count = all.len();
            all.sort_by_key(ToString::to_string);
            all.dedup();
            let rules: BTreeSet<&str> = report.findings.iter().map(|finding| finding.rule.0).collect();
            assert_eq!((count, all.len()), (rules.len(), rules.len()));
            for subject in statement["subject"].as_array().unwrap() {
                assert_eq!(subject["digest"]["sha256"].as_str().unwrap().len(), 64);
            }
        }
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["predicate"]["result"], "FAILED");
    }

    #[test]
    fn nothing_read_means_nothing_attested() {
        let mut audit = sample::audit();
        audit.reports[0].files.clear();
        assert!(InToto.write(&audit, &mut Vec::new()).is_err());
    }
}
