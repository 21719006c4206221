//! The backend against the CPU's kernels, on the shim and on a GPU where there is one.

mod attention_bf16;
mod bounds;
mod full_size;
mod gemm_bf16;
mod graph_runner;
mod loss;
pub(super) mod network;
mod operations;
mod qkv;
mod steps;

use std::sync::{Arc, OnceLock};

use super::backend::CudaKernels;
use super::device::{Device, Instruction};
use super::driver::Gpu;
use super::open::{self, NoDevice};
use super::shim::shim;
use crate::engine::{Engine, Precision};
use crate::random::RandomStream;

/// Checks that take a device, each run on a shim and, where tests that need one are asked for, on a GPU.
macro_rules! on_devices {
    ($on_the_processor:ident: $shim:ident, $on_a_gpu:ident: $gpu:ident, $needs:literal, $($check:ident),+ $(,)?) => {
        mod $on_the_processor {
            $(#[test]
            fn $check() {
                if let Some(device) = crate::engine::cuda::shim::$shim() {
                    super::$check(&device);
                    assert_eq!(device.damaged(), 0, "a kernel wrote past the end of its memory");
                }
            })+
        }
        mod $on_a_gpu {
            $(#[test]
            #[ignore = $needs]
            fn $check() {
                super::$check(&crate::engine::cuda::tests::$gpu());
            })+
        }
    };
}
pub(super) use on_devices;

/// [`on_devices`] of any kind.
macro_rules! on_both {
    ($($checks:tt)+) => {
        crate::engine::cuda::tests::on_devices!(
            on_the_processor: shim, on_a_gpu: gpu, "needs a CUDA device", $($checks)+
        );
    };
}
pub(super) use on_both;

/// [`on_devices`] whose kernels are made of `wgmma`.
macro_rules! on_hopper {
    ($($checks:tt)+) => {
        crate::engine::cuda::tests::on_devices!(
            on_the_processor_as_hopper: hopper_shim,
            on_a_hopper_gpu: hopper_gpu,
            "needs a CUDA device of compute capability 9.0",
            $($checks)+
        );
    };
}
pub(super) use on_hopper;

/// The first GPU, opened once. Tests that call it are ignored unless they are asked for, and fail where there is none.
pub(super) fn gpu() -> Arc<Gpu> {
    static GPU: OnceLock<Result<Arc<Gpu>, NoDevice>> = OnceLock::new();
    match GPU.get_or_init(|| open::open(0).map(Arc::new)) {
        Ok(gpu) => Arc::clone(gpu),
        Err(reason) => panic!("this test needs a CUDA device: {reason}"),
    }
}

/// The same, which must have `wgmma`.
pub(super) fn hopper_gpu() -> Arc<Gpu> {
    let gpu = gpu();
    let name = &gpu.name;
    assert_eq!(
        gpu.instruction(),
        Instruction::Wgmma,
        "needs compute capability 9.0, and GOLF_HARNESS_WGMMA other than 0: {name}"
    );
    gpu
}

/// The engine on the shim, for tests of what lies above it.
pub(crate) fn shimmed_engine() -> Option<Box<dyn Engine>> {
    shim().map(|device| Box::new(network::engine(&device)) as Box<dyn Engine>)
}

/// Kernels in single precision.
pub(super) fn kernels<D: Device>(device: &Arc<D>) -> CudaKernels<D> {
    CudaKernels::new(Arc::clone(device), Precision::F32)
}

/// Normally distributed values.
pub(super) fn random(len: usize, name: &str) -> Vec<f32> {
    let mut stream = RandomStream::new(1, name);
    (0..len).map(|_| stream.normal() as f32).collect()
}

/// Numbers below a bound.
fn random_ids(len: usize, bound: usize, name: &str) -> Vec<u32> {
    let mut stream = RandomStream::new(1, name);
    (0..len).map(|_| stream.below(bound as u64) as u32).collect()
}

/// Largest difference relative to max(1, value); NaN counts as infinite.
pub(super) fn largest_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let error = |(found, expected): (&f32, &f32)| (found - expected).abs() / expected.abs().max(1.0);
    let errors = found.iter().zip(expected).map(error);
    errors.map(|error| if error.is_nan() { f32::INFINITY } else { error }).fold(0.0, f32::max)
}
