//! What a rule is, and what a check may answer.

use serde::Serialize;

use super::{ChangeCase, FolderCase, ManifestCase};
use crate::manifest::Track;
use crate::report::{Evidence, RuleId, Severity};

/// One rule: words for people, a severity, and the function that decides it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rule {
    /// Stable name.
    pub id: RuleId,
    /// What is wrong when the rule fires, in one line.
    pub statement: &'static str,
    /// Where the rule comes from: README section, ruling, or custom, with its date where it has one.
    pub reference: &'static str,
    /// Severity of a violation unless the check grades it or a policy overrides it.
    pub severity: Severity,
    /// Tracks it applies to.
    pub tracks: Tracks,
    /// What kind of evidence decides it.
    pub evidence: EvidenceKind,
    /// Why it matters.
    pub why: &'static str,
    /// A small invented example that breaks it.
    pub example: &'static str,
    /// The function that decides it.
    #[serde(skip)]
    pub check: Check,
}

impl Rule {
    /// What rules start from: all that most of them have in common, and nothing of what makes one.
    pub(super) const BLANK: Rule = Rule {
        id: RuleId(""),
        statement: "",
        reference: "",
        severity: Severity::Warning,
        tracks: Tracks::Both,
        evidence: EvidenceKind::Files,
        why: "",
        example: "",
        check: Check::Folder(|_| Outcome::NotApplicable),
    };
}

/// Which track a rule applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tracks {
    /// Every submission.
    Both,
    /// `track_10min_16mb` only.
    TenMinutes,
    /// `track_non_record_16mb` only.
    NonRecord,
}

impl Tracks {
    /// Whether a submission of this track is bound.
    pub fn include(self, track: Track) -> bool {
        match self {
            Tracks::Both => true,
            Tracks::TenMinutes => track == Track::TenMinutes,
            Tracks::NonRecord => track == Track::NonRecord,
        }
    }
}

/// What decides a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// The files of the folder, never executed.
    Files,
    /// What the logs say, cross-checked with the files.
    Logs,
    /// Only a person can decide; the rule points at the place.
    Person,
    /// The change as a whole: what a git range adds and touches.
    Change,
}

/// The function behind a rule, by what it looks at.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// The record folder of a submission.
    Folder(fn(&FolderCase) -> Outcome),
    /// A manifest and the files it names.
    Manifest(fn(&ManifestCase) -> Outcome),
    /// What a git range changes.
    Change(fn(&ChangeCase) -> Outcome),
    /// No function: found by whoever runs the audit, when it does not come to its end.
    Audit,
}

/// What a check answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The rule holds; the sentence says by how much, where that is interesting.
    Holds(Option<String>),
    /// There is nothing here that the rule speaks about.
    NotApplicable,
    /// It cannot be decided from what is here; the sentence says what is missing.
    Unknown(String),
    /// It does not hold, in these ways. Never empty.
    Violated(Vec<Violation>),
}

impl Outcome {
    /// The rule holds, with nothing to add.
    pub const HOLDS: Outcome = Outcome::Holds(None);

    /// The rule holds, with a remark.
    pub fn holds(remark: impl Into<String>) -> Self {
        Outcome::Holds(Some(remark.into()))
    }

    /// Not enough evidence.
    pub fn unknown(missing: impl Into<String>) -> Self {
        Outcome::Unknown(missing.into())
    }

    /// One violation with its evidence.
    pub fn violated(message: impl Into<String>, evidence: Vec<Evidence>) -> Self {
        Outcome::Violated(vec![Violation::new(message, evidence)])
    }

    /// Violated if there are violations, else holds.
    pub fn from_violations(violations: Vec<Violation>) -> Self {
        if violations.is_empty() { Outcome::HOLDS } else { Outcome::Violated(violations) }
    }
}

/// One way in which a rule does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Severity, if the check grades it differently from the rule's severity.
    pub severity: Option<Severity>,
    /// One sentence with the numbers in it.
    pub message: String,
    /// Where to look.
    pub evidence: Vec<Evidence>,
    /// Whether it stands for something that is there and was not examined.
    pub incomplete: bool,
}

impl Violation {
    /// At the rule's own severity.
    pub fn new(message: impl Into<String>, evidence: Vec<Evidence>) -> Self {
        Violation { severity: None, message: message.into(), evidence, incomplete: false }
    }

    /// Something that is there was not examined.
    pub fn not_examined(message: impl Into<String>, evidence: Vec<Evidence>) -> Self {
        Violation { incomplete: true, ..Violation::new(message, evidence) }
    }

    /// At another severity.
    pub fn graded(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }
}
