//! Ranks that are processes, on one machine or several, through rank 0.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::exchange::{Exchange, Operation, Payload};
use super::wire::{self, Peer};
use super::{CollectiveError, Rank};

/// One rank of a world of processes. Every exchange goes to rank 0, is made there and comes back: simple, the same
/// bits everywhere, and as fast as rank 0's connection.
pub struct TcpRank {
    rank: Rank,
    timeout: Duration,
    /// To ranks 1, 2, ... on rank 0; to rank 0 on the others. Locked for a whole exchange.
    streams: Mutex<Vec<TcpStream>>,
}

impl TcpRank {
    /// Over connections made by [`Rendezvous`](super::Rendezvous).
    pub(super) fn new(rank: Rank, timeout: Duration, streams: Vec<TcpStream>) -> Self {
        TcpRank { rank, timeout, streams: Mutex::new(streams) }
    }

    /// Longest wait for another rank.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The rank at the other end of the `index`-th connection.
    fn peer(&self, index: usize) -> Peer {
        let is_rank_zero = self.rank.is_rank_zero();
        // Rank 0 waits for each of the others, so it may be silent longer than any of them.
        let timeout = if is_rank_zero { self.timeout } else { self.timeout * 2 };
        Peer {
            rank: if is_rank_zero { index + 1 } else { 0 },
            sends_part: is_rank_zero,
            world: self.rank.world_size(),
            timeout,
        }
    }

    /// Rank 0 tells the others what it met.
    fn tell(&self, streams: &[TcpStream], error: &CollectiveError) {
        if !self.rank.is_rank_zero() {
            return;
        }
        let (rank, reason) = match error {
            CollectiveError::Lost { rank, reason } => (*rank, reason.clone()),
            other => (0, other.to_string()),
        };
        // Those that cannot be told notice the closed connection.
        streams.iter().for_each(|stream| drop(wire::send_abandon(stream, rank, &reason)));
    }

    /// Rank 0's side: collects the parts in rank order, makes the result, hands it out.
    fn collect_parts(
        &self,
        streams: &[TcpStream],
        operation: Operation,
        own: Payload,
    ) -> Result<Payload, CollectiveError> {
        let mut parts = vec![own];
        for (index, stream) in streams.iter().enumerate() {
            parts.push(self.peer(index).receive(stream, operation)?);
        }
        let result = operation.combine(parts)?;
        for (index, stream) in streams.iter().enumerate() {
            wire::send(stream, operation, &result).map_err(|error| self.peer(index).lost(&error))?;
        }
        Ok(result)
    }

    /// The others' side.
    fn send_part(&self, stream: &TcpStream, operation: Operation, own: Payload) -> Result<Payload, CollectiveError> {
        let peer = self.peer(0);
        match wire::send(stream, operation, &own) {
            // Rank 0 may have said why before it closed.
            Err(error) => Err(match peer.receive(stream, operation) {
                Err(said @ CollectiveError::Lost { .. }) => said,
                _ => peer.lost(&error),
            }),
            Ok(()) => peer.receive(stream, operation),
        }
    }
}

impl Exchange for TcpRank {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn exchange(&self, operation: Operation, own: Payload) -> Result<Arc<Payload>, CollectiveError> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match (self.rank.is_rank_zero(), streams.first()) {
            (false, Some(stream)) => self.send_part(stream, operation, own),
            _ => self.collect_parts(&streams, operation, own),
        };
        if let Err(error) = &result {
            self.tell(&streams, error);
        }
        result.map(Arc::new)
    }

    fn check_alive(&self) -> Result<(), CollectiveError> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = streams.iter().enumerate().try_for_each(|(index, stream)| self.peer(index).listen(stream));
        if let Err(error) = &heard {
            self.tell(&streams, error);
        }
        heard
    }

    fn abandon(&self, reason: &str) {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams.iter() {
            // Nobody may be left to tell.
            drop(wire::send_abandon(stream, self.rank.index(), reason));
        }
    }
}

impl Drop for TcpRank {
    fn drop(&mut self) {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        // What was sent is still delivered.
        streams.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Write)));
    }
}
