//! All rules in the order in which reports print them.

use super::{Rule, change, code, folder, manifest, record, stopped};
use crate::report::{RuleId, RuleInfo};

/// Rules by subject; each module keeps its own lists beside its checks.
const BOOK: &[&[&[Rule]]] =
    &[&[stopped::RULES, change::RULES], folder::RULES, code::RULES, &[manifest::RULES, record::RULES]];

/// Every rule, in the order of the rulebook.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    BOOK.iter().flat_map(|part| part.iter()).flat_map(|rules| rules.iter())
}

/// The rule of that name.
pub fn find(id: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.id.0 == id)
}

/// What reports may say about a rule.
pub fn info(id: RuleId) -> Option<RuleInfo> {
    find(id.0).map(|&Rule { statement, reference, why, example, severity, .. }| RuleInfo {
        statement,
        reference,
        why,
        example,
        severity,
    })
}

/// The rule whose name is most like this one, for error messages.
pub fn closest(id: &str) -> Option<&'static Rule> {
    all()
        .map(|rule| (strsim::damerau_levenshtein(id, rule.id.0), rule))
        .filter(|(distance, rule)| *distance <= 2 + rule.id.0.len() / 3)
        .min_by_key(|(distance, rule)| (*distance, rule.id))
        .map(|(_, rule)| rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Severity;

    #[test]
    fn every_rule_is_named_once_and_says_what_why_and_whence() {
        let mut seen = std::collections::BTreeSet::new();
        for rule in all() {
            let id = rule.id.0;
            assert!(seen.insert(id), "{id} appears twice");
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{id}");
            assert!(rule.severity > Severity::Pass, "{id} has no severity");
            for (what, text) in [
                ("statement", rule.statement),
                ("reference", rule.reference),
                ("why", rule.why),
                ("example", rule.example),
            ] {
                assert!(!text.trim().is_empty(), "{id} has no {what}");
            }
            assert!(!rule.statement.contains('\n') && rule.statement.len() <= 130, "{id}: statement is not one line");
        }
    }

    #[test]
    fn a_misspelled_rule_is_recognized() {
        assert_eq!(closest("digest_mismach").unwrap().id.0, "digest_mismatch");
        assert!(closest("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz").is_none());
    }
}
