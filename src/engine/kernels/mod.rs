//! The fast engine: forward and backward written out, once, over a small set of kernels.
//!
//! [`forward`] and [`backward`] are the network; `Kernels` is what a device has to be able to do; [`cpu`]
//! is the backend that runs everywhere. What is skipped, and why no number changes, is in `docs/engine.md`.
//!
//! Work is cut into tasks of whole rows. A task runs on one thread from its first operation to its last, so
//! that nothing inside it can depend on how many threads there are.

mod backward;
mod cpu;
mod engine;
mod fold;
mod forward;
mod network;
mod traits;

pub use engine::KernelsEngine;
