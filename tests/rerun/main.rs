//! `rerun` with real scripts in a real sandbox.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failed test is a panic")]

mod command;
mod hostile;
mod processes;
mod stand_in;
mod support;

mod needs_container;
mod needs_sandbox;
mod needs_torch;
