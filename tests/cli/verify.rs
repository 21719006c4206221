//! `verify` on manifests and record folders.

mod manifests;
