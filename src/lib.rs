//! Golf Harness: a reproducibility harness and artifact verifier for Parameter Golf.
//!
//! The challenge asks for the best language model in a 16,000,000-byte artifact, trained in 600 s
//! and scored in bits per byte on FineWeb. This crate reads a [`manifest`], trains the model it
//! describes, packs it, verifies every claim about it and scores it again, deterministically.
//!
//! ```
//! use std::path::Path;
//!
//! use golf_harness::rules::audit::{self, Options};
//!
//! // Reads the folder, runs every rule that applies, executes nothing.
//! let folder = Path::new("fixtures/submissions/over-budget");
//! let report = audit::folder(folder, "over-budget".into(), &Options::default())?;
//! assert!(report.findings.iter().any(|finding| finding.rule.0 == "over_budget"));
//! # Ok::<(), audit::AuditError>(())
//! ```
//!
//! The modules follow the story of one claim:
//!
//! * [`manifest`] says what is claimed and how to repeat it;
//! * [`data`] reads token shards and the tokenizer;
//! * [`model`] names the parameters, [`engine`] runs them, [`train`] fits them, on one
//!   rank or, through a [`collective`], on several;
//! * [`artifact`] turns a checkpoint into the bytes that count;
//! * [`eval`] scores windows into bits per byte;
//! * [`submission`] reads submissions, [`rules`] and [`stats`] check them, [`report`] says what they
//!   found;
//! * [`worker`] audits in a process of its own, which [`confine`] takes everything else away from;
//! * [`site`] shows an audit as pages;
//! * [`reproduce`] does all of it for one manifest;
//! * [`rerun`] runs a submission's own script again and holds it to its claim.
//!
//! `docs/architecture.md` has the order in which modules may import one another, and one claim's way through them.
//!
//! Results are values and errors; running text goes to a writer that the caller passes in. Only [`cli`], which the
//! binaries in `bins/` use, prints, draws progress bars and knows exit codes.

// Checks that the integration tests share with this crate's own name it as they do.
#[cfg(all(test, feature = "engine"))]
extern crate self as golf_harness;

pub mod artifact;
pub mod atomic_write;
pub mod cli;
pub mod confine;
pub mod coverage;
pub mod data;
pub mod digest;
pub mod escape;
pub mod eval;
mod glob;
pub mod interrupt;
mod is_default;
pub mod manifest;
pub mod model;
pub mod path_safety;
pub mod progress;
pub mod quant;
pub mod random;
pub mod record_folder;
mod regular_file;
pub mod report;
pub mod rerun;
pub mod rules;
pub mod run_folder;
pub mod site;
pub mod stats;
pub mod submission;
pub mod units;
pub mod worker;

#[cfg(feature = "engine")]
pub mod collective;
#[cfg(feature = "engine")]
pub mod engine;
#[cfg(feature = "engine")]
pub mod fit;
#[cfg(feature = "engine")]
pub mod optim;
#[cfg(feature = "engine")]
pub mod reproduce;
#[cfg(feature = "engine")]
pub mod train;
