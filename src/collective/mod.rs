//! Several ranks working as one: sums, copies and small messages between them.
//!
//! [`Collective`] is what training asks for. [`Solo`] is a world of one, [`in_process`] makes ranks of threads,
//! [`Rendezvous`] finds those a launcher started as processes ([`Launch`]), [`NcclRank`] gives each of them a GPU. Every
//! rank makes the same calls in the same order, and gets the same bits whatever arrives first: sums are taken in the
//! order of [`TreeSum`]. What lies in a GPU's memory is summed there: [`DeviceCollective`].

mod device;
mod error;
mod exchange;
mod launch;
mod nccl;
mod rank;
mod rendezvous;
mod solo;
mod sum;
mod tcp;
mod threads;
mod wire;

pub use device::{DeviceCollective, Span};
pub use error::CollectiveError;
pub use launch::{Launch, LaunchError, Launcher};
pub use nccl::{NcclRank, NcclSetupError};
pub use rank::{Rank, RankError};
pub use rendezvous::{Rendezvous, RendezvousError};
pub use solo::Solo;
pub use sum::{TreeSum, reading_order};
pub use tcp::TcpRank;
pub use threads::{ThreadRank, in_process};

/// Longest message of [`Collective::all_gather`], bytes: losses, times, digests.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// One rank's way to the others.
///
/// The calls are collective: each returns when all ranks have made it, and an error on one rank is, soon after, an
/// error on all. Values are host slices; for those on a device there is [`Self::on_device`].
pub trait Collective: Send + Sync {
    /// Which rank this is, and how many there are.
    fn rank(&self) -> Rank;

    /// Replaces `values` by their sum over all ranks, element by element: the same bits on every rank. Slices are
    /// equally long everywhere.
    ///
    /// Where the sum is made on the host its order is that of [`TreeSum`] over the ranks.
    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), CollectiveError>;

    /// Replaces `values` by those of rank `root`, exactly.
    fn broadcast(&self, root: usize, values: &mut [f32]) -> Result<(), CollectiveError>;

    /// Every rank's message, in rank order; at most [`MAX_MESSAGE_BYTES`] each.
    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError>;

    /// Waits for all ranks.
    fn barrier(&self) -> Result<(), CollectiveError> {
        self.all_gather(&[]).map(drop)
    }

    /// Whether another rank has said or shown that it ended; waits for nobody. For those who wait for a rank by other
    /// means.
    fn check_alive(&self) -> Result<(), CollectiveError> {
        Ok(())
    }

    /// The way between the memories of GPUs, where these ranks have one that leaves out the host: for what lies on GPU
    /// `ordinal`, in order with its work on `stream` (a `CUstream`; 0 is the default one).
    fn on_device(&self, _ordinal: usize, _stream: u64) -> Option<Box<dyn DeviceCollective + '_>> {
        None
    }

    /// Tells the others that this rank ends, and why: their next or present call is an error that says so.
    fn abandon(&self, reason: &str);
}

#[cfg(test)]
mod tests;
