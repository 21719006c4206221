//! Rules about source code and the commands that run it. Nothing is executed.

mod practices;
mod readme;
mod review;
mod source;

use super::{FolderCase, Rule};
use crate::submission::code::CodeSurvey;

/// All of them, in report order.
pub(super) const RULES: &[&[Rule]] =
    &[source::RULES, &[readme::LOST_VARIABLES, readme::UNREAD_VARIABLE], review::RULES, practices::RULES];

/// Places shown for one finding.
const MAX_PLACES: usize = 8;

fn survey<'a>(case: &FolderCase<'a>) -> &'a CodeSurvey {
    &case.folder.survey
}
