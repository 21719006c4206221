//! The audit that did not come to its end.

use std::path::Path;

use super::audit::{AuditError, Options};
use super::{Check, EvidenceKind, Rule};
use crate::manifest::Track;
use crate::report::{Assurance, Evidence, Finding, Level, Report, RuleId, Severity, Status, SubjectKind};
use crate::submission::RecordFolder;

/// The rule's name.
const ID: RuleId = RuleId("audit_stopped");

pub(super) const RULES: &[Rule] = &[Rule {
    id: ID,
    statement: "The audit was stopped before its end.",
    reference: "limits of this tool for one subject: 512 MB of memory, 20 s of processor time (docs/what-verify-checks.md)",
    severity: Severity::Unknown,
    evidence: EvidenceKind::Files,
    why: "A file that takes more memory or time than any submission needs must not stop the audit of others. Nothing is known about the subject, whatever --allow or a policy say.",
    example: "a model file whose reader would need gigabytes",
    check: Check::Audit,
    ..Rule::BLANK
}];

/// The report about a subject whose audit ended before it gave one: `why` names the limit, the evidence the file.
pub fn report(
    path: &Path,
    subject: String,
    is_manifest: bool,
    options: &Options,
    (why, evidence): (&str, Evidence),
) -> Result<Report, AuditError> {
    let by_place = RecordFolder::track_of_place(path).filter(|_| !is_manifest);
    let policy = options.policy_for(options.track_for(by_place.unwrap_or(Track::TenMinutes)))?;
    let finding = Finding {
        rule: ID,
        severity: Severity::Unknown,
        message: format!("the audit was stopped: {why}"),
        evidence: vec![evidence],
        broken: true,
        incomplete: false,
        allowed: false,
    };
    Ok(Report {
        subject,
        kind: if is_manifest { SubjectKind::Manifest } else { SubjectKind::RecordFolder },
        policy: policy.reference(),
        status: Status::Broken,
        assurance: Assurance { level: Level::Unreadable, next_needs: vec!["an audit that comes to its end".into()] },
        facts: Vec::new(),
        findings: vec![finding],
        not_applicable: Vec::new(),
        files: Vec::new(),
        profile: None,
    })
}
