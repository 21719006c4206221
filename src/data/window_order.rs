//! Training text in windows that lie apart from one another, instead of one stream.
//!
//! A window is a sequence and its targets: `seq_len + 1` tokens of one shard. An order says which window is next; it is a
//! function of the shards' sizes, a seed and the ranks that the recipe was written for, and of nothing else. Pieces of a
//! step are dealt to those ranks in turn, so that any number of processes that share a step read the same eight.

use super::LoaderError;
use super::numpy::NumpyGenerator;
use crate::manifest::LoaderOrder;
use crate::random::RandomStream;

/// Most windows whose order is kept, over all ranks: a quarter of a gibibyte; the challenge's ten billion tokens make five
/// million.
const MAX_WINDOWS: u64 = 1 << 26;

/// How a manifest has its training text read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadingOrder {
    /// The kind of order.
    pub order: LoaderOrder,
    /// Seed of what is drawn; nothing is for a stream.
    pub seed: u64,
    /// Ranks that the recipe was written for (`schedule.world_size`); 0 counts as 1.
    pub ranks: u32,
}

/// A window of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WindowAt {
    /// Index of the shard.
    pub shard: usize,
    /// Its first token.
    pub start: u64,
}

/// An order being followed.
#[derive(Clone, Debug)]
pub(super) struct WindowOrder {
    /// Windows in a piece.
    rows: usize,
    /// Pieces drawn so far, over all ranks.
    pieces: u64,
    walk: Walk,
}

#[derive(Clone, Debug)]
enum Walk {
    Coprime(CoprimeWalk),
    Shuffled(Vec<ShuffledRank>),
}

impl WindowOrder {
    /// The order over shards of so many tokens; `None` for a stream.
    pub(super) fn new(
        order: ReadingOrder,
        tokens: &[u64],
        seq_len: usize,
        rows: usize,
    ) -> Result<Option<Self>, LoaderError> {
        let seq_len = seq_len as u64;
        let windows: u64 = tokens.iter().map(|&tokens| tokens.saturating_sub(1) / seq_len.max(1)).sum();
        let walk = match order.order {
            LoaderOrder::Sequential => return Ok(None),
            _ if windows == 0 => return Err(LoaderError::NoWindows { shards: tokens.len(), seq_len }),
            LoaderOrder::Coprime => Walk::Coprime(CoprimeWalk::new(order.seed, tokens, seq_len, windows)),
            LoaderOrder::Shuffled => {
                let ranks = order.ranks.max(1) as usize;
                let of_rank = |rank| ShuffledRank::new(order.seed, rank, ranks, tokens, seq_len);
                let mut ranks: Vec<ShuffledRank> = (0..ranks).map(of_rank).collect();
                let windows = ranks.iter().map(ShuffledRank::windows).fold(0, u64::saturating_add);
                if windows > MAX_WINDOWS {
                    return Err(LoaderError::TooManyWindows { windows, most: MAX_WINDOWS });
                }
                ranks.iter_mut().for_each(ShuffledRank::begin);
                Walk::Shuffled(ranks)
            }
        };
        Ok(Some(WindowOrder { rows, pieces: 0, walk }))
    }

    /// The windows of a piece, counted over all ranks from the beginning of training.
    pub(super) fn piece(&mut self, index: u64) -> Vec<WindowAt> {
        match &mut self.walk {
            // Nothing has to be drawn before.
            Walk::Coprime(_) => self.pieces = index,
            Walk::Shuffled(ranks) if index < self.pieces => {
                self.pieces = 0;
                ranks.iter_mut().for_each(ShuffledRank::begin);
            }
            Walk::Shuffled(_) => {}
        }
        loop {
            let is_it = self.pieces == index;
            let windows = self.next_piece(is_it);
            if is_it {
                return windows;
            }
        }
    }

    /// Draws the next piece; its windows are returned only if they are `wanted`.
    fn next_piece(&mut self, wanted: bool) -> Vec<WindowAt> {
        let (piece, rows) = (self.pieces, self.rows);
        self.pieces = piece.wrapping_add(1);
        match &mut self.walk {
            Walk::Coprime(walk) => {
                let first = u128::from(piece) * rows as u128;
                (0..rows as u128).map(|row| walk.window(first + row)).collect()
            }
            Walk::Shuffled(ranks) => {
                let of = ranks.len().max(1) as u64;
                let Some(rank) = ranks.get_mut((piece % of) as usize) else { return Vec::new() };
                let drawn = (0..rows).map(|_| rank.draw());
                if wanted {
                    return drawn.collect();
                }
                drawn.for_each(drop);
                Vec::new()
            }
        }
    }
}

/// Window `k` is window `(offset + k stride) mod n` of all n, side by side in the shards: each once before any is read
/// again, and neighbors in time far apart in the text.
#[derive(Clone, Debug)]
struct CoprimeWalk {
    /// Windows before each shard.
    before: Vec<u64>,
    seq_len: u64,
    windows: u64,
    offset: u64,
    stride: u64,
}

/// The golden ratio less one, in units of 2^-64: multiples of it lie apart as evenly as any.
const GOLDEN: u128 = 11_400_714_819_323_198_485;

