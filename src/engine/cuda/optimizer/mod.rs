//! Training steps that never leave the device.
//!
//! Weights, gradients and moments are one allocation each ([`arena`]). A micro-batch adds its gradients, a step clips
//! them by a factor that stays on the device, updates by AdamW and Muon, and only then is anything read: losses and norm.
//!
//! With other ranks ([`ranks`]) gradients are summed over them in [`buckets`] while the backward pass of the last
//! micro-batch goes on, and each orthogonalizes its [`shares`] of the matrices.

mod arena;
mod buckets;
mod clip;
mod effective;
mod muon;
mod ranks;
mod shares;
mod sums;
mod trainer;

#[cfg(test)]
mod tests;

pub(super) use buckets::BUCKET_VALUES;
pub(super) use trainer::{CudaTrainer, Sizes};
