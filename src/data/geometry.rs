//! How a global batch divides over ranks and micro-batches.

/// The shape of one rank's micro-batches.
///
/// `global / (world x accum)` tokens a micro-batch and rank, rounded down as the script does, cut
/// into rows of `seq_len` (specification, section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchGeometry {
    local: usize,
    seq_len: usize,
    world_size: usize,
    rank: usize,
}

/// A batch that does not divide as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// Something that counts is zero.
    #[error("{what} is 0; it must be at least 1")]
    Zero {
        /// The quantity.
        what: &'static str,
    },
    /// No such rank.
    #[error("rank {rank} is outside a world of {world_size}; ranks count from 0")]
    Rank {
        /// The rank.
        rank: u32,
        /// Number of ranks.
        world_size: u32,
    },
    /// Rows do not fit.
    #[error(
        "{global_tokens} tokens a step over {world_size} rank(s) x {grad_accum} micro-batch(es) leave {local} each, \
         which is not a positive multiple of the sequence length {seq_len}; \
         use a multiple of {world_size} x {grad_accum} x {seq_len}"
    )]
    Rows {
        /// Tokens of a step.
        global_tokens: u64,
        /// Number of ranks.
        world_size: u32,
        /// Micro-batches a step.
        grad_accum: u64,
        /// Tokens of one micro-batch on one rank.
        local: u64,
        /// Tokens of a row.
        seq_len: u64,
    },
    /// More than memory could hold.
    #[error("a micro-batch of {local} tokens is more than {MAX_LOCAL_TOKENS}; use more micro-batches or ranks")]
    TooLarge {
        /// Tokens of one micro-batch on one rank.
        local: u64,
    },
}

/// Far above any real micro-batch (98,304 at the challenge's defaults), far below what would exhaust memory.
const MAX_LOCAL_TOKENS: u64 = 1 << 28;

impl BatchGeometry {
    /// Checks and divides.
    pub fn new(
        global_tokens: u64,
        seq_len: u64,
        grad_accum: u64,
        world_size: u32,
        rank: u32,
    ) -> Result<Self, GeometryError> {
        let counts = [
            ("the sequence length", seq_len),
            ("the number of micro-batches", grad_accum),
            ("the world size", u64::from(world_size)),
        ];
        if let Some((what, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(GeometryError::Zero { what });
        }
        if rank >= world_size {
            return Err(GeometryError::Rank { rank, world_size });
        }
        let local = global_tokens / grad_accum.saturating_mul(u64::from(world_size));
        if local == 0 || !local.is_multiple_of(seq_len) {
            return Err(GeometryError::Rows { global_tokens, world_size, grad_accum, local, seq_len });
        }
        if local > MAX_LOCAL_TOKENS {
            return Err(GeometryError::TooLarge { local });
        }
        Ok(BatchGeometry {
            local: local as usize,
            seq_len: seq_len as usize,
            world_size: world_size as usize,
            rank: rank as usize,
        })
    }

    /// Input tokens of one micro-batch on one rank.
    pub fn local_tokens(&self) -> usize {
        self.local
    }

    /// Tokens in a row.
    pub fn seq_len(&self) -> usize {
        self.seq_len
    }

    /// Rows of one micro-batch on one rank.
    pub fn rows(&self) -> usize {
        self.local / self.seq_len
    }

    /// Number of ranks.
    pub fn world_size(&self) -> usize {
        self.world_size
    }

    /// This rank, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pr_286_has_48_rows_a_micro_batch() {
        for (world, accum) in [(1, 8), (8, 1)] {
            let geometry = BatchGeometry::new(786_432, 2048, accum, world, 0).unwrap();
            assert_eq!((geometry.local_tokens(), geometry.rows()), (98_304, 48));
        }
    }

    #[test]
    fn what_does_not_divide_is_refused_by_name() {
        let message = |global, seq_len, accum, world, rank| {
            BatchGeometry::new(global, seq_len, accum, world, rank).unwrap_err().to_string()
        };
        assert_eq!(message(512, 0, 8, 1, 0), "the sequence length is 0; it must be at least 1");
        assert!(message(512, 64, 8, 2, 2).starts_with("rank 2 is outside a world of 2"));
        assert!(message(500, 64, 2, 1, 0).ends_with("use a multiple of 1 x 2 x 64"));
        assert!(message(0, 64, 2, 1, 0).contains("leave 0 each"));
        assert!(message(u64::MAX - 1, 1, 2, 1, 0).contains("use more micro-batches"));
    }
}
