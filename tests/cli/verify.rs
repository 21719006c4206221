//! `verify` on manifests and record folders.

mod folders;
mod hostile_reports;
mod manifests;
mod site;
mod workers;
