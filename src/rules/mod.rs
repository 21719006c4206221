//! The rulebook: every rule is data (id, statement, source, severity, example) plus one check function.
//!
//! A check is a pure function from what was read ([`FolderCase`], [`ManifestCase`]) to an [`Outcome`]; it cannot
//! choose its rule's name or severity, and it cannot stop the others. [`judge`](fn@judge) runs every rule that applies, turns a
//! panic into an `unknown` finding, and sorts. Numbers that rules compare with come from a [`Policy`], never from code.

pub mod audit;
mod case;
mod change;
mod code;
mod explain;
mod folder;
mod judge;
mod manifest;
mod policy;
mod record;
mod registry;
mod rule;
pub mod standing;
pub mod tree;

pub use case::{Case, ChangeCase, FolderCase, ManifestCase};
pub use explain::{explain, markdown};
pub use judge::{BROKEN_CHECK, Judgment, judge};
pub use policy::{POLICY_SCHEMA, Policy, PolicyError, PolicyFile, is_iso_date};
pub use registry::{all, closest, find, info};
pub use rule::{Basis, Check, Outcome, Rule, Tracks, Violation};
