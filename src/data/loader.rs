//! Cuts training micro-batches off the shards: as a stream, exactly as the challenge's loader does, or in windows.
//!
//! All shards in name order form one endless stream (the first follows the last). A micro-batch
//! takes `world x (local + 1)` tokens; rank r gets the r-th piece of `local + 1`, whose first
//! `local` tokens are inputs and whose last `local` are targets. Nothing is shuffled, aligned to
//! documents or dropped at a shard's end (specification, section 8).
//!
//! In windows ([`ReadingOrder`]) each row of a micro-batch is a sequence of its own with its targets.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::shard::{Shard, ShardError, ShardFault, check_vocabulary};
use super::window_order::WindowOrder;
use super::{BatchGeometry, ReadingOrder, TokenBatch};

/// Shards that windows are read from and that stay open.
const MAX_OPEN_SHARDS: usize = 128;

/// Where a loader stands: enough to continue bit-exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoaderPosition {
    /// Tokens taken off the stream so far, by all ranks together; counts on through wrap-arounds. Of windows only the
    /// inputs count.
    pub taken: u64,
}

/// Why no batch could be cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError {
    /// There is nothing to read.
    #[error("the {shards} training shard(s) hold no tokens; check data.train_pattern and data.path")]
    NoTokens {
        /// Shards given.
        shards: usize,
    },
    /// No shard is as long as a window.
    #[error(
        "none of the {shards} training shard(s) holds a window of {seq_len} tokens and its target; lower schedule.train_seq_len or read them in sequence (data.loader)"
    )]
    NoWindows {
        /// Shards given.
        shards: usize,
        /// Tokens of a window's inputs.
        seq_len: u64,
    },
    /// More windows than an order is kept of.
    #[error(
        "{windows} windows are more than the {most} that are shuffled; raise schedule.train_seq_len, or take data.loader coprime"
    )]
    TooManyWindows {
        /// Windows of all ranks; with fewer shards than ranks several have the same.
        windows: u64,
        /// Most supported.
        most: u64,
    },
    /// A shard is missing, damaged or made with another tokenizer.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

/// One rank's view of the training stream. Memory: one micro-batch, whatever the shards' size; shuffled, eight bytes a window
/// besides.
#[derive(Debug)]
pub struct Loader {
    shards: Vec<Extent>,
    total: u64,
    vocab_size: u32,
    geometry: BatchGeometry,
    position: LoaderPosition,
    /// In which windows come; `None` of a stream.
    windows: Option<WindowOrder>,
    open: BTreeMap<usize, Shard>,
}

/// A shard's place in the stream.
#[derive(Debug)]
struct Extent {
    path: PathBuf,
    start: u64,
    tokens: u64,
}

impl Loader {
    /// Opens every shard once to check it; `paths` are in reading order.
    ///
    /// Ids at or above `vocab_size` are an error when they are read.
    pub fn open(paths: &[PathBuf], geometry: BatchGeometry, vocab_size: u32) -> Result<Self, LoaderError> {
        Self::open_in_order(paths, geometry, vocab_size, ReadingOrder::default())
    }

    /// [`Self::open`] in any order.
    pub fn open_in_order(
        paths: &[PathBuf],
        geometry: BatchGeometry,
        vocab_size: u32,
        order: ReadingOrder,
    ) -> Result<Self, LoaderError> {
        let mut shards = Vec::with_capacity(paths.len());
        let mut total = 0u64;
        for path in paths {
            let tokens = Shard::open(path)?.tokens();
            shards.push(Extent { path: path.clone(), start: total, tokens });
            total += tokens;
        }
        if total == 0 {
            return Err(LoaderError::NoTokens { shards: paths.len() });
        }
        let tokens: Vec<u64> = shards.iter().map(|shard: &Extent| shard.tokens).collect();
        let windows = WindowOrder::new(order, &tokens, geometry.seq_len(), geometry.rows())?;
        let position = LoaderPosition::default();
        Ok(Loader { shards, total, vocab_size, geometry, position, windows, open: BTreeMap::new() })
    }

    /// Tokens in all shards: one epoch.
    pub fn tokens_per_epoch(&self) -> u64 {
        self.total
    }

