//! Every seed under `fixtures/fuzz`, whole and damaged, through the functions that the fuzzers call.
//!
//! Deterministic and short; `ci/fuzz` looks further.

use std::path::PathBuf;

use crate::parsers::PARSERS;

/// Damaged variants of a seed of usual size.
const VARIANTS: usize = 48;
/// Bytes of variants of one seed: a large seed gets fewer.
const MAX_DAMAGED_BYTES: usize = 256 << 10;

fn seeds(parser: &str) -> Vec<(String, Vec<u8>)> {
    // A worker is handed the same folders.
    let parser = if parser == "worker" { "folder" } else { parser };
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz").join(parser);
    let mut seeds: Vec<(String, Vec<u8>)> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

/// A step of SplitMix64 (Steele, Lea and Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One bit flipped, one byte set to an extreme, cut short, a stretch repeated or removed.
fn damage(seed: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    if bytes.is_empty() {
        return vec![next(state) as u8];
    }
    let at = next(state) as usize % bytes.len();
    let end = (at + 1 + next(state) as usize % 16).min(bytes.len());
    match next(state) % 6 {
        0 | 1 => bytes[at] ^= 1 << (next(state) % 8),
        2 => bytes[at] = [0, 0x7f, 0x80, 0xff][next(state) as usize % 4],
        3 => bytes.truncate(at),
        4 => {
            let stretch = bytes[at..end].to_vec();
            bytes.splice(at..at, stretch);
        }
        _ => drop(bytes.drain(at..end)),
    }
    bytes
}

/// Runs one parser over its seeds and their variants; a panic names the seed and the variant.
fn replay(name: &str) {
    let (_, parser) = PARSERS.iter().find(|(parser, _)| *parser == name).unwrap();
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "no seeds for {name}");
    for (file, seed) in seeds {
        parser(&seed);
        parser(&[]);
        let variants = VARIANTS.min(MAX_DAMAGED_BYTES / seed.len().max(1)).max(4);
        for variant in 0..variants {
            let mut state = variant as u64;
            let bytes = damage(&seed, &mut state);
            let outcome = std::panic::catch_unwind(|| parser(&bytes));
            assert!(outcome.is_ok(), "{name}: variant {variant} of {file}");
        }
    }
}

/// A test a parser, so that they run side by side and a failure names its parser.
macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_parser_is_replayed() {
            let replayed = [$(stringify!($name)),*];
            assert_eq!(PARSERS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), replayed);
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("ci/fuzz/targets");
            for name in replayed {
                assert!(folder.join(format!("{name}.rs")).exists(), "no fuzz target for {name}");
            }
        }
    };
}

replays!(json log manifest board pickle zip torch foreign safetensors artifact shard tokenizer python shell folder worker);

/// Damage to bytes that are refused at the first field finds nothing.
#[test]
fn seeds_of_artifacts_are_of_the_present_format() {
    for (parser, ending) in [("artifact", ".golf"), ("zip", ".golf")] {
        let seeds: Vec<_> = seeds(parser).into_iter().filter(|(file, _)| file.ends_with(ending)).collect();
        assert!(!seeds.is_empty(), "no artifact among the seeds of {parser}");
        for (file, seed) in seeds {
            assert!(golf_harness::artifact::parse(&seed).is_ok(), "{parser}/{file}: run fuzz_seeds of ci/tools");
        }
    }
}
