//! Reference numbers: loader batches.
//!
//! `loader_batches.safetensors` holds what the challenge's own loader cut off the two shards in `loader_shards/`:
//! 512 tokens a step over two micro-batches, rows of 64; `ws1.*` with one rank, `ws2.rank{r}.*` with two. The
//! ten batches of one rank take 2570 tokens of 1700, so they wrap around.

use std::path::{Path, PathBuf};

use golf_harness::data::{BatchGeometry, Loader};
use safetensors::{Dtype, SafeTensors};

use crate::support::{ReferenceSet, on_both_sets};

on_both_sets! { batches_are_the_scripts_on_one_rank_and_on_two }

const VOCAB_SIZE: u32 = 1024;

fn tensor(file: &SafeTensors, name: &str) -> Vec<u16> {
    let view = file.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::I64);
    view.data().chunks_exact(8).map(|id| u16::try_from(i64::from_le_bytes(id.try_into().unwrap())).unwrap()).collect()
}

fn shards(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder.join("loader_shards")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn batches_are_the_scripts_on_one_rank_and_on_two(set: ReferenceSet) {
    let folder = set.folder();
    let bytes = std::fs::read(folder.join("loader_batches.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut compared = 0;
    for (prefix, world, rank) in [("ws1", 1, 0), ("ws2.rank0", 2, 0), ("ws2.rank1", 2, 1)] {
        let geometry = BatchGeometry::new(512, 64, 2, world, rank).unwrap();
        let mut loader = Loader::open(&shards(&folder), geometry, VOCAB_SIZE).unwrap();
        let batches = (0..).take_while(|n| file.tensor(&format!("{prefix}.batch{n}.x")).is_ok());
        for n in batches {
            let batch = loader.next_batch().unwrap();
            assert_eq!(batch.inputs, tensor(&file, &format!("{prefix}.batch{n}.x")), "{prefix} batch {n}");
            assert_eq!(batch.targets, tensor(&file, &format!("{prefix}.batch{n}.y")), "{prefix} batch {n}");
            compared += 1;
        }
        let pieces = u64::from(world) * (512 / 2 / u64::from(world) + 1);
        assert_eq!(loader.position().taken % pieces, 0);
    }
    assert_eq!(compared * 2, file.len(), "{} holds batches no loader made", folder.display());
    assert!(compared >= 18);
}
