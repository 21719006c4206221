//! The optimizer on the device beside the host's: kernel by kernel, then whole steps, then steps of several ranks.

mod kernels;
mod late;
mod nccl;
mod ranks;
mod steps;
