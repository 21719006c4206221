//! An audit in a process of its own, which can do no harm and be stopped.
//!
//! Readers bound themselves. Whatever still takes too much memory or time must not end the audit of others: so every
//! subject is audited by a worker, which is this program started again. It [confines](crate::confine) itself, reads
//! jobs from its input, says on its output what it reads next, and at last writes the report.
//!
//! What a worker writes may be written by whoever wrote the files: it is bounded, and checked like any other
//! stranger's data. A worker that ends without an answer becomes a report with the one finding `audit_stopped`.

mod answer;
mod auditor;
mod job;
mod message;
mod process;
mod serve;

pub use auditor::{Limits, WorkerError, Workers};
pub use serve::{is_asked_for, serve};

/// The only argument of a worker. No command has an argument of this name.
const ARGUMENT: &str = "--audit-worker";
