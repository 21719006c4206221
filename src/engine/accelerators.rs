//! Accelerators on this machine, for the environment record.

use cudarc::driver::{result, sys};

/// One CUDA device as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Marketing name, e.g. `NVIDIA H200`.
    pub name: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// CUDA version the driver supports, as `major.minor`.
    pub driver_cuda_version: String,
}

/// The CUDA devices, in the driver's order; empty where there is no driver or no device.
///
/// The driver is looked up at run time and its presence asked first, because the loader panics when it is
/// missing.
pub fn devices() -> Vec<DeviceInfo> {
    // SAFETY: only looks for the shared library; nothing else is called unless it is there.
    if !unsafe { sys::is_culib_present() } {
        return Vec::new();
    }
    probe().unwrap_or_default()
}

fn probe() -> Result<Vec<DeviceInfo>, result::DriverError> {
    result::init()?;
    let driver_cuda_version = driver_version()?;
    (0..result::device::get_count()?)
        .map(|ordinal| {
            let device = result::device::get(ordinal)?;
            // SAFETY: `device` is a handle the driver has just given out.
            let memory = unsafe { result::device::total_mem(device)? };
            Ok(DeviceInfo {
                name: result::device::get_name(device)?,
                memory_bytes: memory as u64,
                driver_cuda_version: driver_cuda_version.clone(),
            })
        })
        .collect()
}

fn driver_version() -> Result<String, result::DriverError> {
    let mut version = 0;
    // SAFETY: the driver writes one integer to the address given, which outlives the call.
    unsafe { sys::cuDriverGetVersion(&mut version).result()? };
    Ok(format!("{}.{}", version / 1000, version % 1000 / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probing_never_panics() {
        for device in devices() {
            assert!(!device.name.is_empty() && device.memory_bytes > 0, "{device:?}");
        }
    }
}
