//! Ranks and how many there are.

use crate::manifest::MICRO_BATCHES_PER_STEP;

/// A rank of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    rank: usize,
    world: usize,
}

/// A place that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
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

impl Place {
    /// The only rank of a world of one.
    pub const SOLO: Place = Place { rank: 0, world: 1 };

    /// Checks that the world divides a step and that the rank is one of it.
    pub fn new(rank: usize, world: usize) -> Result<Self, PlaceError> {
        if world == 0 || !(MICRO_BATCHES_PER_STEP as usize).is_multiple_of(world) {
            return Err(PlaceError::World { world });
        }
        if rank >= world {
            return Err(PlaceError::Rank { rank, world });
        }
        Ok(Place { rank, world })
    }

    /// Every place of a world.
    pub fn all(world: usize) -> Result<Vec<Self>, PlaceError> {
        (0..world.max(1)).map(|rank| Place::new(rank, world)).collect()
    }

    /// This rank, from 0.
    pub fn rank(self) -> usize {
        self.rank
    }

    /// Ranks there are: 1, 2, 4 or 8.
    pub fn world(self) -> usize {
        self.world
    }

    /// Micro-batches of a step this rank runs.
    pub fn micro_batches(self) -> usize {
        MICRO_BATCHES_PER_STEP as usize / self.world
    }

    /// Whether this rank reads the clock and writes the files.
    pub fn is_lead(self) -> bool {
        self.rank == 0
    }

    /// Whether the `index`-th of some like things is this rank's to work on.
    pub fn owns(self, index: usize) -> bool {
        index % self.world == self.rank
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.world)
    }
}
