//! NCCL on what lies in a GPU's memory, beside the stream the network runs on.

use cudarc::driver::sys;

use super::NcclRank;
use super::communicator::Work;
use crate::collective::{Collective, CollectiveError, DeviceCollective, Rank, Span};

/// A rank's sums and copies in order with one stream of its GPU.
///
/// The roll is called before the first piece of work after [`DeviceCollective::synchronize`]: once a step.
pub(super) struct NcclQueue<'a> {
    rank: &'a NcclRank,
    /// Stream of everything launched.
    stream: u64,
    /// Whether work has been queued and not synchronized.
    is_open: bool,
}

impl<'a> NcclQueue<'a> {
    /// `stream` is a stream of the rank's GPU.
    pub fn new(rank: &'a NcclRank, stream: u64) -> Self {
        NcclQueue { rank, stream, is_open: false }
    }

    fn stream(&self) -> sys::CUstream {
        self.stream as sys::CUstream
    }

    /// # Safety
    /// As for [`DeviceCollective::all_reduce_sum`].
    unsafe fn queue(&mut self, work: &[Work]) -> Result<(), CollectiveError> {
        if !self.is_open {
            self.rank.roll_call(work)?;
            self.is_open = true;
        }
        // SAFETY: passed on to the caller.
        let queued = unsafe { self.rank.communicator().queue(self.stream(), work) };
        queued.map_err(|reason| self.rank.failed(reason))
    }
}

impl DeviceCollective for NcclQueue<'_> {
    fn rank(&self) -> Rank {
        Collective::rank(self.rank)
    }

    unsafe fn all_reduce_sum(&mut self, spans: &[Span]) -> Result<(), CollectiveError> {
        let work: Vec<Work> = spans.iter().copied().map(Work::Sum).collect();
        // SAFETY: passed on to the caller.
        unsafe { self.queue(&work) }
    }

    unsafe fn broadcast(&mut self, spans: &[(usize, Span)]) -> Result<(), CollectiveError> {
        let work: Vec<Work> = spans.iter().map(|&(root, span)| Work::Copy { root, span }).collect();
        // SAFETY: passed on to the caller.
        unsafe { self.queue(&work) }
    }

    fn stream_wait(&mut self) -> Result<(), CollectiveError> {
        if !self.is_open {
            return Ok(());
        }
        self.rank.communicator().stream_wait(self.stream()).map_err(|reason| self.rank.failed(reason))
    }

    fn synchronize(&mut self) -> Result<(), CollectiveError> {
        if self.is_open {
            self.rank.wait()?;
            self.is_open = false;
        }
        Ok(())
    }

    fn abort(&mut self) {
        self.rank.communicator().give_up();
        self.is_open = false;
    }
}

impl Drop for NcclQueue<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.abort();
        }
    }
}
