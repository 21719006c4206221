//! The kernels engine on CUDA devices.
//!
//! Kernels are plain CUDA C++ in `kernels/`, embedded in the binary and compiled by NVRTC for the device at hand;
//! matrix products are cuBLASLt's. All libraries are found at run time, so one binary runs with and without a GPU.
//! Nothing adds floating-point numbers in an order that depends on timing: equal inputs give equal bits.
//!
//! [`backend`] turns the network's operations into launches for anything that is a [`device::Device`]: a GPU
//! ([`driver`]), or in tests the processor, which runs the same kernel source compiled by g++. What that leaves
//! unchecked is in `docs/cuda.md`.

mod backend;
mod collective;
pub mod cost;
mod device;
mod device_batch;
mod driver;
mod engine;
mod error;
mod gemm;
mod graph_runner;
mod library;
mod memory;
mod open;
mod optimizer;
mod scorer;
mod source;
mod stream_lock;
mod view;

#[cfg(test)]
mod shim;
#[cfg(test)]
mod tests;

pub(in crate::engine) use self::engine::LABEL;
pub use self::error::DeviceError;
pub use self::graph_runner::GraphLaunches;
pub use self::library::{LibraryAlgorithm, LibraryProduct, LibraryProducts};
pub(in crate::engine) use self::open::CudaDevice;
pub use self::open::NoDevice;
#[cfg(test)]
pub(crate) use self::tests::shimmed_engine;
