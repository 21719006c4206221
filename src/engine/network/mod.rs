//! The fast engine: forward and backward written out, once, over a small set of kernels.
//!
//! [`forward`] and [`backward`] run the visits of a [`Graph`](crate::model::Graph) one after another; [`block`] is one visit
//! by its recipe, and each other file a part of the network with its gradient beside it. `Kernels` is what a device has to be able to do; `engine::cpu`
//! is the backend that runs everywhere, `engine::cuda` the one for GPUs. What is skipped, and why no number changes,
//! is in `docs/engine.md`.
//!
//! Work is cut into tasks of whole rows. A task runs on one thread from its first operation to its last, so
//! that nothing inside it can depend on how many threads there are.

mod attention;
mod backward;
mod block;
mod block_grad;
mod embedding;
mod fold;
mod forward;
mod lanes;
mod loaded;
mod mlp;
mod operands;
mod parameters;
mod record;
mod rows;
mod skip;
mod traits;
mod value_embedding;

pub(in crate::engine) use backward::Finished;
pub(in crate::engine) use fold::{fold, fold_tables, scale_of, unfold};
pub(in crate::engine) use forward::{CONTEXT, Forward, Memory, Observer};
pub(in crate::engine) use loaded::Loaded;
pub(in crate::engine) use operands::{
    AttentionInputs, ChannelRow, FusedMixInputs, FusedMixOutputs, GateShape, GatedSkip, Heads, Linear, Mix, MixGrads,
    Norm, PendingResidual, QkNormRope, Qkv, Skip, Smear, WriteMode,
};
pub(in crate::engine) use parameters::{Network, Scaled};
pub(in crate::engine) use rows::{Rows, hashed, widened};
pub(in crate::engine) use traits::{
    Kernels, attention_inputs_grad_after, mix_rms_norm_grad_after, mixed_after, qkv_after, qkv_grad_after,
    squared_after, squared_after_grad,
};

#[cfg(test)]
pub(in crate::engine) mod tests;
