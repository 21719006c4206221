//! Runs every rule that applies, whatever happens to the others.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Case, Outcome, Policy, Rule, all};
use crate::escape::visible;
use crate::manifest::Track;
use crate::report::{Finding, RuleId, Severity};

/// How the finding of a check that panicked begins.
pub const BROKEN_CHECK: &str = "this check broke and decided nothing";

/// Findings in report order, and the rules that had nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Best severity first, then rulebook order.
    pub findings: Vec<Finding>,
    /// In rulebook order.
    pub not_applicable: Vec<RuleId>,
}

/// Runs all rules for `case` under `policy`.
///
/// A check that panics becomes an `unknown` finding of its own rule; this is the only place where a panic is caught.
pub fn evaluate(case: &Case, track: Track, policy: &Policy) -> Evaluation {
    evaluate_by(all(), case, track, policy)
}

fn evaluate_by<'a>(rules: impl Iterator<Item = &'a Rule>, case: &Case, track: Track, policy: &Policy) -> Evaluation {
    let mut evaluation = Evaluation::default();
    for rule in rules {
        let outcome = if rule.tracks.include(track) {
            catch_unwind(AssertUnwindSafe(|| case.decide(rule))).unwrap_or_else(|panic| Some(Err(words(&*panic))))
        } else if case.concerns(rule) {
            Some(Ok(Outcome::NotApplicable))
        } else {
            None
        };
        match outcome {
            None => {}
            Some(Ok(Outcome::NotApplicable)) => evaluation.not_applicable.push(rule.id),
            Some(Ok(outcome)) => evaluation.findings.extend(findings(rule, outcome, policy)),
            Some(Err(panic)) => evaluation.findings.push(Finding {
                rule: rule.id,
                severity: Severity::Unknown,
                message: visible(&format!("{BROKEN_CHECK}: {panic}")),
                evidence: Vec::new(),
                broken: true,
                incomplete: false,
                allowed: false,
            }),
        }
    }
    // Stable: within a severity the order of the rulebook stays.
    evaluation.findings.sort_by_key(|finding| finding.severity);
    evaluation
}

fn findings(rule: &Rule, outcome: Outcome, policy: &Policy) -> Vec<Finding> {
    let finding = |severity, message: String, evidence| Finding {
        rule: rule.id,
        severity,
        // Checks quote what strangers wrote; evidence is made visible where it is made.
        message: visible(&message),
        evidence,
        broken: false,
        incomplete: false,
        allowed: false,
    };
    match outcome {
        Outcome::Holds(remark) => vec![finding(Severity::Pass, remark.unwrap_or_else(|| "holds".into()), Vec::new())],
        Outcome::Unknown(missing) => vec![finding(Severity::Unknown, missing, Vec::new())],
        Outcome::NotApplicable => Vec::new(),
        Outcome::Violated(violations) => violations
            .into_iter()
            .map(|violation| {
                let own = violation.severity.unwrap_or(rule.severity);
                let severity = policy.severity(rule.id).unwrap_or(own);
                let allowed = severity > Severity::Note && policy.allows(rule.id);
                Finding {
                    allowed,
                    // Who allows it takes it as it is.
                    incomplete: violation.incomplete && !allowed,
                    ..finding(if allowed { Severity::Note } else { severity }, violation.message, violation.evidence)
                }
            })
            .collect(),
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rules::{Check, FolderCase, PolicyFile};
    use crate::submission::RecordFolder;

    #[test]
    fn a_check_that_panics_is_named_and_stops_no_other() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/submissions/good");
        let folder = RecordFolder::read(&path);
        let policy = PolicyFile::builtin(Track::TenMinutes).unwrap().on(None);
        let case = Case::Folder(FolderCase { folder: &folder, track: Track::TenMinutes, policy: &policy });
        let rule = |id, check| Rule { id: RuleId(id), check: Check::Folder(check), ..*all().next().unwrap() };
        let rules = [
            rule("with_a_number", |_| panic!("{} is odd", 7)),
            rule("holds", |_| Outcome::Holds(None)),
            rule("with_text", |_| panic!("no text")),
        ];
        let findings = evaluate_by(rules.iter(), &case, Track::TenMinutes, &policy).findings;
        let found: Vec<_> = findings.iter().map(|f| (f.rule.0, f.severity, f.broken, f.message.as_str())).collect();
        assert_eq!(
            found,
            [
                ("holds", Severity::Pass, false, "holds"),
                ("with_a_number", Severity::Unknown, true, "this check broke and decided nothing: 7 is odd"),
                ("with_text", Severity::Unknown, true, "this check broke and decided nothing: no text"),
            ]
        );
    }
}
