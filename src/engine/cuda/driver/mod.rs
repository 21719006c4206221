//! A GPU through the CUDA driver, found at run time.
//!
//! Everything runs on one stream: launches, copies and products happen in the order of the calls, and copies from the
//! device wait for what came before them. Small copies to it are queued ([`staging`]).

pub(super) mod compile;
mod cublaslt;
mod memory;
mod module;
mod staging;
mod stream;

use std::sync::Arc;

use cudarc::driver::{CudaContext, DriverError, result, sys};

use self::compile::HOPPER;
use self::cublaslt::{CublasLt, WORKSPACE_BYTES};
use self::memory::GpuMemory;
use self::module::Module;
use self::staging::Staging;
use self::stream::{GpuGraph, Stream};
use super::device::{self, Device, Instruction, Launch};
use super::error::DeviceError;
use super::gemm::GemmDesc;
#[cfg(test)]
use super::library::LibraryAlgorithm;
use super::library::LibraryProducts;
use super::stream_lock::StreamLock;
use crate::collective::{Collective, DeviceCollective};

/// Shared memory a block gets without asking (CUDA C++ Programming Guide, compute capabilities).
const UNASKED_SHARED_BYTES: u32 = 48 << 10;

/// Set to 0, kernels made of `wgmma` are not used where they could be.
const WGMMA_VARIABLE: &str = "GOLF_HARNESS_WGMMA";

/// A CUDA device with this crate's kernels loaded.
pub(super) struct Gpu {
    // Fields are dropped in this order: what lives in the context goes before it.
    staging: Option<Staging>,
    cublaslt: CublasLt,
    module: Module,
    stream: Stream,
    context: Arc<CudaContext>,
    stream_lock: StreamLock,
    instruction: Instruction,
    /// What the driver calls it, with compute capability.
    pub name: String,
}

impl Gpu {
    /// Opens a device of the driver; the libraries must be there (`choice.rs` asks first).
    pub fn open(ordinal: usize) -> Result<Self, DeviceError> {
        let context = CudaContext::new(ordinal).map_err(said("cannot open the device"))?;
        let (name, capability) = describe(ordinal).map_err(said("cannot describe the device"))?;
        let image = compile::image(capability)?;
        let module = Module::load(&image, Arc::clone(&context))?;
        let workspace = GpuMemory::new(WORKSPACE_BYTES, &context)?;
        let cublaslt = CublasLt::new(Arc::clone(&context), workspace)?;
        let stream = Stream::new(&context)?;
        let staging = Staging::new(&context);
        let has_wgmma = capability == HOPPER;
        let is_off = has_wgmma && std::env::var_os(WGMMA_VARIABLE).is_some_and(|value| value == "0");
        let instruction = if has_wgmma && !is_off { Instruction::Wgmma } else { Instruction::Mma };
        let without = if is_off { ", without wgmma" } else { "" };
        let name = format!("{name} (compute capability {}.{}{without})", capability.0, capability.1);
        let stream_lock = StreamLock::default();
        Ok(Gpu { staging, cublaslt, module, stream, context, stream_lock, instruction, name })
    }

    /// Its number, counted from 0.
    #[cfg(feature = "dfdx-cuda")]
    pub fn ordinal(&self) -> usize {
        self.context.ordinal()
    }

    /// Seconds of a product by each of the library's candidates, the one that the engine takes first.
    ///
    /// # Safety
    /// As for [`Device::gemm`].
    #[cfg(test)]
    pub unsafe fn time_candidates(&self, gemm: &GemmDesc<'_>) -> Result<Vec<(LibraryAlgorithm, f64)>, DeviceError> {
        const RUNS: u32 = 20;
        self.bind()?;
        let mut times = Vec::new();
        for plan in self.cublaslt.candidates(gemm)? {
            let run = |runs: u32| -> Result<(), DeviceError> {
                // SAFETY: passed on to the caller; the plan was made for this product.
                (0..runs).try_for_each(|_| unsafe { self.cublaslt.queue(gemm, &plan, self.stream.handle) })?;
                self.stream.wait().map_err(said("a product failed"))
            };
            run(2)?;
            let start = std::time::Instant::now();
            run(RUNS)?;
            times.push((plan.said, start.elapsed().as_secs_f64() / f64::from(RUNS)));
        }
        Ok(times)
    }

    fn bind(&self) -> Result<(), DeviceError> {
        self.context.bind_to_thread().map_err(said("cannot use the device from this thread"))
    }
}

fn said(what: &'static str) -> impl Fn(DriverError) -> DeviceError {
    move |error| DeviceError::new(what, error)
}

/// Name and compute capability. The driver must have been started.
pub(super) fn describe(ordinal: usize) -> Result<(String, (u32, u32)), DriverError> {
    use sys::CUdevice_attribute_enum::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let device = result::device::get(ordinal as i32)?;
    // SAFETY: `device` is a handle the driver has just given out.
    let [major, minor] = [MAJOR, MINOR].map(|which| unsafe { result::device::get_attribute(device, which) });
    Ok((result::device::get_name(device)?, (major?.unsigned_abs(), minor?.unsigned_abs())))
}

