//! Ranks and how many there are.

use crate::manifest::MICRO_BATCHES_PER_STEP;

/// A rank of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    rank: usize,
    world_size: usize,
}

/// A rank or number of ranks that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RankError {
    /// A step's micro-batches do not divide among so many ranks.
    #[error(
        "a world of {world} ranks cannot share the {MICRO_BATCHES_PER_STEP} micro-batches of a step; use 1, 2, 4 or 8"
    )]
    World {
        /// Ranks asked for.
        world: usize,
    },
    /// No such rank.
    #[error("rank {rank} is outside a world of {world}; ranks count from 0")]
    Rank {
        /// The rank.
        rank: usize,
        /// Ranks there are.
        world: usize,
    },
}

impl Rank {
    /// The only rank of a world of one.
    pub const SOLO: Rank = Rank { rank: 0, world_size: 1 };

    /// Checks that the world divides a step and that the rank is one of it.
    pub fn new(rank: usize, world: usize) -> Result<Self, RankError> {
        if world == 0 || !(MICRO_BATCHES_PER_STEP as usize).is_multiple_of(world) {
            return Err(RankError::World { world });
        }
        if rank >= world {
            return Err(RankError::Rank { rank, world });
        }
        Ok(Rank { rank, world_size: world })
    }

    /// Every rank of a world.
    pub fn all(world: usize) -> Result<Vec<Self>, RankError> {
        (0..world.max(1)).map(|rank| Rank::new(rank, world)).collect()
    }

    /// This rank, from 0.
    pub fn index(self) -> usize {
        self.rank
    }

    /// Ranks there are: 1, 2, 4 or 8.
    pub fn world_size(self) -> usize {
        self.world_size
    }

    /// Micro-batches of a step this rank runs.
    pub fn micro_batches(self) -> usize {
        MICRO_BATCHES_PER_STEP as usize / self.world_size
    }

    /// Whether this rank reads the clock and writes the files.
    pub fn is_rank_zero(self) -> bool {
        self.rank == 0
    }
}

impl std::fmt::Display for Rank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.world_size)
    }
}