impl CoprimeWalk {
    fn new(seed: u64, tokens: &[u64], seq_len: u64, windows: u64) -> Self {
        let mut sum = 0;
        let mut count = |tokens: u64| {
            let before = sum;
            sum += tokens.saturating_sub(1) / seq_len;
            before
        };
        let before = tokens.iter().map(|&tokens| count(tokens)).collect();
        let offset = RandomStream::new(seed, "coprime order").below(windows);
        CoprimeWalk { before, seq_len, windows, offset, stride: coprime_stride(windows) }
    }

    fn window(&self, k: u128) -> WindowAt {
        let windows = u128::from(self.windows);
        let at = ((u128::from(self.offset) + k % windows * u128::from(self.stride)) % windows) as u64;
        // The last shard that begins at or before it: empty ones begin where their followers do.
        let shard = self.before.partition_point(|&before| before <= at).saturating_sub(1);
        let before = self.before.get(shard).copied().unwrap_or_default();
        WindowAt { shard, start: (at - before) * self.seq_len }
    }
}

/// The first number from `windows` times the golden ratio on that has no divisor in common with it.
fn coprime_stride(windows: u64) -> u64 {
    let divisor = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let first = ((u128::from(windows) * GOLDEN) >> 64) as u64;
    // At the latest it is `windows - 1`.
    (first.max(1)..windows).find(|&stride| divisor(stride, windows) == 1).unwrap_or(1)
}

/// A rank's windows: those of every `ranks`-th shard from its own number on, each shard's in random order. Which shard is
/// next is drawn in proportion to the windows that are left in it; when none is left anywhere, all are drawn anew.
#[derive(Clone, Debug)]
struct ShuffledRank {
    seed: u64,
    generator: NumpyGenerator,
    seq_len: u64,
    /// Index and tokens of its shards.
    shards: Vec<(usize, u64)>,
    /// First tokens of the windows that are left of each, the next one last: window numbers behind a phase.
    left: Vec<(u64, Vec<u32>)>,
}

impl ShuffledRank {
    fn new(seed: u64, rank: usize, ranks: usize, tokens: &[u64], seq_len: u64) -> Self {
        let has_windows = |&(_, tokens): &(usize, u64)| tokens > seq_len;
        let mut shards: Vec<(usize, u64)> = tokens.iter().copied().enumerate().skip(rank).step_by(ranks).collect();
        shards.retain(has_windows);
        if shards.is_empty() {
            // Fewer shards than ranks: one of the others', in an order of its own.
            let all: Vec<(usize, u64)> = tokens.iter().copied().enumerate().filter(has_windows).collect();
            shards.extend(all.get(rank % all.len().max(1)));
        }
        let seed = seed.wrapping_add(rank as u64);
        ShuffledRank { seed, generator: NumpyGenerator::new(seed), seq_len, left: Vec::new(), shards }
    }

    /// Most windows that are left at a time.
    fn windows(&self) -> u64 {
        self.shards.iter().map(|&(_, tokens)| tokens.saturating_sub(1) / self.seq_len).fold(0, u64::saturating_add)
    }

    /// Begins, or begins again; nothing can be drawn before.
    fn begin(&mut self) {
        self.generator = NumpyGenerator::new(self.seed);
        self.refill();
    }

    fn refill(&mut self) {
        let ShuffledRank { generator, seq_len, shards, left, .. } = self;
        // The memory of the old ones is free before the new ones are made.
        left.clear();
        *left = shards
            .iter()
            .map(|&(_, tokens)| {
                // Below 2^31, as all tokens of a shard are.
                let phases = (*seq_len).min(tokens - *seq_len);
                let phase = u64::from(generator.below(phases as u32));
                let windows = (tokens - 1 - phase) / *seq_len;
                (phase, generator.permutation(windows as u32))
            })
            .collect();
    }

