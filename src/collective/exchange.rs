//! What a transport has to do, and the collective calls made of it.

use std::sync::Arc;

use super::sum::over_ranks;
use super::{Collective, CollectiveError, MAX_MESSAGE_BYTES, Rank};

/// What ranks do together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Element-wise sum of so many values.
    Sum(usize),
    /// A copy of so many values of that rank.
    Broadcast {
        /// Whose.
        root: usize,
        /// How many.
        len: usize,
    },
    /// Everybody's message.
    Gather,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Operation::Sum(len) => write!(f, "the sum of {len} values"),
            Operation::Broadcast { root, len } => write!(f, "{len} values of rank {root}"),
            Operation::Gather => f.write_str("a message"),
        }
    }
}

/// What a rank brings, and what all take away.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Payload {
    Values(Vec<f32>),
    /// One message a rank.
    Messages(Vec<Vec<u8>>),
}

impl Operation {
    /// The result of everybody's contribution, in rank order. Fails where a rank brought something else than the operation
    /// needs of it.
    pub fn combine(self, parts: Vec<Payload>) -> Result<Payload, CollectiveError> {
        let parts = parts.into_iter().enumerate();
        match self {
            Operation::Gather => {
                let messages = parts.map(|(rank, part)| part.into_message(rank));
                Ok(Payload::Messages(messages.collect::<Result<_, _>>()?))
            }
            Operation::Sum(len) => {
                let values = parts.map(|(rank, part)| part.into_values(rank, len));
                Ok(Payload::Values(over_ranks(values.collect::<Result<_, _>>()?)))
            }
            Operation::Broadcast { root, len } => {
                let values = parts.map(|(rank, part)| part.into_values(rank, if rank == root { len } else { 0 }));
                let missing = || CollectiveError::Lost { rank: root, reason: "there is no such rank".into() };
                let values = values.collect::<Result<Vec<_>, _>>()?.into_iter().nth(root);
                Ok(Payload::Values(values.ok_or_else(missing)?))
            }
        }
    }
}

impl Payload {
    /// So many values of a rank.
    fn into_values(self, rank: usize, expected: usize) -> Result<Vec<f32>, CollectiveError> {
        match self {
            Payload::Values(values) if values.len() == expected => Ok(values),
            Payload::Values(values) => Err(CollectiveError::Length { rank, found: values.len(), expected }),
            Payload::Messages(_) => Err(CollectiveError::Length { rank, found: 0, expected }),
        }
    }

    /// The one message of a rank.
    fn into_message(self, rank: usize) -> Result<Vec<u8>, CollectiveError> {
        let mut messages = match self {
            Payload::Messages(messages) => messages,
            Payload::Values(_) => Vec::new(),
        };
        match (messages.pop(), messages.len()) {
            (Some(message), 0) => Ok(message),
            (last, before) => {
                let found = before + usize::from(last.is_some());
                Err(CollectiveError::Messages { rank, found, expected: 1 })
            }
        }
    }
}

/// A transport: everybody brings something, and everybody gets what became of it.
pub(super) trait Exchange: Send + Sync {
    fn rank(&self) -> Rank;

    /// Blocks until all ranks have brought their part. All must name the same operation.
    fn exchange(&self, operation: Operation, own: Payload) -> Result<Arc<Payload>, CollectiveError>;

    /// Whether another rank has ended, as far as can be seen without waiting.
    fn check_alive(&self) -> Result<(), CollectiveError>;

    fn abandon(&self, reason: &str);
}

/// Copies the result, which rank 0 made, over `values`.
fn take(result: &Payload, values: &mut [f32]) -> Result<(), CollectiveError> {
    let (rank, expected) = (0, values.len());
    match result {
        Payload::Values(result) if result.len() == expected => {
            values.copy_from_slice(result);
            Ok(())
        }
        Payload::Values(result) => Err(CollectiveError::Length { rank, found: result.len(), expected }),
        Payload::Messages(_) => Err(CollectiveError::Length { rank, found: 0, expected }),
    }
}

impl<E: Exchange> Collective for E {
    fn rank(&self) -> Rank {
        Exchange::rank(self)
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), CollectiveError> {
        let result = self.exchange(Operation::Sum(values.len()), Payload::Values(values.to_vec()))?;
        take(&result, values)
    }

    fn broadcast(&self, root: usize, values: &mut [f32]) -> Result<(), CollectiveError> {
        let is_root = Exchange::rank(self).index() == root;
        let own = if is_root { values.to_vec() } else { Vec::new() };
        let result = self.exchange(Operation::Broadcast { root, len: values.len() }, Payload::Values(own))?;
        take(&result, values)
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        if own.len() > MAX_MESSAGE_BYTES {
            return Err(CollectiveError::Message { bytes: own.len() });
        }
        let result = self.exchange(Operation::Gather, Payload::Messages(vec![own.to_vec()]))?;
        let (world, no_messages) = (Exchange::rank(self).world_size(), Vec::new());
        let all = if let Payload::Messages(all) = &*result { all } else { &no_messages };
        if all.len() != world {
            return Err(CollectiveError::Messages { rank: 0, found: all.len(), expected: world });
        }
        Ok(all.clone())
    }

    fn check_alive(&self) -> Result<(), CollectiveError> {
        Exchange::check_alive(self)
    }

    fn abandon(&self, reason: &str) {
        Exchange::abandon(self, reason);
    }
}
