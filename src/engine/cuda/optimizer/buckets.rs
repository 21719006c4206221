//! Which gradients are summed over the ranks together, and when.

use std::ops::Range;

use super::arena::{Arena, Members, Transformed};
use crate::engine::network::Finished;

/// Values of a bucket before it is closed: 25 MiB, as PyTorch's DistributedDataParallel has them. Large enough that
/// the launch hardly counts, small enough that most of a pass is left to go on beside the sum.
pub(in crate::engine::cuda) const BUCKET_VALUES: usize = 25 * (1 << 20) / size_of::<f32>();

/// Whole blocks whose gradients become final one after another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bucket {
    /// What the backward pass finishes last of it; `None` where that is its end.
    pub completed_by: Option<Finished>,
    /// Their ranges in the arena.
    pub ranges: Vec<Range<usize>>,
    /// The matrices among them that have a scale folded in, or other transforms.
    pub transformed: Vec<Transformed>,
}

impl Bucket {
    fn new(arena: &Arena, members: &Members, completed_by: Option<Finished>) -> Self {
        Bucket { completed_by, ranges: arena.ranges(members), transformed: arena.transformed(members) }
    }
}

/// All buckets in the order a backward pass completes them, each closed when it holds so many values.
pub(super) fn buckets(arena: &Arena, layers: usize, values: usize) -> Vec<Bucket> {
    let is_full = |members: &Members| arena.ranges(members).iter().map(Range::len).sum::<usize>() >= values;
    let mut members = Members { blocks: layers..layers, has_head: true, has_rest: false };
    let mut buckets = Vec::new();
    let mut close = |members: &mut Members, completed_by| {
        buckets.push(Bucket::new(arena, members, completed_by));
        *members = Members { blocks: members.blocks.start..members.blocks.start, has_head: false, has_rest: false };
    };
    // A tied head is the embedding table, which is final at the end: its bucket stays open.
    if !arena.ranges(&members).is_empty() && is_full(&members) {
        close(&mut members, Some(Finished::Head));
    }
    for block in (0..layers).rev() {
        members.blocks.start = block;
        if is_full(&members) || block == 0 {
            close(&mut members, Some(Finished::Block(block)));
        }
    }
    members.has_rest = true;
    close(&mut members, None);
    buckets
}

#[cfg(test)]
mod tests {
    use super::super::arena;
    use super::*;
    use crate::model::ModelConfig;

    fn config() -> ModelConfig {
        ModelConfig { tie_embeddings: true, ..arena::tests::config() }
    }

    #[test]
    fn every_value_of_the_arena_is_in_one_bucket() {
        let untied = ModelConfig { tie_embeddings: false, num_layers: 5, ..config() };
        let wide = ModelConfig { bigram_dim: 12, ..config() };
        let without = ModelConfig { bigram_vocab_size: 0, num_layers: 1, ..config() };
        for config in [config(), untied, wide, without, ModelConfig::default()] {
            let arena = Arena::new(&config);
            for values in [1, 2_000, 1 << 30] {
                let buckets = buckets(&arena, config.num_layers, values);
                let mut ranges: Vec<_> = buckets.iter().flat_map(|bucket| bucket.ranges.clone()).collect();
                ranges.sort_by_key(|range| range.start);
                let end = ranges.iter().fold(0, |end, range| {
                    assert_eq!(range.start, end, "{config:?} {values}");
                    range.end
                });
                assert_eq!(end, arena.len());
                // And every scale is unfolded in the bucket of its matrix.
                let mut seen: Vec<_> = buckets.iter().flat_map(|bucket| &bucket.transformed).collect();
                seen.sort_by_key(|seen| seen.matrices.start);
                let count = |seen: &[&Transformed]| seen.iter().map(|seen| seen.matrices.count).sum::<usize>();
                let whole = arena.transformed(&Members::ALL);
                assert_eq!(count(&seen), count(&whole.iter().collect::<Vec<_>>()));
                for bucket in &buckets {
                    let is_in = |start: usize| bucket.ranges.iter().any(|range| range.contains(&start));
                    assert!(bucket.transformed.iter().all(|seen| is_in(seen.matrices.start)));
                    assert!(bucket.transformed.iter().filter_map(|seen| seen.scales).all(|scales| is_in(scales.start)));
                }
            }
        }
    }

    #[test]
    fn buckets_are_closed_from_the_networks_end() {
        let completed = |config: &ModelConfig, values| {
            let buckets = buckets(&Arena::new(config), config.num_layers, values);
            buckets.iter().map(|bucket| bucket.completed_by).collect::<Vec<_>>()
        };
        let [b0, b1, b2] = [0, 1, 2].map(|block| Some(Finished::Block(block)));
        assert_eq!(completed(&config(), 1), [b2, b1, b0, None]);
        let untied = ModelConfig { tie_embeddings: false, ..config() };
        assert_eq!(completed(&untied, 1), [Some(Finished::Head), b2, b1, b0, None]);
        assert_eq!(completed(&untied, 1 << 20), [b0, None]);
        // The recipe's eleven blocks of 9.4 MB: three a bucket, the last two, the rest.
        let found = completed(&ModelConfig { num_layers: 11, ..Default::default() }, BUCKET_VALUES);
        assert_eq!(found[..2], [Some(Finished::Block(8)), Some(Finished::Block(5))]);
        assert_eq!(found[2..], [b2, b0, None]);
    }
}
