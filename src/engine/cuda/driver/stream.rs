//! The stream of a device, and work recorded from it.

use std::sync::Arc;

use cudarc::driver::{CudaContext, DriverError, result, sys};

use super::said;
use crate::engine::cuda::error::DeviceError;

/// The order in which the device does what it is asked for.
pub(super) struct Stream {
    pub handle: sys::CUstream,
    context: Arc<CudaContext>,
}

// SAFETY: the handle is a number to the driver, which may be called with it from any thread.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// The context must be bound to this thread. The stream waits for no other one: nothing here uses the default stream,
    /// and the default stream cannot be recorded.
    pub fn new(context: &Arc<CudaContext>) -> Result<Self, DeviceError> {
        let handle = result::stream::create(result::stream::StreamKind::NonBlocking);
        let handle = handle.map_err(said("cannot make a stream"))?;
        Ok(Stream { handle, context: Arc::clone(context) })
    }

    pub fn wait(&self) -> Result<(), DriverError> {
        // SAFETY: the stream was created in `new` and lives as long as `self`.
        unsafe { result::stream::synchronize(self.handle) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: created in `new` and destroyed nowhere else.
            let _ = unsafe { result::stream::destroy(self.handle) };
        }
    }
}

/// Recorded work, ready to be launched.
pub(in crate::engine::cuda) struct GpuGraph {
    pub(super) handle: sys::CUgraphExec,
    pub(super) context: Arc<CudaContext>,
}

// SAFETY: the handle is a number to the driver, which may be called with it from any thread.
unsafe impl Send for GpuGraph {}
// SAFETY: as above; launches of it are in the stream's order.
unsafe impl Sync for GpuGraph {}

impl Drop for GpuGraph {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: instantiated in `end` and destroyed nowhere else; the driver keeps what is still running.
            let _ = unsafe { result::graph::exec_destroy(self.handle) };
        }
    }
}
