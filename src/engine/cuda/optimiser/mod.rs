//! Training steps that never leave the device.
//!
//! Weights, gradients and moments are one allocation each ([`arena`]). A micro-batch adds its gradients, a step clips
//! them by a factor that stays on the device, updates by AdamW and Muon, and only then is anything read: losses and norm.

mod arena;
mod effective;
mod muon;
mod resident;
mod sums;

#[cfg(test)]
mod tests;

pub(super) use resident::CudaResident;