impl Device for Gpu {
    type Memory = GpuMemory;
    type Graph = GpuGraph;

    fn instruction(&self) -> Instruction {
        self.instruction
    }

    fn stream_lock(&self) -> &StreamLock {
        &self.stream_lock
    }

    fn allocate(&self, bytes: usize) -> Result<GpuMemory, DeviceError> {
        self.bind()?;
        GpuMemory::new(bytes, &self.context)
    }

    fn address(memory: &GpuMemory) -> u64 {
        memory.address()
    }

    unsafe fn write(&self, address: u64, words: &[u32]) -> Result<(), DeviceError> {
        self.bind()?;
        let stream = self.stream.handle;
        let staged = self.staging.as_ref().map_or(Ok(false), |staging| {
            // SAFETY: the context is bound (above), and the range is the caller's promise.
            unsafe { staging.write(address, words, stream) }
        });
        if staged.map_err(said("cannot copy to the device"))? {
            return Ok(());
        }
        // SAFETY: the range is the caller's promise, and `words` stays until the copy has been made.
        let queued = unsafe { result::memcpy_htod_async(address, words, stream) };
        queued.and_then(|()| self.stream.wait()).map_err(said("cannot copy to the device"))
    }

    unsafe fn read(&self, address: u64, words: &mut [f32]) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the range is the caller's promise, and `words` stays until the copy has been made.
        let queued = unsafe { result::memcpy_dtoh_async(words, address, self.stream.handle) };
        queued.and_then(|()| self.stream.wait()).map_err(said("work on the device failed"))
    }

    unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: both ranges are the caller's promise.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream.handle) }
            .map_err(said("cannot copy on the device"))
    }

    unsafe fn clear(&self, address: u64, bytes: usize) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the range is the caller's promise.
        unsafe { result::memset_d8_async(address, 0, bytes, self.stream.handle) }
            .map_err(said("cannot clear memory of the device"))
    }

    fn begin_capture(&self) -> Result<(), DeviceError> {
        self.bind()?;
        // Relaxed, so that memory may be allocated meanwhile.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream lives as long as `self`.
        unsafe { result::stream::begin_capture(self.stream.handle, mode) }.map_err(said("cannot record work"))
    }

    fn end_capture(&self) -> Result<GpuGraph, DeviceError> {
        self.bind()?;
        // SAFETY: the stream lives as long as `self`; the graph is destroyed once, after the last use.
        unsafe {
            let graph = result::stream::end_capture(self.stream.handle).map_err(said("work cannot be recorded"))?;
            let instantiated = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            let _ = result::graph::destroy(graph);
            let handle = instantiated.map_err(said("recorded work cannot be made ready"))?;
            Ok(GpuGraph { handle, context: Arc::clone(&self.context) })
        }
    }

    unsafe fn replay(&self, graph: &GpuGraph) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: graph and stream live; that its memory does is the caller's promise.
        unsafe { result::graph::launch(graph.handle, self.stream.handle) }
            .map_err(said("recorded work cannot be launched"))
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        self.bind()?;
        let Some(&function) = self.module.functions.get(launch.kernel) else {
            return Err(DeviceError::new("no such kernel", launch.kernel));
        };
        let mut arguments: Vec<_> = launch.arguments.iter().map(device::Argument::pointer).collect();
        let ([x, y], shared) = (launch.grid, launch.shared_bytes);
        if shared > UNASKED_SHARED_BYTES {
            let most = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function belongs to the loaded module.
            let allowed = unsafe { result::function::set_function_attribute(function, most, shared as i32) };
            allowed.map_err(|error| DeviceError::new(format!("no {shared} bytes for {}", launch.kernel), error))?;
        }
        // SAFETY: the function belongs to the loaded module; the driver copies the arguments before it returns; that
        // they fit the kernel is the caller's promise.
        let launched = unsafe {
            let threads = (launch.threads, 1, 1);
            result::launch_kernel(function, (x, y, 1), threads, shared, self.stream.handle, &mut arguments)
        };
        launched.map_err(|error| DeviceError::new(format!("cannot launch {}", launch.kernel), error))
    }

    unsafe fn gemm(&self, gemm: &GemmDesc<'_>) -> Result<bool, DeviceError> {
        self.bind()?;
        // SAFETY: passed on to the caller.
        unsafe { self.cublaslt.run(gemm, self.stream.handle) }
    }

    fn products(&self) -> Option<LibraryProducts> {
        Some(self.cublaslt.products())
    }

    fn device_collective<'a>(&self, ranks: &'a dyn Collective) -> Option<Box<dyn DeviceCollective + 'a>> {
        ranks.on_device(self.context.ordinal(), self.stream.handle as u64)
    }
}
