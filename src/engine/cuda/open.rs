//! Opening a CUDA device, or saying why there is none to be used.

use std::sync::Arc;

use cudarc::driver::{DriverError, result, sys};

use super::backend::CudaKernels;
use super::device::Device;
use super::driver::{Gpu, compile, describe};
use super::engine::CudaEngine;
use super::error::DeviceError;
use super::library::LibraryProducts;
use crate::engine::{Engine, Precision};

/// Oldest CUDA version a driver must support: 13.0, which is driver 580.
const OLDEST_DRIVER: i32 = 13_000;

/// Major compute capability of the oldest devices with what the kernels use: bfloat16 products, asynchronous copies.
const AMPERE: u32 = 8;

/// Why a CUDA device cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoDevice {
    /// No driver on this machine.
    #[error("no NVIDIA driver (libcuda) on this machine")]
    Driver,
    /// A driver that does not start, often because there is no device.
    #[error("the NVIDIA driver does not start: {0}")]
    Start(String),
    /// A driver without devices.
    #[error("the NVIDIA driver finds no device")]
    None,
    /// A driver older than the kernels need.
    #[error("the NVIDIA driver supports CUDA {found}, and {} is needed (driver 580 or newer)", version(OLDEST_DRIVER))]
    Old {
        /// Version it supports.
        found: String,
    },
    /// A device without bfloat16 products and asynchronous copies, which the kernels are made of.
    #[error(
        "{name} is of compute capability {}.{}, and 8.0 is needed (Ampere, such as A100 or RTX 30, or newer)",
        capability.0, capability.1
    )]
    BeforeAmpere {
        /// What the driver calls it.
        name: String,
        /// Its compute capability.
        capability: (u32, u32),
    },
    /// Fewer devices than asked for.
    #[error("cuda:{ordinal} is not there: {count} device(s), counted from 0")]
    Ordinal {
        /// The device asked for.
        ordinal: usize,
        /// Devices there are.
        count: usize,
    },
    /// A library of the CUDA toolkit that is not found.
    #[error("{library} is not on the library path; put the CUDA toolkit's lib64 on LD_LIBRARY_PATH (docs/cuda.md)")]
    Library {
        /// Its name.
        library: &'static str,
    },
    /// A compiler newer than the driver.
    #[error("NVRTC is of CUDA {compiler} and the driver of CUDA {driver}: machine code of a newer one is not taken")]
    Newer {
        /// Version of the compiler.
        compiler: String,
        /// Version the driver supports.
        driver: String,
    },
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

fn version(number: i32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

/// Opens a device after asking for everything it needs. Never panics: cudarc does when a library is missing, so
/// each is looked for before it is used.
pub(super) fn open(ordinal: usize) -> Result<Gpu, NoDevice> {
    // SAFETY: only looks for the shared library.
    if !unsafe { sys::is_culib_present() } {
        return Err(NoDevice::Driver);
    }
    let start = |error: DriverError| NoDevice::Start(error.to_string());
    result::init().map_err(start)?;
    let mut driver = 0;
    // SAFETY: the driver writes one integer to the address given, which outlives the call.
    unsafe { sys::cuDriverGetVersion(&mut driver).result().map_err(start)? };
    if driver < OLDEST_DRIVER {
        return Err(NoDevice::Old { found: version(driver) });
    }
    let count = usize::try_from(result::device::get_count().map_err(start)?).unwrap_or(0);
    match count {
        0 => return Err(NoDevice::None),
        _ if ordinal >= count => return Err(NoDevice::Ordinal { ordinal, count }),
        _ => {}
    }
    let (name, capability) =
        describe(ordinal).map_err(|error| DeviceError::new("cannot describe the device", error))?;
    if capability.0 < AMPERE {
        return Err(NoDevice::BeforeAmpere { name, capability });
    }
    // SAFETY: these only look for the shared libraries.
    let (nvrtc, cublaslt) =
        unsafe { (cudarc::nvrtc::sys::is_culib_present(), cudarc::cublaslt::sys::is_culib_present()) };
    for (library, is_there) in [("libnvrtc", nvrtc), ("libcublasLt", cublaslt)] {
        if !is_there {
            return Err(NoDevice::Library { library });
        }
    }
    let compiler =
        compile::version().map_err(|error| NoDevice::Device(DeviceError::new("NVRTC does not start", error)))?;
    if compiler.0 > driver / 1000 {
        let compiler = format!("{}.{}", compiler.0, compiler.1);
        return Err(NoDevice::Newer { compiler, driver: version(driver) });
    }
    Ok(Gpu::open(ordinal)?)
}

/// An open CUDA device; clones share it.
#[derive(Clone)]
pub(in crate::engine) struct CudaDevice(Arc<Gpu>);

impl CudaDevice {
    /// Opens the device of that ordinal, counted from 0.
    pub fn open(ordinal: usize) -> Result<Self, NoDevice> {
        Ok(CudaDevice(Arc::new(open(ordinal)?)))
    }

    /// The device the tests share; panics where there is none.
    #[cfg(test)]
    pub fn of_the_tests() -> Self {
        CudaDevice(super::tests::gpu())
    }

    /// Marketing name, e.g. `NVIDIA H200`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What cuBLASLt has chosen so far.
    pub fn products(&self) -> Option<LibraryProducts> {
        self.0.products()
    }

    /// Its number, counted from 0.
    #[cfg(feature = "dfdx-cuda")]
    pub fn ordinal(&self) -> usize {
        self.0.ordinal()
    }

    /// The kernels engine on this device.
    pub fn engine(&self, precision: Precision) -> Box<dyn Engine> {
        Box::new(CudaEngine::new(CudaKernels::new(Arc::clone(&self.0), precision)))
    }

    /// The same, scoring windows of so many tokens at once.
    pub fn engine_in_groups(&self, precision: Precision, tokens: usize) -> Box<dyn Engine> {
        let engine = CudaEngine::new(CudaKernels::new(Arc::clone(&self.0), precision));
        Box::new(engine.scoring_in_groups(tokens))
    }
}
