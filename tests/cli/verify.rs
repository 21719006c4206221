//! `verify` on manifests and record folders.

mod folders;
mod manifests;
mod site;
mod workers;