    /// How batches are cut.
    pub fn geometry(&self) -> &BatchGeometry {
        &self.geometry
    }

    /// Where the next micro-batch starts.
    pub fn position(&self) -> LoaderPosition {
        self.position
    }

    /// Continues from a recorded position.
    pub fn seek(&mut self, position: LoaderPosition) {
        self.position = position;
    }

    /// The next micro-batch of this rank. On an error the position stays where it was.
    pub fn next_batch(&mut self) -> Result<TokenBatch, LoaderError> {
        if self.windows.is_some() {
            return self.next_windows();
        }
        let local = self.geometry.local_tokens();
        let piece = local + 1;
        // Both below the total, so the sums cannot overflow; `taken` itself wraps after centuries.
        let rank_offset = (self.geometry.rank() as u64 * piece as u64) % self.total;
        let start = (self.position.taken % self.total + rank_offset) % self.total;
        let mut inputs = Vec::with_capacity(piece);
        self.read(start, piece, &mut inputs)?;
        let targets = inputs.get(1..).unwrap_or_default().to_vec();
        inputs.truncate(local);
        self.position.taken = self.position.taken.wrapping_add(self.geometry.world_size() as u64 * piece as u64);
        Ok(TokenBatch { inputs, targets, seq_len: self.geometry.seq_len() })
    }

    /// A micro-batch of windows: piece `m world + r` of all is the m-th of rank r.
    fn next_windows(&mut self) -> Result<TokenBatch, LoaderError> {
        let (local, seq_len) = (self.geometry.local_tokens(), self.geometry.seq_len());
        let piece = self.position.taken / (local as u64).max(1) + self.geometry.rank() as u64;
        let windows = self.windows.as_mut().map(|order| order.piece(piece)).unwrap_or_default();
        let (mut inputs, mut targets) = (Vec::with_capacity(local), Vec::with_capacity(local));
        let mut tokens = Vec::with_capacity(seq_len + 1);
        for window in windows {
            tokens.clear();
            let vocab_size = self.vocab_size;
            let shard = self.shard(window.shard)?;
            shard.read_into(window.start, seq_len + 1, &mut tokens)?;
            check_vocabulary(&tokens, vocab_size, window.start).map_err(|fault| shard.error(fault))?;
            inputs.extend_from_slice(tokens.get(..seq_len).unwrap_or_default());
            targets.extend_from_slice(tokens.get(1..).unwrap_or_default());
        }
        self.position.taken = self.position.taken.wrapping_add((self.geometry.world_size() * local) as u64);
        Ok(TokenBatch { inputs, targets, seq_len })
    }

    /// Appends `count` tokens from stream position `start` (below the total), wrapping as often as needed.
    fn read(&mut self, start: u64, count: usize, out: &mut Vec<u16>) -> Result<(), LoaderError> {
        let mut index = self.shards.partition_point(|extent| extent.start + extent.tokens <= start);
        let mut within = start - self.shards[index].start;
        let mut left = count;
        while left > 0 {
            let (tokens, vocab_size) = (self.shards[index].tokens, self.vocab_size);
            let here = usize::try_from(tokens - within).map_or(left, |available| available.min(left));
            if here > 0 {
                let before = out.len();
                let shard = self.shard(index)?;
                shard.read_into(within, here, out)?;
                check_vocabulary(&out[before..], vocab_size, within).map_err(|fault| shard.error(fault))?;
                left -= here;
            }
            index = (index + 1) % self.shards.len();
            within = 0;
        }
        Ok(())
    }

