//! JUnit XML, which most CI systems show as a test report.
//!
//! The dialect is the common one (Ant's, as Jenkins and GitLab read it): `testsuites` > `testsuite` > `testcase` with
//! `failure`, `error`, `skipped` or `system-out`.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::{Audit, Finding, Report, Reporter, RuleId, Severity, Status, location};
use crate::escape::xml;

/// One suite a subject, one case a rule. Findings at or above the severity make their case fail.
#[derive(Clone, Copy, Debug)]
pub struct JUnit {
    /// Lowest severity that fails a case.
    pub fail_on: Severity,
}

impl Reporter for JUnit {
    fn write(&self, audit: &Audit, out: &mut dyn Write) -> io::Result<()> {
        let suites: Vec<(Tally, String)> = audit.reports.iter().map(|report| self.suite(report)).collect();
        let total = suites.iter().fold(Tally::default(), |sum, (tally, _)| sum.plus(*tally));
        writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
        writeln!(out, "<testsuites name=\"golf-harness verify\" {}>", total.attributes())?;
        for (_, text) in suites {
            out.write_all(text.as_bytes())?;
        }
        writeln!(out, "</testsuites>")
    }
}

#[derive(Clone, Copy, Default)]
struct Tally {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Tally {
    fn plus(self, other: Tally) -> Tally {
        Tally {
            tests: self.tests + other.tests,
            failures: self.failures + other.failures,
            errors: self.errors + other.errors,
            skipped: self.skipped + other.skipped,
        }
    }

    fn attributes(self) -> String {
        let Tally { tests, failures, errors, skipped } = self;
        format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"")
    }
}

impl JUnit {
    fn suite(&self, report: &Report) -> (Tally, String) {
        let mut tally = Tally::default();
        let mut cases = String::new();
        for (rule, findings) in by_rule(report) {
            tally.tests += 1;
            let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Pass);
            let status = findings.iter().map(|finding| finding.status()).max().unwrap_or_default();
            let (element, message) = if status == Status::Broken {
                tally.errors += 1;
                ("error", "the check could not run")
            } else if worst >= self.fail_on && worst > Severity::Note {
                tally.failures += 1;
                ("failure", worst.word())
            } else if status == Status::Incomplete {
                tally.errors += 1;
                ("error", "not everything was examined")
            } else if worst == Severity::Unknown {
                tally.skipped += 1;
                ("skipped", "not enough evidence")
            } else if worst == Severity::Pass {
                ("", "")
            } else {
                ("system-out", "")
            };
            let head = format!("    <testcase classname=\"{}\" name=\"{rule}\"", xml::attribute(&report.policy.name));
            if element.is_empty() {
                cases.push_str(&format!("{head}/>\n"));
                continue;
            }
            let text: String = findings.iter().map(|finding| describe(report, finding)).collect();
            let message = if message.is_empty() { String::new() } else { format!(" message=\"{message}\"") };
            // Writing to a String cannot fail.
            let _ =
                writeln!(cases, "{head}>\n      <{element}{message}>{}</{element}>\n    </testcase>", xml::text(&text));
        }
        let name = xml::attribute(&report.subject);
        let property = format!("<property name=\"status\" value=\"{}\"/>", report.status);
        let properties = format!("    <properties>\n      {property}\n    </properties>\n");
        (tally, format!("  <testsuite name=\"{name}\" {}>\n{properties}{cases}  </testsuite>\n", tally.attributes()))
    }
}

/// Findings grouped by rule, in the order in which the rules first appear.
fn by_rule(report: &Report) -> Vec<(RuleId, Vec<&Finding>)> {
    let mut groups: Vec<(RuleId, Vec<&Finding>)> = Vec::new();
    for finding in &report.findings {
        match groups.iter_mut().find(|(rule, _)| *rule == finding.rule) {
            Some((_, group)) => group.push(finding),
            None => groups.push((finding.rule, vec![finding])),
        }
    }
    groups
}

fn describe(report: &Report, finding: &Finding) -> String {
    let mut text = format!("{}: {}\n", finding.severity, finding.message);
    for evidence in &finding.evidence {
        let line = evidence.line.map_or(String::new(), |line| format!(":{line}"));
        text.push_str(&location::sentence(&format!("{}{line}", location::path(report, evidence)), Some(evidence)));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn parse(text: &str) -> roxmltree::Document<'_> {
        roxmltree::Document::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn a_suite_counts_what_it_holds() {
        for fail_on in [Severity::Fail, Severity::Warning, Severity::Review] {
            let text = sample::written(&JUnit { fail_on });
            let document = parse(&text);
            for suite in document.descendants().filter(|node| node.has_tag_name("testsuite")) {
                let count = |tag: &str| suite.descendants().filter(|node| node.has_tag_name(tag)).count().to_string();
                for (attribute, tag) in
                    [("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")]
                {
                    assert_eq!(suite.attribute(attribute), Some(count(tag).as_str()), "{attribute}");
                }
            }
        }
        insta::assert_snapshot!(sample::written(&JUnit { fail_on: Severity::Fail }));
    }

    #[test]
    fn hostile_text_stays_text() {
        let mut audit = sample::audit();
        audit.reports[0].subject = "a\"b<c>&\u{0}\u{ffff}".into();
        audit.reports[0].findings[0].message = "</failure><x/>]]> \u{1b}[31m".into();
        let text = sample::written_of(&JUnit { fail_on: Severity::Note }, &audit);
        let document = parse(&text);
        let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
        assert_eq!(suite.attribute("name"), Some("a\"b<c>&\u{fffd}\u{fffd}"));
        assert!(document.descendants().all(|node| !node.has_tag_name("x")));
    }
}
