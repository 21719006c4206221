//! The rulebook: every rule is data (id, statement, source, severity, example) plus one check function.
//!
//! A check is a pure function from what was read ([`FolderCase`], [`ManifestCase`]) to an [`Outcome`]; it cannot
//! choose its rule's name or severity, and it cannot stop the others. [`evaluate`](fn@evaluate) runs every rule that applies, turns a
//! panic into an `unknown` finding, and sorts. Numbers that rules compare with come from a [`Policy`], never from code.

pub mod assurance;
pub mod audit;
mod auditor;
mod case;
mod change;
mod code;
mod evaluate;
mod explain;
mod false_alarms;
mod folder;
mod manifest;
mod policy;
mod record;
mod registry;
mod rule;
mod stopped;
pub mod tree;

pub use auditor::{Auditor, InProcess};
pub use case::{Case, ChangeCase, FolderCase, ManifestCase};
pub use evaluate::{BROKEN_CHECK, Evaluation, evaluate};
pub use explain::{explain, markdown};
pub use folder::{claimed_day, claimed_runs, own_pr, runs_of_log};
pub use policy::{Limits, POLICY_SCHEMA, Policy, PolicyError, PolicyFile, is_iso_date};
pub use registry::{all, closest, find, info};
pub use rule::{Check, EvidenceKind, Outcome, Rule, Tracks, Violation};
