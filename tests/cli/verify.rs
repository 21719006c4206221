//! `verify` on manifests and record folders.

mod folders;
mod manifests;
mod workers;
