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
    /// A rank brought another number of values than the operation has.
    #[error("rank {rank} sent {found} values where {expected} are needed")]
    Length {
        /// The rank.
        rank: usize,
        /// Values it sent.
        found: usize,
        /// Values needed of it.
        expected: usize,
    },
    /// A rank sent another number of messages than it should.
    #[error("rank {rank} sent {found} messages where {expected} are needed")]
    Messages {
        /// The rank.
        rank: usize,
        /// Messages it sent.
        found: usize,
        /// Messages needed of it.
        expected: usize,
    },
    /// A message longer than messages are.
    #[error("a message of {bytes} bytes between ranks; at most {} are sent", super::MAX_MESSAGE_BYTES)]
    Message {
        /// Its length.
        bytes: usize,
    },
}
