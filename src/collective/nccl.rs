//! Ranks with a GPU each: large sums and copies by NCCL, small messages as between any processes.

use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaStream, DriverError};
use cudarc::nccl::{Comm, Id, ReduceOp, sys};

use super::{Collective, CollectiveError, Place, TcpRank};

/// Length of NCCL's unique id, bytes.
const ID_BYTES: usize = 128;

/// One rank of a world of processes, each with a GPU of its own.
///
/// Before each transfer all ranks call the roll over TCP: NCCL itself would wait for ever for one that is lost.
/// NCCL adds in the order of its rings and trees: the same bits on every rank, but not those of
/// [`TreeSum`](super::TreeSum).
pub struct NcclRank {
    small: TcpRank,
    transfers: Mutex<Transfers>,
}

/// Why NCCL cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NcclSetupError {
    /// The library is not found.
    #[error(
        "libnccl.so is not on the library path; put a link of that name to libnccl.so.2 on LD_LIBRARY_PATH (docs/cuda.md)"
    )]
    Library,
    /// The driver failed.
    #[error("cannot open cuda:{ordinal} for NCCL: {source}")]
    Driver {
        /// The device.
        ordinal: usize,
        /// What the driver said.
        source: DriverError,
    },
    /// NCCL failed.
    #[error("NCCL does not start: {0}")]
    Start(String),
    /// Another rank failed.
    #[error(transparent)]
    Ranks(#[from] CollectiveError),
}

struct Transfers {
    /// Never dropped: to abort a communicator that lost a rank may fail, and the process ends soon after anyway.
    comm: ManuallyDrop<Comm>,
    stream: Arc<CudaStream>,
}

// SAFETY: a communicator is a handle that any thread may use, one at a time; the mutex around it sees to that.
unsafe impl Send for Transfers {}

impl NcclRank {
    /// Joins the ranks that have met; this one's GPU is `ordinal`.
    pub fn join(small: TcpRank, ordinal: usize) -> Result<Self, NcclSetupError> {
        let setup = |small: &TcpRank| -> Result<Transfers, NcclSetupError> {
            // SAFETY: only looks for the shared library; nothing else is called unless it is there.
            if !unsafe { sys::is_culib_present() } {
                return Err(NcclSetupError::Library);
            }
            let driver = |source| NcclSetupError::Driver { ordinal, source };
            let context = CudaContext::new(ordinal).map_err(driver)?;
            let stream = context.new_stream().map_err(driver)?;
            let place = Collective::place(small);
            let start = |error| NcclSetupError::Start(format!("{error:?}"));
            let own = if place.is_lead() { Some(Id::new().map_err(start)?) } else { None };
            let message: Vec<u8> =
                own.iter().flat_map(|id| id.internal().iter().map(|byte| byte.to_ne_bytes()[0])).collect();
            let told = small.all_gather(&message)?;
            let bytes: Option<[u8; ID_BYTES]> = told.first().and_then(|id| id.as_slice().try_into().ok());
            let bytes = bytes.ok_or_else(|| NcclSetupError::Start("rank 0 gave no id".into()))?;
            let id = Id::uninit(bytes.map(|byte| std::ffi::c_char::from_ne_bytes([byte])));
            let comm = Comm::from_rank(Arc::clone(&stream), place.rank(), place.world(), id).map_err(start)?;
            Ok(Transfers { comm: ManuallyDrop::new(comm), stream })
        };
        match setup(&small) {
            Ok(transfers) => Ok(NcclRank { small, transfers: Mutex::new(transfers) }),
            Err(error) => {
                Collective::abandon(&small, &error.to_string());
                Err(error)
            }
        }
    }

    /// Copies `values` to the device, lets NCCL work on them there, and copies them back.
    fn transfer(
        &self,
        values: &mut [f32],
        work: impl FnOnce(&Comm, &mut cudarc::driver::CudaSlice<f32>) -> Result<(), cudarc::nccl::result::NcclError>,
    ) -> Result<(), CollectiveError> {
        if values.is_empty() {
            return Ok(());
        }
        let rank = Collective::place(&self.small).rank();
        self.roll_call(values.len())?;
        let transfers = self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        let driver = |error: DriverError| CollectiveError::Lost { rank, reason: format!("its GPU failed: {error}") };
        transfers.stream.context().bind_to_thread().map_err(driver)?;
        let mut device = transfers.stream.clone_htod(&*values).map_err(driver)?;
        work(&transfers.comm, &mut device)
            .map_err(|error| CollectiveError::Lost { rank, reason: format!("NCCL failed: {error:?}") })?;
        transfers.stream.memcpy_dtoh(&device, values).map_err(driver)?;
        transfers.stream.synchronize().map_err(driver)
    }

    /// All ranks are there and mean to move so many values.
    fn roll_call(&self, len: usize) -> Result<(), CollectiveError> {
        let own = (len as u64).to_le_bytes();
        let all = self.small.all_gather(&own)?;
        match all.iter().position(|other| other.as_slice() != own) {
            None => Ok(()),
            Some(rank) => Err(CollectiveError::OutOfStep {
                rank,
                found: "another number of values".into(),
                expected: format!("{len} values"),
            }),
        }
    }
}

impl Collective for NcclRank {
    fn place(&self) -> Place {
        Collective::place(&self.small)
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.transfer(values, |comm, device| comm.all_reduce_in_place(device, &ReduceOp::Sum).map(drop))
    }

    fn broadcast(&self, root: usize, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.transfer(values, |comm, device| comm.broadcast_in_place(device, root as i32).map(drop))
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.small.all_gather(own)
    }

    fn abandon(&self, reason: &str) {
        Collective::abandon(&self.small, reason);
    }
}
