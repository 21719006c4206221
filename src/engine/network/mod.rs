//! The fast engine: forward and backward written out, once, over a small set of kernels.
//!
//! [`forward`] and [`backward`] are the network; `Kernels` is what a device has to be able to do; `engine::cpu`
//! is the backend that runs everywhere, `engine::cuda` the one for GPUs. What is skipped, and why no number changes,
//! is in `docs/engine.md`.
//!
//! Work is cut into tasks of whole rows. A task runs on one thread from its first operation to its last, so
//! that nothing inside it can depend on how many threads there are.

mod backward;
mod fold;
mod forward;
mod loaded;
mod parameters;
mod traits;

pub(in crate::engine) use backward::Finished;
pub(in crate::engine) use fold::{fold, fold_tables, scale_of, unfold};
pub(in crate::engine) use forward::{Forward, Rows, hashed, widened};
pub(in crate::engine) use loaded::Loaded;
pub(in crate::engine) use parameters::{Network, Scaled};
pub(in crate::engine) use traits::{
    ChannelRow, FusedMixInputs, FusedMixOutputs, Heads, Kernels, Linear, PendingResidual, QkNormRope, Skip, WriteMode,
    squared_after, squared_after_grad,
};