    fn draw(&mut self) -> WindowAt {
        if self.left.iter().all(|(_, windows)| windows.is_empty()) {
            self.refill();
        }
        let counts: Vec<u32> = self.left.iter().map(|(_, windows)| windows.len() as u32).collect();
        let chosen = self.generator.choice(&counts);
        let shard = self.shards.get(chosen).map_or(0, |(shard, _)| *shard);
        let start = self
            .left
            .get_mut(chosen)
            .and_then(|(phase, windows)| Some(*phase + u64::from(windows.pop()?) * self.seq_len));
        WindowAt { shard, start: start.unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn order(order: LoaderOrder, ranks: u32, tokens: &[u64], seq_len: usize, rows: usize) -> WindowOrder {
        WindowOrder::new(ReadingOrder { order, seed: 0, ranks }, tokens, seq_len, rows).unwrap().unwrap()
    }

    fn drawn(order: &mut WindowOrder, pieces: std::ops::Range<u64>) -> Vec<(usize, u64)> {
        pieces.flat_map(|piece| order.piece(piece)).map(|window| (window.shard, window.start)).collect()
    }

    /// Ranks that share a shard have its windows each.
    #[test]
    fn windows_of_all_ranks_are_bounded_before_they_are_made() {
        let windows = MAX_WINDOWS / 8;
        let made = |tokens: u64, ranks| {
            let order = ReadingOrder { order: LoaderOrder::Shuffled, seed: 0, ranks };
            WindowOrder::new(order, &[tokens], 16, 1)
        };
        let error = made(16 * windows + 17, 8).unwrap_err();
        assert!(matches!(error, LoaderError::TooManyWindows { windows, .. } if windows == MAX_WINDOWS + 8), "{error}");
        assert!(made(16 * 1000 + 17, 8).is_ok());
    }

    #[test]
    fn what_was_drawn_can_be_drawn_again() {
        let mut order = order(LoaderOrder::Shuffled, 2, &[410, 200, 330], 4, 3);
        let first = drawn(&mut order, 0..50);
        assert_eq!(drawn(&mut order, 10..20), first[30..60]);
        assert_eq!(drawn(&mut order, 0..50), first);
    }

    /// Made by numpy 2.4.6 as the module says, with two ranks that have two shards and one (`ci/reference/loader_order.py`).
    #[test]
    fn shuffled_windows_are_those_that_numpy_draws() {
        let mut order = order(LoaderOrder::Shuffled, 2, &[41, 20, 33], 4, 3);
        let expected: &[(usize, u64)] = &[
            (2, 6),
            (0, 7),
            (2, 22),
            (1, 13),
            (1, 9),
            (1, 5),
            (0, 3),
            (2, 18),
            (0, 31),
            (1, 1),
            (1, 13),
            (1, 9),
            (0, 35),
            (0, 15),
            (0, 27),
            (1, 1),
            (1, 5),
            (1, 11),
            (0, 11),
            (2, 26),
            (2, 2),
            (1, 15),
            (1, 3),
            (1, 7),
            (2, 10),
            (0, 23),
            (2, 14),
            (1, 3),
            (1, 15),
            (1, 11),
            (0, 19),
            (2, 20),
            (2, 4),
            (1, 7),
            (1, 2),
            (1, 10),
            (0, 13),
            (2, 12),
            (0, 25),
            (1, 14),
            (1, 6),
            (1, 5),
        ];
        assert_eq!(drawn(&mut order, 0..14), expected);
    }

    #[test]
    fn every_window_is_read_before_any_is_read_again() {
        let tokens = [100, 0, 3, 57, 4, 1];
        for (kind, windows) in [(LoaderOrder::Coprime, 33 + 18 + 1), (LoaderOrder::Shuffled, 33 + 18 + 1)] {
            let mut order = order(kind, 1, &tokens, 3, 1);
            let mut found = drawn(&mut order, 0..windows);
            // A phase may leave out a window at the end.
            let epoch: BTreeSet<(usize, u64)> = found.iter().copied().collect();
            assert!(epoch.len() as u64 >= windows - 2, "{kind:?}: {}", epoch.len());
            assert!(epoch.iter().all(|&(shard, start)| start + 3 < tokens[shard]), "{kind:?}");
            found.sort_unstable();
            assert_ne!(drawn(&mut order, 0..windows), found, "{kind:?}");
        }
        // Of each shard, none overlaps another.
        let mut coprime = order(LoaderOrder::Coprime, 1, &tokens, 3, 1);
        let epoch: BTreeSet<_> = drawn(&mut coprime, 0..52).into_iter().collect();
        assert_eq!(epoch.len(), 52);
        assert!(epoch.iter().all(|(_, start)| start % 3 == 0));
        assert_eq!(drawn(&mut coprime, 52..104), drawn(&mut coprime, 0..52));
    }

    #[test]
    fn neighbors_in_time_lie_far_apart_in_the_text() {
        for windows in [1, 2, 3, 4, 5, 6, 12, 97, 100, 30_030, 6_967_965] {
            let stride = coprime_stride(windows);
            assert!(windows == 1 || (0..windows).contains(&stride), "{windows}");
            if windows > 90 {
                let share = stride as f64 / windows as f64;
                assert!((share - 0.618).abs() < 0.03, "{windows}: {share}");
            }
        }
        // 30030 is 2 3 5 7 11 13; from 18559.56 on the first with none of these.
        assert_eq!(coprime_stride(30_030), 18_559);
    }

    #[test]
    fn a_piece_is_the_same_whatever_was_read_before() {
        for kind in [LoaderOrder::Coprime, LoaderOrder::Shuffled] {
            let fresh = || order(kind, 4, &[300, 200, 100, 250, 260], 8, 2);
            let all = drawn(&mut fresh(), 0..40);
            let mut jumping = fresh();
            for piece in [7, 39, 0, 0, 12, 11] {
                assert_eq!(drawn(&mut jumping, piece..piece + 1), all[piece as usize * 2..][..2], "{kind:?} {piece}");
            }
        }
    }

    #[test]
    fn a_rank_without_a_shard_reads_another_ones() {
        let mut order = order(LoaderOrder::Shuffled, 8, &[50, 2], 4, 5);
        let found = drawn(&mut order, 0..8);
        assert!(found.iter().all(|(shard, _)| *shard == 0));
        assert_ne!(found[..5], found[5..10]);
    }
}
