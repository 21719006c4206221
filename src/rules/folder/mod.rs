//! Rules about the record folder of a submission.

mod bytes;
mod carriers;
mod code;
mod denominator;
mod digits;
mod disk;
mod documents;
mod fields;
mod logs;
mod machine;
mod numbers;
mod parameters;
mod profile;
mod record;
mod results;
pub(super) mod runs;
mod safety;
mod seed_choice;
mod seed_values;
mod seeds;
mod selected_runs;
mod shipped;
mod source;
mod step_times;
mod times;
mod unfinished;

#[cfg(test)]
mod tests;

pub(super) use denominator::corrected_bpb;
pub(super) use profile::profile;
pub use profile::{claimed_runs, runs_of_log};
pub use record::{date as claimed_day, own_pr};

use super::Rule;
use crate::report::Evidence;
use crate::submission::{ClaimedField, SubmissionJson};

/// What every rule here starts from.
const DEFAULT: Rule = Rule::BLANK;

/// All of them, in report order.
pub(super) const RULES: &[&[Rule]] = &[
    safety::RULES,
    documents::RULES,
    fields::RULES,
    numbers::RULES,
    code::RULES,
    shipped::RULES,
    bytes::RULES,
    disk::RULES,
    logs::RULES,
    source::RULES,
    parameters::RULES,
    results::RULES,
    denominator::RULES,
    seeds::RULES,
    times::RULES,
    step_times::RULES,
    machine::RULES,
    record::RULES,
];

/// The README's list of files: what the challenge asks of every submission.
const FILE_LIST: &str = "challenge README, \"Submission Process\": README.md, submission.json, train log, train_gpt.py";

/// Evidence in submission.json: a field and the number it claims.
fn cite(json: &SubmissionJson, field: &ClaimedField) -> Evidence {
    Evidence::at(&json.path, json.line_of(&field.key)).found(format!("{}: {}", field.key, field.number))
}
