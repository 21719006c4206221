//! The choice of a coder for each stream.

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::artifact::{PackedTensor, PackedValues};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::quant::{Codec, TensorClass};
use crate::random::RandomStream;

/// What a zstd of the table may make of the frames' marks and lengths: a byte for each stream.
const MARKS: usize = StreamKind::ALL.len();

/// How the values of a tensor follow each other.
#[derive(Clone, Copy, Debug)]
enum Pattern {
    Constant,
    /// So many different rows, drawn again and again.
    Rows(u64),
    Random,
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![Just(Pattern::Constant), (1u64..6).prop_map(Pattern::Rows), Just(Pattern::Random)]
}

/// A tensor of every class; `pattern` says how its bits repeat.
fn tensors(patterns: [Pattern; 5], rows: usize, columns: usize, seed: u64) -> Vec<PackedTensor> {
    let classes = [TensorClass::Int5, TensorClass::Int6, TensorClass::Int8, TensorClass::F16, TensorClass::F32];
    let mut random = RandomStream::new(seed, "codec");
    let mut bits = |pattern| -> Vec<u32> {
        let table: Vec<u32> = (0..rows * columns).map(|_| random.bits() as u32).collect();
        let mut row = |row: usize| match pattern {
            Pattern::Rows(different) => random.below(different) as usize % rows,
            _ => row,
        };
        let rows = (0..rows).map(&mut row).collect::<Vec<_>>();
        let at = |row: usize, column: usize| match pattern {
            Pattern::Constant => table[0],
            _ => table[row * columns + column],
        };
        rows.into_iter().flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(r, c)| at(r, c)).collect()
    };
    let tensor = |(class, pattern): (TensorClass, Pattern)| {
        let bits = bits(pattern);
        // Finite: between 1 and 2, all mantissas.
        let values = match class.symbols() {
            Some(range) => {
                let count = (i16::from(*range.end()) - i16::from(*range.start()) + 1) as u32;
                let symbol = |bits: &u32| (i16::from(*range.start()) + (bits % count) as i16) as i8;
                let scales = (0..rows).map(|row| f16::from_bits(0x3c00 | (bits[row * columns] & 0x3ff) as u16));
                PackedValues::Integers { class, symbols: bits.iter().map(symbol).collect(), scales: scales.collect() }
            }
            None if class == TensorClass::F16 => {
                PackedValues::F16(bits.iter().map(|bits| f16::from_bits(0x3c00 | (bits & 0x3ff) as u16)).collect())
            }
            None => PackedValues::F32(bits.iter().map(|bits| f32::from_bits(0x3f80_0000 | bits & 0x7f_ffff)).collect()),
        };
        PackedTensor::new(class.to_string(), vec![rows, columns], values).unwrap()
    };
    classes.into_iter().zip(patterns).map(tensor).collect()
}

fn encoded(tensors: &[PackedTensor], codec: Codec) -> Vec<u8> {
    encode(tensors, codec, 22, &Progress::hidden(), &Interrupt::none()).unwrap().bytes
}

/// Stream, what compressed it, and its stored bytes.
fn streams(file: &[u8]) -> Vec<(StreamKind, Codec, u64)> {
    let streams = size_breakdown(file).unwrap().streams;
    streams.into_iter().map(|(kind, codec, sizes)| (kind, codec, sizes.stored)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn ans_is_never_larger_than_zstd(
        patterns in [pattern(), pattern(), pattern(), pattern(), pattern()],
        rows in 1usize..60,
        columns in 1usize..80,
        seed in 0u64..1000,
    ) {
        let tensors = tensors(patterns, rows, columns, seed);
        let (zstd, ans) = (encoded(&tensors, Codec::Zstd), encoded(&tensors, Codec::Ans));
        prop_assert!(ans.len() <= zstd.len() + MARKS, "{} for {}", ans.len(), zstd.len());
        for ((kind, _, zstd), (_, codec, stored)) in streams(&zstd).into_iter().zip(streams(&ans)) {
            prop_assert!(stored <= zstd, "{kind}: {stored} for {zstd}");
            // The range coder wins ties.
            prop_assert!(codec == Codec::Ans || stored == zstd);
        }
        prop_assert_eq!(parse(&ans).unwrap().packed, tensors);
    }
}

#[test]
fn repeated_rows_go_to_zstd_and_random_symbols_to_the_range_coder() {
    let random = Pattern::Random;
    let mut tensors = tensors([random, random, random, Pattern::Rows(3), random], 200, 300, 1);
    tensors.remove(0);
    let mut thirds = RandomStream::new(2, "thirds");
    let symbols = (0..60_000).map(|_| thirds.below(3) as i8).collect();
    let values = PackedValues::Integers { class: TensorClass::Int5, symbols, scales: vec![f16::ONE; 200] };
    tensors.push(PackedTensor::new("thirds", vec![200, 300], values).unwrap());
    let (zstd, ans) = (encoded(&tensors, Codec::Zstd), encoded(&tensors, Codec::Ans));
    let found = streams(&ans);
    let coder = |wanted| found.iter().find(|(kind, ..)| *kind == wanted).map(|(_, codec, _)| *codec);
    // Three rows of 300 random mantissas: low bytes repeat.
    assert_eq!(coder(StreamKind::Half(0)), Some(Codec::Zstd));
    // Three equally likely symbols are log2 3 = 1.585 bits each; Huffman's codes take 5/3.
    assert_eq!(coder(StreamKind::Symbols(TensorClass::Int5)), Some(Codec::Ans));
    assert!(ans.len() < zstd.len());
}

#[test]
fn a_stream_of_many_zstd_frames_comes_back_and_threads_change_nothing() {
    // Halves that repeat every 4,096: three zstd frames of up to 1 MiB for each byte.
    let half = |i: u32| f16::from_bits(0x3c00 | ((i % 4096).wrapping_mul(2_654_435_761) >> 22) as u16);
    let rows: Vec<f16> = (0..2_200_000).map(half).collect();
    let tensors = [PackedTensor::new("table", vec![2_200_000], PackedValues::F16(rows)).unwrap()];
    let file = encoded(&tensors, Codec::Ans);
    assert!(streams(&file).iter().any(|(_, codec, _)| *codec == Codec::Zstd));
    assert_eq!(parse(&file).unwrap().packed, tensors);
    let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(single.install(|| encoded(&tensors, Codec::Ans)), file);
}
