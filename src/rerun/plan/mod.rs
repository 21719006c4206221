//! What would be run: script, launcher, environment, data, machine, each value with its source, and everything that
//! stands in the way at once. Files are read, never executed; the interpreter is asked which packages it would find.
//!
//! Sources, strongest first: flags, a manifest's `run:` section, the README's command, submission.json, the logs' own
//! settings, the script's defaults. What they leave open is asked for by flag.

mod build;
mod candidates;
mod choose;
mod command_line;
mod data;
mod document;
mod machine;
pub mod packages;
mod request;
mod resources;
mod run_section;
mod same_value;
mod source;
mod start;
mod subject;
#[cfg(test)]
mod tests;
mod text;
mod variables;
mod walk;
mod words;

pub use build::plan;
pub use document::{
    CommandPlan, DataWanted, Disk, Gpus, PLAN_SCHEMA, Package, Packages, Plan, Problem, ProblemKind, Time, Variable,
};
pub use machine::{Machine, ThisMachine, driver, memory, program};
pub use request::Request;
pub use run_section::{RunSectionError, imply_run, manifest_with_run};
pub use source::{Source, SourceKind, Sourced};
pub use subject::{ManifestRun, Subject, SubjectError};
pub use text::text;
