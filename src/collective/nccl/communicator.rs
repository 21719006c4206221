//! NCCL's handle of a rank, the stream it works on, and the events that tie it to other work of the GPU.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, DriverError, result as driver, sys as cuda};
use cudarc::nccl::{result, sys};

use super::NcclSetupError;
use crate::collective::{Rank, Span};

/// Something to be done with the values of a span.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// Sums them over the ranks.
    Sum(Span),
    /// Copies those of a rank to all.
    Copy { root: usize, span: Span },
}

impl Work {
    /// Values it is done with.
    pub fn len(&self) -> usize {
        match self {
            Work::Sum(span) | Work::Copy { span, .. } => span.len,
        }
    }
}

/// A communicator. It is not destroyed: that may wait for ranks that are lost, and the process ends soon after anyway.
pub(super) struct Communicator {
    /// Null once given up.
    handle: sys::ncclComm_t,
    /// Beside the one the network runs on.
    stream: Arc<CudaStream>,
    /// Recorded on the other stream before a piece of work begins here.
    ready: cuda::CUevent,
    /// Recorded here behind the last piece of work.
    done: cuda::CUevent,
}

// SAFETY: handles of NCCL and of the driver may be used from any thread, one at a time; callers hold it behind a lock.
unsafe impl Send for Communicator {}

impl Communicator {
    /// Joins the communicator that rank 0's `id` names, with GPU `ordinal`; waits for all ranks.
    pub fn new(rank: Rank, id: sys::ncclUniqueId, ordinal: usize) -> Result<Self, NcclSetupError> {
        let failed = |source| NcclSetupError::Driver { ordinal, source };
        let context = CudaContext::new(ordinal).map_err(failed)?;
        // One that does not wait for the default stream by itself.
        let stream = context.new_stream().map_err(failed)?;
        let event = || driver::event::create(cuda::CUevent_flags::CU_EVENT_DISABLE_TIMING).map_err(failed);
        let (ready, done) = (event()?, event()?);
        let (world, rank) = (rank.world_size() as i32, rank.index() as i32);
        let mut handle = std::ptr::null_mut();
        // SAFETY: the handle is written before it is used; the id is rank 0's, and the GPU's context is bound.
        let joined = unsafe { result::comm_init_rank(&mut handle, world, id, rank) };
        joined.map_err(|error| NcclSetupError::Start(said(&error)))?;
        Ok(Communicator { handle, stream, ready, done })
    }

    /// Queues work that begins when everything queued on `after` so far is done: one launch for all of it.
    ///
    /// # Safety
    /// The spans must lie in this GPU's memory and stay allocated until the work is done or given up; `after` must
    /// be a stream of this GPU.
    pub unsafe fn queue(&mut self, after: cuda::CUstream, work: &[Work]) -> Result<(), String> {
        self.check_held()?;
        self.bind()?;
        // SAFETY: the event was made in `new` and is never destroyed; the streams exist.
        unsafe { driver::event::record(self.ready, after) }.map_err(refused)?;
        self.wait_for(self.stream.cu_stream(), self.ready)?;
        result::group_start().map_err(|error| said(&error))?;
        // SAFETY: passed on to the caller.
        let queued = work.iter().try_for_each(|work| unsafe { self.one(*work) });
        // A group that was begun is ended whatever came between.
        result::group_end().map_err(|error| said(&error)).and(queued)?;
        // SAFETY: as above.
        unsafe { driver::event::record(self.done, self.stream.cu_stream()) }.map_err(refused)
    }

    /// # Safety
    /// As for [`Self::queue`].
    unsafe fn one(&self, work: Work) -> Result<(), String> {
        let stream = self.stream.cu_stream().cast();
        let float = sys::ncclDataType_t::ncclFloat32;
        // SAFETY: the span is the caller's promise; NCCL works in place where both addresses are the same.
        let queued = unsafe {
            match work {
                Work::Sum(Span { address, len }) => {
                    let values = address as *mut c_void;
                    result::all_reduce(values, values, len, float, sys::ncclRedOp_t::ncclSum, self.handle, stream)
                }
                Work::Copy { root, span: Span { address, len } } => {
                    let values = address as *mut c_void;
                    result::broadcast(values, values, len, float, root as i32, self.handle, stream)
                }
            }
        };
        queued.map(drop).map_err(|error| said(&error))
    }

    /// Makes a stream wait for everything queued here.
    pub fn stream_wait(&self, stream: cuda::CUstream) -> Result<(), String> {
        self.bind()?;
        self.wait_for(stream, self.done)
    }

    fn wait_for(&self, stream: cuda::CUstream, event: cuda::CUevent) -> Result<(), String> {
        let flags = cuda::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: the event was made in `new` and is never destroyed; the stream exists.
        unsafe { driver::stream::wait_event(stream, event, flags) }.map_err(refused)
    }

    /// Whether everything queued here is done; an error where NCCL has noticed that it never will be.
    pub fn is_done(&self) -> Result<bool, String> {
        self.check_held()?;
        self.bind()?;
        // SAFETY: the event was made in `new` and is never destroyed.
        match unsafe { driver::event::query(self.done) } {
            Ok(()) => return Ok(true),
            Err(DriverError(cuda::CUresult::CUDA_ERROR_NOT_READY)) => {}
            Err(error) => return Err(refused(error)),
        }
        let mut state = sys::ncclResult_t::ncclSuccess;
        // SAFETY: the handle has not been given up, and one value is written to an address that outlives the call.
        unsafe { sys::ncclCommGetAsyncError(self.handle, &mut state) }.result().map_err(|error| said(&error))?;
        state.result().map(|_| false).map_err(|error| said(&error))
    }

    /// Makes kernels that wait for other ranks end, so that the driver no longer waits for them.
    pub fn give_up(&mut self) {
        let handle = std::mem::replace(&mut self.handle, std::ptr::null_mut());
        if !handle.is_null() && self.bind().is_ok() {
            // SAFETY: the handle is used nowhere else from now on. It may fail where a rank is lost: nothing is left to do.
            let _ = unsafe { result::comm_abort(handle) };
        }
    }

    fn check_held(&self) -> Result<(), String> {
        if self.handle.is_null() { Err("NCCL was given up before".into()) } else { Ok(()) }
    }

    /// Makes the GPU's context this thread's.
    pub fn bind(&self) -> Result<(), String> {
        self.stream.context().bind_to_thread().map_err(refused)
    }
}

/// What the driver says.
pub(super) fn refused(error: DriverError) -> String {
    format!("its GPU failed: {error}")
}

/// What NCCL says, by the name of its code.
pub(super) fn said(error: &result::NcclError) -> String {
    format!("NCCL failed: {:?} (NCCL_DEBUG=WARN tells more)", error.0)
}
