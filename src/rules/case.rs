//! What a check gets to see.

use super::{Check, Outcome, Policy, Rule};
use crate::manifest::{Manifest, Track};
use crate::submission::change::{Change, LeftOut};
use crate::submission::{ManifestFiles, RecordFolder};

/// A record folder under a policy.
#[derive(Clone, Copy, Debug)]
pub struct FolderCase<'a> {
    /// What was read.
    pub folder: &'a RecordFolder,
    /// The track it is checked against.
    pub track: Track,
    /// The numbers in force.
    pub policy: &'a Policy,
}

/// A manifest with what was found on disk, under a policy.
#[derive(Clone, Copy, Debug)]
pub struct ManifestCase<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The files it names, and the others in its folder.
    pub files: &'a ManifestFiles,
    /// The numbers in force.
    pub policy: &'a Policy,
}

/// A git range under a policy.
#[derive(Clone, Copy, Debug)]
pub struct ChangeCase<'a> {
    /// What the range changes.
    pub change: &'a Change,
    /// Files that could not be taken out of the repository.
    pub left_out: &'a [LeftOut],
    /// The numbers in force.
    pub policy: &'a Policy,
}

/// Anything that can be checked.
#[derive(Clone, Copy, Debug)]
pub enum Case<'a> {
    /// A record folder.
    Folder(FolderCase<'a>),
    /// A manifest.
    Manifest(ManifestCase<'a>),
    /// A git range.
    Change(ChangeCase<'a>),
}

impl Case<'_> {
    /// Whether the rule looks at this kind of subject at all.
    pub fn concerns(&self, rule: &Rule) -> bool {
        matches!(
            (self, rule.check),
            (Case::Folder(_), Check::Folder(_))
                | (Case::Manifest(_), Check::Manifest(_))
                | (Case::Change(_), Check::Change(_))
        )
    }

    /// Runs the rule's check; `None` where it does not look at this kind of subject.
    ///
    /// Shaped for [`evaluate`](fn@super::evaluate): the inner `Err` is filled in by a caught panic only.
    pub(super) fn decide(&self, rule: &Rule) -> Option<Result<Outcome, String>> {
        match (self, rule.check) {
            (Case::Folder(case), Check::Folder(check)) => Some(Ok(check(case))),
            (Case::Manifest(case), Check::Manifest(check)) => Some(Ok(check(case))),
            (Case::Change(case), Check::Change(check)) => Some(Ok(check(case))),
            _ => None,
        }
    }
}
