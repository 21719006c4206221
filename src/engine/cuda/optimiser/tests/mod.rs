//! The optimiser on the device beside the host's: kernel by kernel, then whole steps.

mod kernels;
mod steps;
