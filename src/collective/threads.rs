//! Ranks that are threads of one process.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::exchange::{Exchange, Operation, Payload};
use super::{CollectiveError, Rank, RankError};

/// One rank of a world within this process. Dropped, it is lost to the others.
pub struct ThreadRank {
    rank: Rank,
    meeting: Arc<Meeting>,
}

/// Makes all ranks of a world, in order; each belongs on a thread of its own.
pub fn in_process(world: usize) -> Result<Vec<ThreadRank>, RankError> {
    let ranks = Rank::all(world)?;
    let table = Table { round: 0, parts: (0..world).map(|_| None).collect(), result: None, gone: None };
    let meeting = Arc::new(Meeting { table: Mutex::new(table), changed: Condvar::new() });
    Ok(ranks.into_iter().map(|rank| ThreadRank { rank, meeting: Arc::clone(&meeting) }).collect())
}

/// Where the ranks put what they bring.
struct Meeting {
    table: Mutex<Table>,
    changed: Condvar,
}

struct Table {
    /// Exchanges finished.
    round: u64,
    parts: Vec<Option<(Operation, Payload)>>,
    /// Of the last round. Nobody starts the next before it has taken this, so it stays until all have.
    result: Option<Result<Arc<Payload>, CollectiveError>>,
    /// The first rank that ended, and why.
    gone: Option<(usize, String)>,
}

impl Meeting {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Whatever a rank panicked over, what lies on the table is whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, rank: usize, reason: &str) {
        let mut table = self.table();
        table.gone.get_or_insert_with(|| (rank, reason.to_string()));
        self.changed.notify_all();
    }
}

impl Table {
    fn lost(&self) -> Option<CollectiveError> {
        self.gone.clone().map(|(rank, reason)| CollectiveError::Lost { rank, reason })
    }

    /// Combines the parts if all are there.
    fn conclude(&mut self, rank: Rank) -> Option<Result<Arc<Payload>, CollectiveError>> {
        if self.parts.iter().any(Option::is_none) {
            return None;
        }
        let parts: Vec<_> = self.parts.iter_mut().filter_map(Option::take).collect();
        let expected = parts.get(rank.index()).map_or(Operation::Gather, |(operation, _)| *operation);
        let odd = parts.iter().position(|(operation, _)| *operation != expected);
        let result = match odd.and_then(|rank| Some((rank, parts.get(rank)?.0))) {
            Some((rank, found)) => {
                Err(CollectiveError::OutOfStep { rank, found: found.to_string(), expected: expected.to_string() })
            }
            None => expected.combine(parts.into_iter().map(|(_, part)| part).collect()).map(Arc::new),
        };
        self.round += 1;
        self.result = Some(result.clone());
        Some(result)
    }
}

impl Exchange for ThreadRank {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn exchange(&self, operation: Operation, own: Payload) -> Result<Arc<Payload>, CollectiveError> {
        let mut table = self.meeting.table();
        if let Some(lost) = table.lost() {
            return Err(lost);
        }
        let round = table.round;
        match table.parts.get_mut(self.rank.index()) {
            Some(part) => *part = Some((operation, own)),
            None => return Err(CollectiveError::Lost { rank: self.rank.index(), reason: "it has no place".into() }),
        }
        if let Some(result) = table.conclude(self.rank) {
            self.meeting.changed.notify_all();
            return result;
        }
        while table.round == round {
            if let Some(lost) = table.lost() {
                return Err(lost);
            }
            table = self.meeting.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
        }
        let nothing = || Err(CollectiveError::Lost { rank: self.rank.index(), reason: "no result".into() });
        table.result.clone().unwrap_or_else(nothing)
    }

    fn check_alive(&self) -> Result<(), CollectiveError> {
        self.meeting.table().lost().map_or(Ok(()), Err)
    }

    fn abandon(&self, reason: &str) {
        self.meeting.leave(self.rank.index(), reason);
    }
}

impl Drop for ThreadRank {
    fn drop(&mut self) {
        self.meeting.leave(self.rank.index(), "it has ended");
    }
}
