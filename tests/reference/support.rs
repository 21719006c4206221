//! Where reference files are.

use std::path::PathBuf;

use crate::shipped::shipped;

/// The shipped reference folder and, when `GOLF_GOLDEN_DIR` is set, that one too.
pub fn reference_folders() -> Vec<PathBuf> {
    let extra = std::env::var_os("GOLF_GOLDEN_DIR").map(PathBuf::from);
    std::iter::once(shipped()).chain(extra).collect()
}

/// The kernels engine on the first GPU; without one a line says so.
#[cfg(feature = "engine")]
pub fn on_a_gpu() -> Option<Box<dyn golf_harness::engine::Engine>> {
    use golf_harness::engine::{Device, DeviceChoice, EngineKind, Precision};
    match Device::open(DeviceChoice::Cuda(0)) {
        Ok(device) => Some(device.engine(EngineKind::Kernels, Precision::F32).unwrap()),
        Err(reason) => {
            println!("no GPU: skipped ({reason})");
            None
        }
    }
}
