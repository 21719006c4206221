//! All kinds of forgery, in the order of the page.

mod bytes;
mod code;
mod documents;
mod logs;
mod numbers;
mod pickles;
mod recomputing;

use crate::forgery::Kind;

/// Every kind.
pub fn all() -> impl Iterator<Item = &'static Kind> {
    [numbers::KINDS, documents::KINDS, logs::KINDS, bytes::KINDS, pickles::KINDS, code::KINDS, recomputing::KINDS]
        .into_iter()
        .flatten()
}
