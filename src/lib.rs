//! Golf Harness: a reproducibility harness and artifact verifier for Parameter Golf.
//!
//! The challenge asks for the best language model in a 16,000,000-byte artifact, trained in 600 s
//! and scored in bits per byte on FineWeb. This crate reads a [`manifest`], trains the model it
//! describes, packs it, verifies every claim about it and scores it again, deterministically.
//!
//! The folders follow the story of one claim:
//!
//! * [`manifest`] says what is claimed and how to repeat it;
//! * [`data`] reads token shards and the tokenizer;
//! * [`model`] names the parameters, [`engine`] runs them, [`train`] fits them, on one
//!   rank or, through a [`collective`], on several;
//! * [`artifact`] turns a checkpoint into the bytes that count;
//! * [`eval`] scores windows into bits per byte;
//! * [`submission`], [`rules`], [`stats`] and [`report`] judge what somebody else handed in.
//!
//! The library never prints and never exits; the binaries in `bins/` do both and nothing else.

// Checks that the integration tests share with this crate's own name it as they do.
#[cfg(all(test, feature = "engine"))]
extern crate self as golf_harness;

pub mod artifact;
pub mod atomic_write;
pub mod cli;
pub mod data;
pub mod digest;
pub mod escape;
pub mod eval;
mod glob;
pub mod interrupt;
pub mod manifest;
pub mod model;
pub mod path_safety;
pub mod progress;
pub mod quant;
pub mod random;
pub mod report;
pub mod rules;
pub mod run_folder;
pub mod stats;
pub mod submission;
pub mod units;

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
