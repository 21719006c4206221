//! The compiled kernels, loaded.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;

use cudarc::driver::{CudaContext, result, sys};

use super::said;
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::source::KERNELS;

/// Loaded kernels by name.
pub(super) struct Module {
    handle: sys::CUmodule,
    pub functions: BTreeMap<&'static str, sys::CUfunction>,
    context: Arc<CudaContext>,
}

// SAFETY: both kinds of handles are numbers to the driver, which may be called with them from any thread.
unsafe impl Send for Module {}
// SAFETY: as above; nothing is changed through a shared reference.
unsafe impl Sync for Module {}

impl Module {
    pub fn load(image: &[u8], context: Arc<CudaContext>) -> Result<Self, DeviceError> {
        // SAFETY: the image is a cubin that NVRTC made, whole (the cache checks its digest), and outlives the call.
        let loaded = unsafe { result::module::load_data(image.as_ptr().cast()) };
        let handle = loaded.map_err(said("the driver does not take the compiled kernels"))?;
        let mut module = Module { handle, functions: BTreeMap::new(), context };
        for name in KERNELS {
            let symbol = CString::new(name).map_err(|error| DeviceError::new("cannot name a kernel", error))?;
            // SAFETY: the module was loaded above and is not unloaded before this one is dropped.
            let function = unsafe { result::module::get_function(handle, symbol) };
            let function = function.map_err(|error| DeviceError::new(format!("no kernel {name}"), error))?;
            module.functions.insert(name, function);
        }
        Ok(module)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // A context that cannot be used any more has nothing left to unload.
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: loaded in `load`, unloaded nowhere else; a launch needs a reference to this module.
            let _ = unsafe { result::module::unload(self.handle) };
        }
    }
}