    /// The shard at `index`. Of a stream it is kept open until another one is needed.
    fn shard(&mut self, index: usize) -> Result<&mut Shard, ShardError> {
        let most = if self.windows.is_some() { MAX_OPEN_SHARDS } else { 1 };
        if self.open.len() >= most && !self.open.contains_key(&index) {
            self.open.clear();
        }
        match self.open.entry(index) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(place) => {
                let extent = &self.shards[index];
                let shard = Shard::open(&extent.path)?;
                if shard.tokens() != extent.tokens {
                    let fault = ShardFault::Changed { before: extent.tokens, after: shard.tokens() };
                    return Err(shard.error(fault));
                }
                Ok(place.insert(shard))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::write_shard;
    use super::*;
    use crate::manifest::LoaderOrder;

    fn shards(folder: &std::path::Path, shards: &[Vec<u16>]) -> Vec<PathBuf> {
        let write = |(i, tokens): (usize, &Vec<u16>)| {
            let path = folder.join(format!("x_train_{i:06}.bin"));
            write_shard(&path, tokens).unwrap();
            path
        };
        shards.iter().enumerate().map(write).collect()
    }

    fn geometry(global: u64, seq_len: u64, world: u32, rank: u32, accum: u64) -> BatchGeometry {
        BatchGeometry::new(global, seq_len, accum, world, rank).unwrap()
    }

    /// The specification once more, over the whole stream in memory.
    fn expected(stream: &[u16], g: &BatchGeometry, n: usize) -> (Vec<u16>, Vec<u16>) {
        let piece = g.local_tokens() + 1;
        let first = (n * g.world_size() + g.rank()) * piece;
        let taken: Vec<u16> = (first..first + piece).map(|i| stream[i % stream.len()]).collect();
        (taken[..piece - 1].to_vec(), taken[1..].to_vec())
    }

    #[test]
    fn shards_without_tokens_are_refused_and_empty_ones_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let g = geometry(4, 4, 1, 0, 1);
        let empty = shards(folder.path(), &[vec![], vec![]]);
        assert!(matches!(Loader::open(&empty, g, 1024), Err(LoaderError::NoTokens { shards: 2 })));
        assert!(matches!(Loader::open(&[], g, 1024), Err(LoaderError::NoTokens { shards: 0 })));
        let paths = shards(folder.path(), &[vec![], vec![7, 8], vec![]]);
        let batch = Loader::open(&paths, g, 1024).unwrap().next_batch().unwrap();
        assert_eq!((batch.inputs, batch.targets), (vec![7, 8, 7, 8], vec![8, 7, 8, 7]));
    }

    #[test]
    fn a_foreign_id_is_found_when_it_is_read_and_nothing_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let paths = shards(folder.path(), &[vec![0; 4], vec![0, 1, 2000, 3]]);
        let mut loader = Loader::open(&paths, geometry(4, 4, 1, 0, 1), 1024).unwrap();
        let error = loader.next_batch().and_then(|_| loader.next_batch()).unwrap_err().to_string();
        assert!(error.contains("x_train_000001.bin: token 2 (offset 1028) is id 2000"), "{error}");
        assert_eq!(loader.position(), LoaderPosition { taken: 5 });
    }

