//! What a worker says, one JSON value a line.

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use crate::report::Report;

/// A line of a worker, as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said<'a> {
    /// Layers of its confinement that the kernel does not have.
    Unconfined(&'a [String]),
    /// The file it reads next, as a path in the subject.
    Reading(&'a str),
    /// Everything is read.
    Checking,
    /// The report: the last line.
    Report(&'a Report),
    /// The subject cannot be checked; the error and its causes: the last line.
    Refused(&'a [String]),
}

/// A line of a worker, as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Heard {
    /// See [`Said::Unconfined`].
    Unconfined(Vec<String>),
    /// See [`Said::Reading`].
    Reading(String),
    /// See [`Said::Checking`].
    Checking,
    /// See [`Said::Report`].
    Report(Box<Answer>),
    /// See [`Said::Refused`].
    Refused(Vec<String>),
}
