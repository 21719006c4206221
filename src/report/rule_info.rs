//! What a report may say about a rule besides its findings.

use super::{RuleId, Severity};

/// A rule in words.
#[derive(Clone, Copy, Debug)]
pub struct RuleInfo {
    /// What is wrong when the rule fires, in one line.
    pub statement: &'static str,
    /// Where the rule comes from.
    pub reference: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// A small example that breaks it.
    pub example: &'static str,
    /// Severity of a violation unless the check grades it or a policy overrides it.
    pub severity: Severity,
}

/// Finds what is known about a rule; reports know no rulebook of their own.
pub type RuleLookup = fn(RuleId) -> Option<RuleInfo>;
