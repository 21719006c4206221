//! What may look like a rule's fault and is none, and how often that happened on labeled submissions.
//!
//! Two tables, apart from the rules so that they can be read in one piece. The counts are written by
//! `ci/corpus_agreement.py --write`, because the labeled submissions are not part of the repository.

use crate::report::RuleId;

/// Rule, tab, what may be taken for it.
const RISKS: &str = include_str!("false_alarms.tsv");
/// Rule, tab, four counts: labels of high confidence, those found, findings, findings that carry a label.
const AGREEMENT: &str = include_str!("corpus_agreement.tsv");

/// In what case a finding of this rule would be wrong; empty for a rule without an entry.
pub fn risk(rule: RuleId) -> &'static str {
    RISKS.lines().find_map(|line| line.strip_prefix(rule.0)?.strip_prefix('\t')).unwrap_or_default()
}

/// How a rule agrees with labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Name of the rule.
    pub rule: &'static str,
    /// Labels of high confidence.
    pub labels: u32,
    /// Of those, found.
    pub found: u32,
    /// Findings.
    pub findings: u32,
    /// Of those, with a label of any confidence.
    pub confirmed: u32,
}

/// All rules that have labels or findings, in the order of their names.
pub fn agreement() -> impl Iterator<Item = Agreement> {
    AGREEMENT.lines().filter_map(|line| {
        let mut cells = line.split('\t');
        let rule = cells.next()?;
        let mut count = || cells.next()?.parse().ok();
        Some(Agreement { rule, labels: count()?, found: count()?, findings: count()?, confirmed: count()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::all;

    #[test]
    fn every_rule_says_when_it_would_be_wrong() {
        for rule in all() {
            assert!(!risk(rule.id).trim().is_empty(), "{}: add a line to src/rules/false_alarms.tsv", rule.id);
        }
        let names: Vec<&str> = RISKS.lines().filter_map(|line| line.split('\t').next()).collect();
        assert!(names.is_sorted(), "false_alarms.tsv is not in the order of names");
    }

    #[test]
    fn counts_are_of_known_rules_and_possible() {
        assert!(agreement().count() > 20);
        assert_eq!(agreement().count(), AGREEMENT.lines().filter(|line| !line.starts_with('#')).count());
        for row in agreement() {
            assert!(all().any(|rule| rule.id.0 == row.rule), "{} is no rule", row.rule);
            assert!(row.found <= row.labels && row.confirmed <= row.findings, "{row:?}");
        }
    }
}
