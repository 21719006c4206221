//! What a worker says, one JSON value a line: answers on its standard output, notes on the way on its error output,
//! among the last words that a runtime may add there.

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use crate::report::{Profile, Report};
use crate::units::Bytes;

/// A note, as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Note<'a> {
    /// It is confined; layers that the kernel does not have.
    Ready(&'a [String]),
    /// The file it reads next, as a path in the subject.
    Reading(&'a str),
    /// The file it hands next to code that is not memory-safe by its language: it is to get no other subject.
    Opening(&'a str),
    /// Everything is read.
    Checking,
}

/// A note, as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HeardNote {
    /// See [`Note::Ready`].
    Ready(Vec<String>),
    /// See [`Note::Reading`].
    Reading(String),
    /// See [`Note::Opening`].
    Opening(String),
    /// See [`Note::Checking`].
    Checking,
}

/// What a subject came to, as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) struct Said<'a> {
    /// The most memory the worker ever had, where that is known.
    pub peak: Option<Bytes>,
    /// What it came to.
    pub outcome: SaidOutcome<'a>,
    /// The profile of its subject, if it was asked for one.
    pub profile: Option<&'a Profile>,
}

/// See [`Said`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SaidOutcome<'a> {
    /// The report.
    Report(&'a Report),
    /// The subject cannot be checked; the error and its causes.
    Refused(&'a [String]),
}

/// What a subject came to, as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) struct Heard {
    /// See [`Said`].
    pub peak: Option<Bytes>,
    /// See [`Said`].
    pub outcome: HeardOutcome,
    /// See [`Said`].
    pub profile: Option<Box<Profile>>,
}

/// See [`Heard`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HeardOutcome {
    /// See [`SaidOutcome::Report`].
    Report(Box<Answer>),
    /// See [`SaidOutcome::Refused`].
    Refused(Vec<String>),
}
