//! The binaries as people run them: exit codes, messages, files left behind.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failed test is a panic")]

mod support;

#[cfg(feature = "engine")]
mod device;
#[cfg(feature = "engine")]
mod fit;
#[cfg(feature = "engine")]
mod gptq;
#[cfg(feature = "engine")]
mod reproduce;
#[cfg(feature = "engine")]
mod score;
#[cfg(feature = "engine")]
mod train;

mod against;
mod config;
mod corpus;
mod documents;
mod examples;
mod gate;
mod inspect;
mod outputs;
mod pack;
mod program;
mod rerun;
mod texts;
mod verify;
