//! Rules about a manifest and the files it names.

mod budget;
mod claims;
mod files;
mod quality;

/// All of them, in report order.
pub(super) const RULES: &[Rule] = &[
    files::MISSING,
    files::ELSEWHERE,
    files::UNREADABLE,
    files::OUTSIDE,
    files::SIZE,
    files::DIGEST,
    files::UNSEALED,
    files::EXTRA,
    files::DECODE,
    files::TENSORS,
    budget::OVER_BUDGET,
    budget::CODE_SHIPPED,
    claims::TOTALS,
    claims::MODEL_SIZE,
    claims::IMPLIED_BYTES,
    claims::PARAMETERS,
    claims::REPRODUCED,
    quality::TRAIN_TIME,
    quality::EVAL_TIME,
    quality::SEEDS,
    quality::HARDWARE,
    quality::IDLE_BIGRAM,
    quality::BYTE_SIDECAR,
    quality::NOTES,
];

use super::{ManifestCase, Rule};
use crate::report::Evidence;

/// Evidence in the manifest itself: a field by its dotted name.
fn field(case: &ManifestCase, name: &str) -> Evidence {
    Evidence::file(format!("{}#{name}", case.files.manifest_name))
}

/// The recorded sample of the windows that says most about the claim, where no score does.
pub(super) fn headline_sample(results: &crate::manifest::Results) -> Option<&crate::manifest::SampleRecord> {
    let samples = &results.samples;
    samples.get("packed/sliding").or_else(|| samples.values().next())
}

/// The recorded score that answers the claim: packed and sliding if there is one, with weights that learn on the way before
/// weights that stay; else the first packed one; without any the checkpoint's sliding one, else the first.
pub(super) fn headline_score(results: &crate::manifest::Results) -> Option<(&String, &crate::manifest::ScoreRecord)> {
    let scores = &results.scores;
    ["packed/sliding-ttt", "packed/sliding"]
        .iter()
        .find_map(|label| scores.get_key_value(*label))
        .or_else(|| scores.iter().find(|(label, _)| label.starts_with("packed")))
        .or_else(|| scores.get_key_value("checkpoint/sliding"))
        .or_else(|| scores.iter().next())
}
