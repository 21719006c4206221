//! Rules about source code and the commands that run it. Nothing is executed.

mod readme;
mod review;
mod source;

use super::{FolderCase, Rule};
use crate::submission::code::CodeSurvey;

/// All of them, in report order.
pub(super) const RULES: &[Rule] = &[
    source::SYNTAX,
    source::NOT_PARSED,
    source::NEEDS_3_12,
    source::PACKED,
    source::NOT_OPENED,
    source::MISSING_MODULE,
    source::ZSTD_FALLBACK,
    readme::LOST_VARIABLES,
    readme::UNREAD_VARIABLE,
    review::NGRAM,
    review::SLOT,
    review::TRAINS_BEFORE_SCORING,
    review::CALIBRATION,
    review::NETWORK,
    review::PROGRAM,
];

/// Places shown for one finding.
const MAX_PLACES: usize = 8;

fn survey<'a>(case: &FolderCase<'a>) -> &'a CodeSurvey {
    &case.folder.survey
}
