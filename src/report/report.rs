//! The findings about one subject, and about all subjects of a run, in a fixed order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Assurance, Conclusion, Finding, Level, Profile, RuleId, Severity, Status};
use crate::digest::ContentDigest;
use crate::escape::visible;
use crate::manifest::Track;

/// What was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// The folder of a submission.
    RecordFolder,
    /// A manifest of this project and the files it names.
    Manifest,
    /// What a git range adds.
    Change,
}

/// A file the report rests on. Attestations match subjects by digest, never by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SubjectFile {
    /// Path relative to the subject.
    pub path: String,
    /// What was read.
    #[serde(flatten)]
    pub digest: ContentDigest,
}

/// The set of numbers and severities a subject was checked against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRef {
    /// Name, such as `10min_16mb`.
    pub name: String,
    /// First day of the revision used, `YYYY-MM-DD`.
    pub effective: String,
}

/// A headline fact about a subject for tables, such as (`val_bpb`, `1.1628`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fact {
    /// What it is.
    pub name: &'static str,
    /// As it should be printed.
    pub value: String,
}

/// Everything found about one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// The path as given, or below the tree given.
    pub subject: String,
    /// What it is.
    pub kind: SubjectKind,
    /// What it was checked against.
    pub policy: PolicyRef,
    /// Whether everything was examined; says nothing about what was found.
    pub status: Status,
    /// How far it was checked.
    pub assurance: Assurance,
    /// Headline facts, in a fixed order.
    pub facts: Vec<Fact>,
    /// Sorted: best severity first, then in the order of the rulebook. Rules that hold are here too, as passes.
    pub findings: Vec<Finding>,
    /// Rules that do not apply to this kind of subject or this track, in the order of the rulebook.
    pub not_applicable: Vec<RuleId>,
    /// Files read, sorted by path.
    pub files: Vec<SubjectFile>,
    /// What pages show besides; in no other format.
    #[serde(skip)]
    #[schemars(skip)]
    pub profile: Option<Box<Profile>>,
}

impl Report {
    /// The level for people: a subject that was read and breaks a rule has none, and is not unreadable.
    pub fn level_words(&self) -> String {
        let level = self.assurance.level;
        if level > Level::Unreadable {
            return format!("level {} of 5: {level}", level.number());
        }
        let mut rules: Vec<&str> = self.at_severity(Severity::Fail).map(|finding| finding.rule.0).collect();
        rules.dedup();
        match (rules.as_slice(), self.status) {
            ([], Status::Complete) => "no level".to_string(),
            ([], status) => format!("no level: the audit is {}", status.word()),
            ([rule], _) => format!("no level while 1 rule fails: {rule}"),
            (rules, _) => format!("no level while {} rules fail: {}", rules.len(), rules.join(", ")),
        }
    }

    /// The level in a column: its word, or a dash.
    pub fn level_cell(&self) -> &'static str {
        match self.assurance.level {
            Level::Unreadable => "-",
            level => level.word(),
        }
    }

    /// A headline fact, as it is printed.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.as_str())
    }

    /// The worst finding, as one word says it: an open question is no reason for alarm, what was not examined is.
    pub fn verdict_word(&self) -> Severity {
        match self.worst() {
            Severity::Note | Severity::Unknown if self.status == Status::Complete => Severity::Pass,
            worst => worst,
        }
    }

    /// Findings of one severity, in order.
    pub fn at_severity(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.severity == severity)
    }

    /// Number of findings of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.at_severity(severity).count()
    }

    /// Worst severity found; `Pass` when nothing was.
    pub fn worst(&self) -> Severity {
        self.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Pass)
    }

    /// Failed if something is at or above `fail_on`, else unchecked if not everything was examined.
    pub fn conclusion(&self, fail_on: Severity) -> Conclusion {
        let fails =
            |finding: &Finding| finding.severity >= fail_on && finding.severity > Severity::Note && !finding.broken;
        if self.findings.iter().any(fails) {
            Conclusion::Failed
        } else if self.status > Status::Complete {
            Conclusion::Unchecked
        } else {
            Conclusion::Passed
        }
    }
}

/// Something below the given paths that was not examined, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Skipped {
    /// The path.
    pub path: String,
    /// Why not.
    pub reason: String,
    /// What kind of reason.
    pub cause: SkipCause,
}

/// Kinds of reasons not to examine something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipCause {
    /// It is no submission, and not meant to be examined: links, loose files.
    NoSubject,
    /// It could hold submissions, and was out of reach: the audit is incomplete.
    OutOfReach,
}

/// What a file of defaults decided of an audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Defaults {
    /// The file.
    pub path: String,
    /// The policy it names.
    pub policy: Option<String>,
    /// Rules whose violations it makes notes.
    pub allow: Vec<String>,
    /// The track it names.
    pub track: Option<Track>,
}

/// One run of `verify`: every subject in path order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Audit {
    /// Always `golf-harness/audit/v1`.
    #[schemars(extend("const" = Self::SCHEMA))]
    pub schema: &'static str,
    /// Version of this crate.
    pub harness: &'static str,
    /// The worst of all subjects, and of what was skipped.
    pub status: Status,
    /// One report a subject.
    pub reports: Vec<Report>,
    /// What lay in the way and was not examined.
    pub skipped: Vec<Skipped>,
    /// What a file of defaults decided; flags win over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Defaults>,
}

impl Audit {
    /// Identifier of the JSON report format.
    pub const SCHEMA: &'static str = "golf-harness/audit/v1";

    /// An audit of these subjects, as they are ordered. Their names become visible text: a folder may be called anything.
    pub fn new(mut reports: Vec<Report>, mut skipped: Vec<Skipped>) -> Self {
        reports.iter_mut().for_each(|report| report.subject = visible(&report.subject));
        skipped.iter_mut().for_each(|skipped| skipped.path = visible(&skipped.path));
        let out_of_reach = skipped.iter().any(|skipped| skipped.cause == SkipCause::OutOfReach);
        let own = if out_of_reach { Status::Incomplete } else { Status::Complete };
        let status = reports.iter().map(|report| report.status).fold(own, Status::max);
        Audit { schema: Self::SCHEMA, harness: env!("CARGO_PKG_VERSION"), status, reports, skipped, defaults: None }
    }

    /// Failed if any subject fails, else unchecked if not everything was examined or there was no subject.
    pub fn conclusion(&self, fail_on: Severity) -> Conclusion {
        let each: Vec<Conclusion> = self.reports.iter().map(|report| report.conclusion(fail_on)).collect();
        if each.contains(&Conclusion::Failed) {
            Conclusion::Failed
        } else if each.is_empty() || self.status > Status::Complete {
            Conclusion::Unchecked
        } else {
            Conclusion::Passed
        }
    }
}
