//! Numbers from an independent implementation (PyTorch and NumPy scripts in `ci/reference/`).
//!
//! Every test runs on `fixtures/reference/`, made by those scripts, and once more on the folder named by
//! `GOLF_GOLDEN_DIR` when that is set: a second, larger set of the same files.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

mod shipped;
#[cfg(feature = "engine")]
mod steps;
mod support;
#[cfg(feature = "engine")]
mod tensors;

mod eval;
mod foreign;
mod loader;
#[cfg(feature = "engine")]
mod model;
#[cfg(feature = "engine")]
mod optimizers;
mod quantizer;
mod statistics;
mod tokenizer;
#[cfg(feature = "engine")]
mod training;
