//! Findings for pages: by severity, the worst first, each with its rule in words and its evidence quoted.

use crate::report::{Evidence, Finding, Profile, Report, Severity};
use crate::rules::{Rule, find};

/// Most places shown of one finding.
const MAX_PLACES: usize = 12;

/// Findings of one severity.
pub(super) struct Group<'a> {
    pub severity: Severity,
    pub title: String,
    pub findings: Vec<FindingView<'a>>,
}

pub(super) struct FindingView<'a> {
    pub finding: &'a Finding,
    pub rule: Option<&'static Rule>,
    pub places: Vec<Place<'a>>,
    pub more: usize,
}

pub(super) struct Place<'a> {
    pub evidence: &'a Evidence,
    pub name: String,
    pub lines: Vec<Line<'a>>,
    /// What was found is in the lines already.
    pub is_quoted: bool,
}

pub(super) struct Line<'a> {
    pub number: u64,
    pub text: &'a str,
    pub is_here: bool,
}

/// Groups in the order of the page.
pub(super) fn groups(report: &Report) -> Vec<Group<'_>> {
    let group = |severity: Severity| {
        let findings: Vec<FindingView> =
            report.at_severity(severity).map(|finding| view(finding, report.profile.as_deref())).collect();
        let title = title(severity, findings.len());
        (!findings.is_empty()).then_some(Group { severity, title, findings })
    };
    Severity::ALL.into_iter().rev().filter_map(group).collect()
}

fn title(severity: Severity, count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    match severity {
        Severity::Fail => format!("{count} failure{plural}"),
        Severity::Warning => format!("{count} warning{plural}"),
        Severity::Review => format!("{count} place{plural} for a person to look at"),
        Severity::Note => format!("{count} note{plural}"),
        Severity::Unknown => format!("{count} rule{plural} that the files here cannot decide"),
        Severity::Pass => format!("{count} rule{plural} checked and kept"),
    }
}

fn view<'a>(finding: &'a Finding, profile: Option<&'a Profile>) -> FindingView<'a> {
    let places = finding.evidence.iter().take(MAX_PLACES).map(|evidence| place(evidence, profile));
    FindingView {
        finding,
        rule: find(finding.rule.0),
        places: places.collect(),
        more: finding.evidence.len().saturating_sub(MAX_PLACES),
    }
}

fn place<'a>(evidence: &'a Evidence, profile: Option<&'a Profile>) -> Place<'a> {
    let excerpt = profile.and_then(|profile| profile.excerpt(evidence));
    let lines: Vec<Line> = excerpt
        .iter()
        .flat_map(|excerpt| excerpt.lines.iter().map(|(number, text)| (excerpt.line, *number, text)))
        .map(|(here, number, text)| Line { number, text, is_here: here == number })
        .collect();
    let name = match (evidence.path.as_str(), evidence.line) {
        ("", _) => "the submission as a whole".to_string(),
        (path, None) => path.to_string(),
        (path, Some(line)) => format!("{path}, line {line}"),
    };
    let is_quoted = evidence
        .found
        .as_deref()
        .is_some_and(|found| lines.iter().any(|line| line.is_here && line.text.contains(found)));
    Place { evidence, name, lines, is_quoted }
}
