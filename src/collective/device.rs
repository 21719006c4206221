//! Sums and copies of what lies in a device's memory.

use super::{CollectiveError, Rank};

/// Words of four bytes next to each other in a device's memory: single-precision values, where they are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Device address of the first.
    pub address: u64,
    /// How many.
    pub len: usize,
}

/// One rank's way to the others for values in a device's memory: [`Collective`](super::Collective) without the host.
///
/// All ranks make the same calls with spans of the same lengths. [`Self::all_reduce_sum`] and [`Self::broadcast`] queue their work. It
/// begins when everything launched on the device before the call is done, and may run beside what is launched after it.
/// Until [`Self::stream_wait`] nothing launched may touch those values. An error on one rank is, soon after, an error on all.
pub trait DeviceCollective: Send {
    /// Which rank this is, and how many there are.
    fn rank(&self) -> Rank;

    /// Replaces the values of all spans by their sums over the ranks: the same bits on every rank.
    ///
    /// # Safety
    /// The spans must lie in the device's memory, apart from one another, and stay allocated until [`Self::synchronize`]
    /// or [`Self::abort`] has returned.
    unsafe fn all_reduce_sum(&mut self, spans: &[Span]) -> Result<(), CollectiveError>;

    /// Replaces the words of each span, whatever they stand for, by those of the rank that owns it.
    ///
    /// # Safety
    /// As for [`Self::all_reduce_sum`].
    unsafe fn broadcast(&mut self, spans: &[(usize, Span)]) -> Result<(), CollectiveError>;

    /// Lets the device's stream wait for what has been queued here: everything launched from now on comes after it.
    fn stream_wait(&mut self) -> Result<(), CollectiveError>;

    /// Returns when everything queued here is done, or with the rank that will not do its part.
    ///
    /// A copy from the device that waits for the others' values must come after it: the driver would wait for ever.
    fn synchronize(&mut self) -> Result<(), CollectiveError>;

    /// Gives up what is queued, so that nothing waits for ranks that are lost. This rank takes no further part.
    fn abort(&mut self);
}
