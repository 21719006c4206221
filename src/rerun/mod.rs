//! A submission's own script, run again.
//!
//! [`plan`] says what would be run and what stands in the way; it executes nothing of the submission.

pub mod plan;
