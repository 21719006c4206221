//! Memory of a device.

use std::sync::Arc;

use cudarc::driver::{CudaContext, result, sys};

use crate::engine::cuda::error::DeviceError;

/// Memory of a device.
pub(in crate::engine::cuda) struct GpuMemory {
    address: sys::CUdeviceptr,
    context: Arc<CudaContext>,
}

impl GpuMemory {
    /// The context must be bound to this thread.
    pub(super) fn new(bytes: usize, context: &Arc<CudaContext>) -> Result<Self, DeviceError> {
        // SAFETY: nothing is read before it is written: the backend's buffers are written whole by what makes them.
        let address = unsafe { result::malloc_sync(bytes) };
        let address = address.map_err(|error| DeviceError::new(format!("cannot allocate {bytes} bytes"), error))?;
        Ok(GpuMemory { address, context: Arc::clone(context) })
    }

    pub(super) fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for GpuMemory {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: allocated in `allocate` and freed nowhere else. The driver waits for running kernels.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}
