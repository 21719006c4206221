//! Rules about a record folder as people hand it in.

mod bytes;
mod code;
mod denominator;
mod documents;
mod fields;
mod logs;
mod machine;
mod numbers;
mod record;
mod results;
pub(super) mod runs;
mod safety;
mod seeds;
mod times;

#[cfg(test)]
mod tests;

use super::{Check, Outcome, Rule, Tracks};
use crate::report::{Level, RuleId};
use crate::rules::Basis;

/// What every rule here starts from.
const DEFAULT: Rule = Rule {
    id: RuleId(""),
    statement: "",
    reference: "",
    severity: Level::Warning,
    tracks: Tracks::Both,
    basis: Basis::Files,
    why: "",
    example: "",
    check: Check::Folder(|_| Outcome::NotApplicable),
};

/// All of them, in report order.
pub(super) const RULES: &[&[Rule]] = &[
    safety::RULES,
    documents::RULES,
    fields::RULES,
    numbers::RULES,
    code::RULES,
    bytes::RULES,
    logs::RULES,
    results::RULES,
    denominator::RULES,
    seeds::RULES,
    times::RULES,
    machine::RULES,
    record::RULES,
];

/// The README's list of files: what the challenge asks of every submission.
const FILE_LIST: &str = "challenge README, \"Submission Process\": README.md, submission.json, train log, train_gpt.py";
