//! A worker's report, checked: it comes from a process that read a stranger's bytes.
//!
//! Nothing in it is taken for granted. Names of rules are those of the rulebook and fit the subject, the policy is one
//! that was asked for, the level is one that files can reach, findings are in order, the status follows from them, text
//! cannot repaint a terminal. So the worst that a subverted worker can do is to lie about its own subject.

use serde::Deserialize;

use super::job::Job;
use crate::digest::{ContentDigest, Digest};
use crate::escape::visible;
use crate::report::{
    Assurance, Evidence, Fact, Finding, Level, PolicyRef, Profile, Report, Severity, Status, SubjectFile, SubjectKind,
};
use crate::rules::audit::{FACT_NAMES, Profiling};
use crate::rules::{Check, Rule, find};
use crate::units::Bytes;

/// Longest text of a report, characters: a message may list many files.
const MAX_TEXT_CHARS: usize = 1 << 20;

/// A report as a worker writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    subject: String,
    kind: SubjectKind,
    policy: PolicyRef,
    status: Status,
    assurance: Assurance,
    facts: Vec<AnswerFact>,
    findings: Vec<AnswerFinding>,
    not_applicable: Vec<String>,
    files: Vec<AnswerFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerFact {
    name: String,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerFinding {
    rule: String,
    severity: Severity,
    message: String,
    #[serde(default)]
    evidence: Vec<AnswerEvidence>,
    #[serde(default)]
    broken: bool,
    #[serde(default)]
    incomplete: bool,
    #[serde(default)]
    allowed: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerEvidence {
    path: String,
    line: Option<u64>,
    found: Option<String>,
    expected: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerFile {
    path: String,
    bytes: Bytes,
    sha256: Digest,
    blake3: Digest,
}

/// What is wrong with an answer.
pub(super) type Wrong = &'static str;

impl Answer {
    /// The report about the job's subject, if it is one; `policies` are those it may have been checked against.
    pub fn into_report(
        self,
        job: &Job,
        policies: &[PolicyRef],
        profile: Option<Box<Profile>>,
    ) -> Result<Report, Wrong> {
        if profile.is_some() && job.options.profile == Profiling::Skip {
            return Err("it has a profile that nobody asked for");
        }
        let profile = profile.map(|profile| profile.checked(text).map(Box::new)).transpose()?;
        let kind = if job.is_manifest { SubjectKind::Manifest } else { SubjectKind::RecordFolder };
        if self.subject != job.name || self.kind != kind {
            return Err("it is about another subject");
        }
        if !policies.contains(&self.policy) {
            return Err("it names a policy that was not asked for");
        }
        let highest = if job.is_manifest { Level::Sealed } else { Level::Documented };
        if self.assurance.level > highest {
            return Err("it claims a level that files cannot reach");
        }
        let findings = self.findings.into_iter().map(|finding| finding.check(kind)).collect::<Result<Vec<_>, _>>()?;
        if !findings.is_sorted_by_key(|finding| finding.severity) {
            return Err("its findings are out of order");
        }
        if self.status != Status::of(&findings) {
            return Err("its status is not that of its findings");
        }
        let not_applicable =
            self.not_applicable.iter().map(|id| Ok(rule(id, kind)?.id)).collect::<Result<Vec<_>, Wrong>>()?;
        let facts = self.facts.into_iter().map(|fact| {
            let name = FACT_NAMES.iter().find(|name| **name == fact.name).ok_or("it states a fact of no known name")?;
            Ok(Fact { name, value: text(fact.value)? })
        });
        let files = self.files.into_iter().map(|file| {
            let digest = ContentDigest { bytes: file.bytes, sha256: file.sha256, blake3: file.blake3 };
            Ok(SubjectFile { path: text(file.path)?, digest })
        });
        let next_needs = self.assurance.next_needs.into_iter().map(text).collect::<Result<_, _>>()?;
        Ok(Report {
            subject: self.subject,
            kind,
            policy: self.policy,
            status: self.status,
            assurance: Assurance { level: self.assurance.level, next_needs },
            facts: facts.collect::<Result<_, Wrong>>()?,
            findings,
            not_applicable,
            files: files.collect::<Result<_, Wrong>>()?,
            profile,
        })
    }
}

impl AnswerFinding {
    fn check(self, kind: SubjectKind) -> Result<Finding, Wrong> {
        let evidence = self.evidence.into_iter().map(|evidence| {
            Ok(Evidence {
                path: text(evidence.path)?,
                line: evidence.line,
                found: evidence.found.map(text).transpose()?,
                expected: evidence.expected.map(text).transpose()?,
            })
        });
        Ok(Finding {
            rule: rule(&self.rule, kind)?.id,
            severity: self.severity,
            message: text(self.message)?,
            evidence: evidence.collect::<Result<_, Wrong>>()?,
            broken: self.broken,
            incomplete: self.incomplete,
            allowed: self.allowed,
        })
    }
}

/// The rule of that name, if it looks at such subjects.
fn rule(id: &str, kind: SubjectKind) -> Result<&'static Rule, Wrong> {
    let rule = find(id).ok_or("it names a rule that there is not")?;
    match (rule.check, kind) {
        (Check::Folder(_), SubjectKind::RecordFolder) | (Check::Manifest(_), SubjectKind::Manifest) => Ok(rule),
        _ => Err("it names a rule of other subjects"),
    }
}

/// Text that is as harmless as reports promise.
fn text(text: String) -> Result<String, Wrong> {
    if text.len() > MAX_TEXT_CHARS {
        return Err("it has a text longer than any");
    }
    // Says the same of text that is harmless already.
    Ok(visible(&text))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::report::{Finite, MAX_SERIES, Point};
    use crate::rules::audit::{self, Options};

    fn honest() -> (Job, Report) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/submissions/over-budget");
        let options = Options::default();
        let job = Job { name: "over-budget".into(), path: path.as_path().into(), is_manifest: false, options };
        let report = audit::folder(&path, "over-budget".into(), &Options::default()).unwrap();
        (job, report)
    }

    fn checked(value: serde_json::Value) -> Result<Report, String> {
        let (job, report) = honest();
        let answer: Answer = serde_json::from_value(value).map_err(|error| error.to_string())?;
        answer.into_report(&job, &[report.policy], None).map_err(str::to_string)
    }

    #[test]
    fn an_honest_report_comes_back_as_it_was() {
        let (_, report) = honest();
        assert_eq!(checked(serde_json::to_value(&report).unwrap()), Ok(report));
    }

    #[test]
    fn what_a_subverted_worker_may_try_is_refused() {
        let (_, report) = honest();
        let honest = serde_json::to_value(&report).unwrap();
        for (pointer, forged, said) in [
            ("/subject", serde_json::json!("another"), "another subject"),
            ("/kind", serde_json::json!("manifest"), "another subject"),
            ("/kind", serde_json::json!("anything"), "unknown variant"),
            ("/policy/name", serde_json::json!("mine"), "policy"),
            ("/assurance/level", serde_json::json!("record"), "level"),
            ("/status", serde_json::json!("broken"), "status"),
            ("/findings/0/rule", serde_json::json!("my_rule"), "there is not"),
            ("/findings/0/rule", serde_json::json!("digest_mismatch"), "other subjects"),
            ("/findings/0/rule", serde_json::json!("audit_stopped"), "other subjects"),
            ("/findings/0/severity", serde_json::json!("fail"), "order"),
            ("/findings/0/severity", serde_json::json!("fine"), "unknown variant"),
            ("/findings/0/message", serde_json::json!("x".repeat(MAX_TEXT_CHARS + 1)), "longer"),
            ("/facts/0/name", serde_json::json!("verdict"), "no known name"),
            ("/files/0/sha256", serde_json::json!("00"), "64"),
        ] {
            let mut value = honest.clone();
            *value.pointer_mut(pointer).unwrap() = forged;
            let error = checked(value).unwrap_err();
            assert!(error.contains(said), "{pointer}: {error}");
        }
        let mut value = honest.clone();
        value.as_object_mut().unwrap().insert("verdict".into(), "pass".into());
        assert!(checked(value).unwrap_err().contains("unknown field"));
        let mut value = honest;
        *value.pointer_mut("/findings/0/message").unwrap() = "\u{1b}[2J\n".into();
        assert_eq!(checked(value).unwrap().findings[0].message, "\\u{1b}[2J\\n");
    }

    #[test]
    fn a_profile_is_asked_for_bounded_and_harmless() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/submissions/over-budget");
        let options = Options { profile: Profiling::Collect, ..Options::default() };
        let report = audit::folder(&path, "over-budget".into(), &options).unwrap();
        let value = serde_json::to_value(&report).unwrap();
        assert!(value.get("profile").is_none(), "no published report has one");
        let job =
            |options| Job { name: "over-budget".into(), path: path.as_path().into(), is_manifest: false, options };
        let heard = |profile: Box<Profile>, options: &Options| {
            let answer: Answer = serde_json::from_value(value.clone()).unwrap();
            answer.into_report(&job(options.clone()), std::slice::from_ref(&report.policy), Some(profile))
        };
        let honest = report.profile.clone().unwrap();
        assert!(!honest.runs.is_empty() && !honest.excerpts.is_empty() && !honest.claims.is_empty());
        assert_eq!(heard(honest.clone(), &options).unwrap(), report);
        assert!(heard(honest.clone(), &Options::default()).unwrap_err().contains("nobody asked"));
        let mut long = honest.clone();
        long.runs[0].train_loss = vec![Point(1, None, Finite::default()); MAX_SERIES + 1];
        assert!(heard(long, &options).unwrap_err().contains("longer"));
        let mut long = honest.clone();
        long.excerpts[0].lines[0].1 = "x".repeat(MAX_TEXT_CHARS + 1);
        assert!(heard(long, &options).unwrap_err().contains("longer"));
        let mut painted = honest;
        painted.excerpts[0].lines[0].1 = "\u{1b}[2J".into();
        let report = heard(painted, &options).unwrap();
        assert_eq!(report.profile.unwrap().excerpts[0].lines[0].1, "\\u{1b}[2J");
        assert!(serde_json::from_str::<Finite>("1e999").is_err());
    }
}
