//! What a transport has to do, and the collective calls made of it.

use std::sync::Arc;

use super::sum::over_ranks;
use super::{Collective, CollectiveError, MAX_MESSAGE_BYTES, Place};

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
    /// The result of everybody's contribution, in rank order.
    pub fn combine(self, parts: Vec<Payload>) -> Payload {
        match self {
            Operation::Gather => Payload::Messages(
                parts
                    .into_iter()
                    .flat_map(|part| if let Payload::Messages(own) = part { own } else { vec![] })
                    .collect(),
            ),
            Operation::Sum(_) | Operation::Broadcast { .. } => {
                let values = parts.into_iter().map(|part| if let Payload::Values(own) = part { own } else { vec![] });
                Payload::Values(match self {
                    Operation::Broadcast { root, .. } => values.into_iter().nth(root).unwrap_or_default(),
                    _ => over_ranks(values.collect()),
                })
            }
        }
    }
}

/// A transport: everybody brings something, and everybody gets what became of it.
pub(super) trait Exchange: Send + Sync {
    fn place(&self) -> Place;

    /// Blocks until all ranks have brought their part. All must name the same operation.
    fn exchange(&self, operation: Operation, own: Payload) -> Result<Arc<Payload>, CollectiveError>;

    /// Whether another rank has ended, as far as can be seen without waiting.
    fn check_alive(&self) -> Result<(), CollectiveError>;

    fn abandon(&self, reason: &str);
}

/// Copies the result over `values`.
fn take(result: &Payload, values: &mut [f32]) {
    if let Payload::Values(result) = result
        && result.len() == values.len()
    {
        values.copy_from_slice(result);
    }
}

impl<E: Exchange> Collective for E {
    fn place(&self) -> Place {
        Exchange::place(self)
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), CollectiveError> {
        let result = self.exchange(Operation::Sum(values.len()), Payload::Values(values.to_vec()))?;
        take(&result, values);
        Ok(())
    }

    fn broadcast(&self, root: usize, values: &mut [f32]) -> Result<(), CollectiveError> {
        let is_root = Exchange::place(self).rank() == root;
        let own = if is_root { values.to_vec() } else { Vec::new() };
        let result = self.exchange(Operation::Broadcast { root, len: values.len() }, Payload::Values(own))?;
        take(&result, values);
        Ok(())
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        if own.len() > MAX_MESSAGE_BYTES {
            return Err(CollectiveError::Message { bytes: own.len() });
        }
        let result = self.exchange(Operation::Gather, Payload::Messages(vec![own.to_vec()]))?;
        match &*result {
            Payload::Messages(all) => Ok(all.clone()),
            Payload::Values(_) => Ok(Vec::new()),
        }
    }

    fn check_alive(&self) -> Result<(), CollectiveError> {
        Exchange::check_alive(self)
    }

    fn abandon(&self, reason: &str) {
        Exchange::abandon(self, reason);
    }
}
