//! Numbers from an independent implementation (PyTorch and NumPy scripts in `ci/reference/`).
//!
//! Every test runs on `fixtures/reference/`, made by those scripts. Tests in modules called `needs_data` run on a
//! second, larger set of the same files (`support::ReferenceSet`), or on data from elsewhere. They are ignored unless
//! asked for, with `--ignored needs_data`, and then fail without the data.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failed test is a panic")]

mod shipped;
#[cfg(feature = "engine")]
mod steps;
mod support;
#[cfg(feature = "engine")]
mod tensors;

mod eval;
#[cfg(feature = "engine")]
mod family;
mod family_export;
#[cfg(feature = "engine")]
mod family_training;
#[cfg(feature = "engine")]
mod family_ttt;
mod foreign;
#[cfg(feature = "engine")]
mod hessians;
mod loader;
#[cfg(feature = "engine")]
mod model;
#[cfg(feature = "engine")]
mod optimizers;
mod quantizer;
mod records;
#[cfg(feature = "engine")]
mod records_trained;
mod sample;
mod statistics;
mod tokenizer;
#[cfg(feature = "engine")]
mod training;