    #[test]
    fn a_shard_that_changes_length_during_a_run_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let paths = shards(folder.path(), &[vec![0; 5], vec![1; 5]]);
        let mut loader = Loader::open(&paths, geometry(4, 4, 1, 0, 1), 1024).unwrap();
        loader.next_batch().unwrap();
        write_shard(&paths[1], &[1; 6]).unwrap();
        let error = loader.next_batch().unwrap_err().to_string();
        assert!(error.contains("held 5 tokens when it was opened and holds 6 now"), "{error}");
    }

    /// Rows are windows with their own targets; ranks share the pieces of one order, whatever their number.
    #[test]
    fn windows_are_the_same_on_any_number_of_ranks() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<Vec<u16>> = [60u16, 45, 70].map(|n| (0..n).map(|i| n * 100 + i).collect()).to_vec();
        let paths = shards(folder.path(), &content);
        for order in [LoaderOrder::Shuffled, LoaderOrder::Coprime] {
            let reading = ReadingOrder { order, seed: 3, ranks: 8 };
            // Two rows of 5 in each of the eight pieces of a step.
            let rank = |world: u32, rank| {
                let geometry = geometry(80, 5, world, rank, u64::from(8 / world));
                Loader::open_in_order(&paths, geometry, u32::MAX, reading).unwrap()
            };
            let mut alone = rank(1, 0);
            let pieces: Vec<TokenBatch> = (0..24).map(|_| alone.next_batch().unwrap()).collect();
            assert_eq!(alone.position(), LoaderPosition { taken: 240 });
            for batch in &pieces {
                assert_eq!((batch.inputs.len(), batch.seq_len), (10, 5));
                for (inputs, targets) in batch.inputs.chunks(5).zip(batch.targets.chunks(5)) {
                    assert!(inputs.iter().zip(targets).all(|(input, target)| input + 1 == *target), "{batch:?}");
                }
            }
            for world in [2, 4, 8] {
                for index in 0..world {
                    let mut loader = rank(world, index);
                    // Resumed behind the first step.
                    loader.seek(LoaderPosition { taken: 80 });
                    for m in 0..2 * (8 / world) {
                        let expected = &pieces[8 + (m * world + index) as usize];
                        assert_eq!(loader.next_batch().unwrap(), *expected, "{order:?} {world} {index} {m}");
                    }
                }
            }
        }
        let open = |seq_len| {
            let reading = ReadingOrder { order: LoaderOrder::Coprime, seed: 0, ranks: 1 };
            Loader::open_in_order(&paths, geometry(seq_len, seq_len, 1, 0, 1), u32::MAX, reading)
        };
        assert!(open(69).is_ok());
        assert!(open(70).unwrap_err().to_string().contains("none of the 3 training shard(s) holds a window of 70"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn batches_follow_the_stream_on_every_rank(
            lengths in prop::collection::vec(0usize..40, 1..5), rows in 1u64..4, seq_len in 1u64..9,
            world_log in 0u32..3, steps in 1usize..8,
        ) {
            let mut next = 0u16;
            let content: Vec<Vec<u16>> = lengths.iter().map(|&n| (0..n).map(|_| { next += 1; next }).collect()).collect();
            let stream = content.concat();
            prop_assume!(!stream.is_empty());
            let folder = tempfile::tempdir().unwrap();
            let paths = shards(folder.path(), &content);
            let world = 1 << world_log;
            for rank in 0..world {
                let g = geometry(rows * seq_len * u64::from(world) * 2, seq_len, world, rank, 2);
                let mut loader = Loader::open(&paths, g, u32::MAX).unwrap();
                let mut halfway = None;
                for n in 0..steps {
                    if n == steps / 2 {
                        halfway = Some(loader.position());
                    }
                    let batch = loader.next_batch().unwrap();
                    let (inputs, targets) = expected(&stream, &g, n);
                    prop_assert_eq!(&batch.inputs, &inputs);
                    prop_assert_eq!(&batch.targets, &targets);
                    // Within a piece each row starts with the token the row before it ended on.
                    for r in 1..rows as usize {
                        let t = seq_len as usize;
                        prop_assert_eq!(batch.inputs[r * t], batch.targets[r * t - 1]);
                    }
                }
                let mut resumed = Loader::open(&paths, g, u32::MAX).unwrap();
                resumed.seek(halfway.unwrap());
                for n in steps / 2..steps {
                    prop_assert_eq!(resumed.next_batch().unwrap().inputs, expected(&stream, &g, n).0);
                }
            }
        }

        /// Over one pass, every token but the first of each piece is a target once, and every token but the
        /// last of each piece an input once: pieces tile the stream without gap or overlap.
        #[test]
        fn pieces_tile_the_stream(world_log in 0u32..3, local in 1u64..12, batches in 1usize..6) {
            let world = 1u32 << world_log;
            let length = batches * world as usize * (local as usize + 1);
            let stream: Vec<u16> = (0..length as u16).collect();
            let folder = tempfile::tempdir().unwrap();
            let paths = shards(folder.path(), &[stream[..length / 3].to_vec(), stream[length / 3..].to_vec()]);
            let (mut inputs, mut targets) = (vec![0u32; length], vec![0u32; length]);
            for rank in 0..world {
                let g = geometry(local * u64::from(world), local, world, rank, 1);
                let mut loader = Loader::open(&paths, g, u32::MAX).unwrap();
                for _ in 0..batches {
                    let batch = loader.next_batch().unwrap();
                    batch.inputs.iter().for_each(|&id| inputs[usize::from(id)] += 1);
                    batch.targets.iter().for_each(|&id| targets[usize::from(id)] += 1);
                }
                prop_assert_eq!(loader.position().taken % loader.tokens_per_epoch(), 0);
            }
            let piece = local as usize + 1;
            for i in 0..length {
                prop_assert_eq!(targets[i], u32::from(i % piece != 0));
                prop_assert_eq!(inputs[i], u32::from(i % piece != piece - 1));
            }
        }
    }
}
