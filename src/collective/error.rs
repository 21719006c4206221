//! Why ranks could not go on together.

/// Why a collective call failed. No rank can continue after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CollectiveError {
    /// A rank ended, was lost or fell silent.
    #[error("rank {rank} is lost: {reason}")]
    Lost {
        /// The rank.
        rank: usize,
        /// What it said, or what was seen of it.
        reason: String,
    },
    /// Ranks called different operations, or with different lengths.
    #[error("rank {rank} is out of step: it asked for {found} where this rank asked for {expected}")]
    OutOfStep {
        /// The rank.
        rank: usize,
        /// What it asked for.
        found: String,
        /// What this rank asked for.
        expected: String,
    },
    /// A message longer than messages are.
    #[error("a message of {bytes} bytes between ranks; at most {} are sent", super::MAX_MESSAGE_BYTES)]
    Message {
        /// Its length.
        bytes: usize,
    },
}
