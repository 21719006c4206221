//! Ranks with a GPU each: large sums and copies by NCCL, small messages as between any processes.

mod communicator;
mod queue;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cudarc::driver::{DriverError, result as driver};
use cudarc::nccl::{result, sys};

use self::communicator::{Communicator, Work, refused, said};
use self::queue::NcclQueue;
use super::{Collective, CollectiveError, DeviceCollective, Rank, Span, TcpRank};

/// Length of NCCL's unique id, bytes.
const ID_BYTES: usize = 128;
/// Between two looks whether the GPU is done: what a step may be late by.
const PAUSE: Duration = Duration::from_micros(50);
/// Between two looks whether the other ranks are there.
const LIFE_SIGN: Duration = Duration::from_millis(20);

/// One rank of a world of processes, each with a GPU of its own.
///
/// Before work is queued all ranks call the roll over TCP, and while a rank waits for its GPU it watches those
/// connections: NCCL itself would wait for ever for one that is lost. NCCL adds in the order of its rings and trees: the
/// same bits on every rank, but not those of [`TreeSum`](super::TreeSum).
pub struct NcclRank {
    small: TcpRank,
    ordinal: usize,
    communicator: Mutex<Communicator>,
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

impl NcclRank {
    /// Whether all ranks that have met find the library.
    pub fn is_found_by_all(small: &TcpRank) -> Result<bool, CollectiveError> {
        let own = [u8::from(is_found())];
        Ok(small.all_gather(&own)?.iter().all(|found| found == &[1]))
    }

    /// Joins the ranks that have met; this one's GPU is `ordinal`.
    pub fn join(small: TcpRank, ordinal: usize) -> Result<Self, NcclSetupError> {
        let setup = |small: &TcpRank| {
            if !is_found() {
                return Err(NcclSetupError::Library);
            }
            let rank = Collective::rank(small);
            let start = |error: result::NcclError| NcclSetupError::Start(said(&error));
            let own = if rank.is_rank_zero() { Some(result::get_uniqueid().map_err(start)?) } else { None };
            let message: Vec<u8> =
                own.iter().flat_map(|id| id.internal.iter().map(|byte| byte.to_ne_bytes()[0])).collect();
            let told = small.all_gather(&message)?;
            let bytes: Option<[u8; ID_BYTES]> = told.first().and_then(|id| id.as_slice().try_into().ok());
            let bytes = bytes.ok_or_else(|| NcclSetupError::Start("rank 0 gave no id".into()))?;
            let id = sys::ncclUniqueId { internal: bytes.map(|byte| std::ffi::c_char::from_ne_bytes([byte])) };
            Communicator::new(rank, id, ordinal)
        };
        match setup(&small) {
            Ok(communicator) => Ok(NcclRank { small, ordinal, communicator: Mutex::new(communicator) }),
            Err(error) => {
                Collective::abandon(&small, &error.to_string());
                Err(error)
            }
        }
    }

    fn communicator(&self) -> MutexGuard<'_, Communicator> {
        self.communicator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of this rank, as the others are told.
    fn failed(&self, reason: String) -> CollectiveError {
        CollectiveError::Lost { rank: Collective::rank(&self.small).index(), reason }
    }

    /// All ranks are there and mean to do the same.
    fn roll_call(&self, work: &[Work]) -> Result<(), CollectiveError> {
        let values: usize = work.iter().map(Work::len).sum();
        let expected = format!("{values} values in {} places", work.len());
        let all = self.small.all_gather(expected.as_bytes())?;
        match all.iter().enumerate().find(|(_, other)| other.as_slice() != expected.as_bytes()) {
            None => Ok(()),
            Some((rank, other)) => {
                let found = String::from_utf8_lossy(other).into_owned();
                Err(CollectiveError::OutOfStep { rank, found, expected })
            }
        }
    }

    /// Returns when the GPU has done what was queued, or with the rank that it waits for in vain.
    fn wait(&self) -> Result<(), CollectiveError> {
        let start = Instant::now();
        let mut looked = start;
        loop {
            if self.communicator().is_done().map_err(|reason| self.failed(reason))? {
                return Ok(());
            }
            let now = Instant::now();
            if now - looked >= LIFE_SIGN {
                self.small.check_alive()?;
                looked = now;
            }
            if now - start >= self.small.timeout() {
                let seconds = self.small.timeout().as_secs();
                return Err(self.failed(format!("its GPU has waited {seconds} s for those of the others")));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Copies `values` to the device, lets NCCL work on them there, and copies them back.
    fn transfer(&self, values: &mut [f32], work: impl FnOnce(Span) -> Work) -> Result<(), CollectiveError> {
        if values.is_empty() {
            return Ok(());
        }
        let failed = |reason| self.failed(reason);
        self.communicator().bind().map_err(failed)?;
        let room = Room::new(size_of_val(values)).map_err(|error| failed(refused(error)))?;
        let work = [work(Span { address: room.address, len: values.len() })];
        self.roll_call(&work)?;
        // SAFETY: the room has the values' size, and outlives all work on it: it is given back when NCCL is done with it
        // or has been given up. The default stream, on which the copy may still be made, comes before NCCL's work.
        unsafe {
            driver::memcpy_htod_sync(room.address, values).map_err(|error| failed(refused(error)))?;
            let queued = self.communicator().queue(std::ptr::null_mut(), &work).map_err(failed);
            if let Err(error) = queued.and_then(|()| self.wait()) {
                self.communicator().give_up();
                return Err(error);
            }
            driver::memcpy_dtoh_sync(values, room.address).map_err(|error| failed(refused(error)))
        }
    }
}

/// Whether the library is found: without it the first call of any of its functions would panic.
fn is_found() -> bool {
    // SAFETY: only looks for the shared library.
    unsafe { sys::is_culib_present() }
}

/// Memory for a transfer.
struct Room {
    address: u64,
}

impl Room {
    /// The context must be bound to this thread, here and where it is dropped.
    fn new(bytes: usize) -> Result<Self, DriverError> {
        // SAFETY: nothing is read before it is written.
        Ok(Room { address: unsafe { driver::malloc_sync(bytes) }? })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` and freed nowhere else.
        let _ = unsafe { driver::free_sync(self.address) };
    }
}

impl Collective for NcclRank {
    fn rank(&self) -> Rank {
        Collective::rank(&self.small)
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.transfer(values, Work::Sum)
    }

    fn broadcast(&self, root: usize, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.transfer(values, |span| Work::Copy { root, span })
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.small.all_gather(own)
    }

    fn check_alive(&self) -> Result<(), CollectiveError> {
        Collective::check_alive(&self.small)
    }

    fn on_device(&self, ordinal: usize, stream: u64) -> Option<Box<dyn DeviceCollective + '_>> {
        let queue = NcclQueue::new(self, stream);
        (ordinal == self.ordinal).then(|| Box::new(queue) as Box<dyn DeviceCollective>)
    }

    fn abandon(&self, reason: &str) {
        Collective::abandon(&self.small, reason);
    }
}
