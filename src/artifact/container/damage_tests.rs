//! Damage: every flipped bit pattern, every cut, and tables that lie under an intact checksum.

use super::cursor::push_varint;
use super::header::{CHECKSUM_OFFSET, HEADER_BYTES, Header, checksum_of};
use super::table::Table;
use super::*;
use crate::artifact::{PackedTensor, PackedValues};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::quant::{Codec, TensorClass};

/// One tensor of every class, rows that repeat, a scalar, a zero-sided tensor and a non-matrix.
fn tensors() -> Vec<PackedTensor> {
    let half = half::f16::from_f32;
    let integers = |class: TensorClass, n: usize, rows: usize| PackedValues::Integers {
        class,
        symbols: (0..n).map(|i| (i * 7 % 31) as i8 - 15).collect(),
        scales: (0..rows).map(|row| half(0.01 * (row + 1) as f32)).collect(),
    };
    let f32s = |n: usize| PackedValues::F32((0..n).map(|i| i as f32 / 3.0).collect());
    [
        ("blocks.0.mlp.fc.weight", vec![4, 6], integers(TensorClass::Int5, 24, 4)),
        ("blocks.0.attn.c_q.weight", vec![3, 5], integers(TensorClass::Int6, 15, 3)),
        ("bigram.embed.weight", vec![2, 4], integers(TensorClass::Int8, 8, 2)),
        ("cube", vec![2, 2, 2], integers(TensorClass::Int6, 8, 1)),
        ("nothing", vec![0, 3], integers(TensorClass::Int5, 0, 0)),
        ("tok_emb.weight", vec![2, 3], PackedValues::F16((0..6).map(|i| half(i as f32 / 7.0)).collect())),
        ("bigram.scale", vec![], PackedValues::F16(vec![half(0.05)])),
        ("resid_mix", vec![2, 2], f32s(4)),
        // Equal rows, which zstd finds and the range coder does not.
        ("table", vec![12, 16], PackedValues::F16((0..192).map(|i| half((i % 16) as f32 / 11.0)).collect())),
    ]
    .into_iter()
    .map(|(name, shape, values)| PackedTensor::new(name, shape, values).unwrap())
    .collect()
}

fn small() -> Vec<u8> {
    small_with(Codec::Zstd)
}

fn small_with(codec: Codec) -> Vec<u8> {
    encode(&tensors(), codec, 22, &Progress::hidden(), &Interrupt::none()).unwrap().bytes
}

fn reseal(mut file: Vec<u8>) -> Vec<u8> {
    let checksum = checksum_of(&file);
    file[CHECKSUM_OFFSET..HEADER_BYTES].copy_from_slice(&checksum);
    file
}

/// A file with another table, its sizes and checksum put right.
fn with_table(change: impl FnOnce(&mut Table)) -> Vec<u8> {
    let file = small();
    let header = Header::decode(&file).unwrap();
    let end = HEADER_BYTES + header.table_stored as usize;
    let raw = codec::decompress(&file[HEADER_BYTES..end], header.table_bytes as usize).unwrap();
    let mut table = Table::decode(&raw, header.codec, 0).unwrap();
    change(&mut table);
    let raw = table.encode(header.codec);
    let stored = codec::compress(&raw, 3).unwrap();
    let header = Header { table_stored: stored.len() as u32, table_bytes: raw.len() as u32, ..header };
    reseal([&header.encode()[..], &[0; 16], &stored, &file[end..]].concat())
}

#[test]
fn what_was_written_is_read() {
    for codec in [Codec::Zstd, Codec::Ans] {
        check_read(&parse(&small_with(codec)).unwrap());
    }
    // The payload is what was compressed, whatever compressed it.
    assert_eq!(parse(&small()).unwrap().payload, parse(&small_with(Codec::Ans)).unwrap().payload);
}

fn check_read(artifact: &Artifact) {
    assert_eq!(artifact.packed, tensors());
    assert_eq!(artifact.params.iter().len(), tensors().len());
    for (tensor, (name, values)) in tensors().iter().zip(artifact.params.iter()) {
        assert_eq!((tensor.name(), &tensor.dequantize()), (name, values));
    }
}

#[test]
fn every_flip_and_every_cut_is_noticed() {
    let (_, table, _) = read::front(&small_with(Codec::Ans)).map(|(a, b, _)| (a, b, ())).unwrap();
    for codec in [Codec::Zstd, Codec::Ans] {
        assert!(table.frames.iter().any(|frame| frame.codec == codec), "no frame of {codec:?} is damaged");
    }
    every_flip_and_cut(&small());
    every_flip_and_cut(&small_with(Codec::Ans));
}

fn every_flip_and_cut(file: &[u8]) {
    for at in 0..file.len() {
        for pattern in [0x01, 0x80, 0xff] {
            let mut damaged = file.to_vec();
            damaged[at] ^= pattern;
            assert!(parse(&damaged).is_err(), "byte {at} ^ {pattern:#x}");
        }
        assert!(parse(&file[..at]).is_err(), "cut to {at}");
    }
    assert!(parse(&[file, b"\0"].concat()).is_err());
}

#[test]
fn under_a_repaired_checksum_nothing_wrong_is_delivered() {
    // Header bytes that carry no meaning for decoding (the level) may differ; everything decoded must be equal.
    wrong_under_a_checksum(small());
    wrong_under_a_checksum(small_with(Codec::Ans));
}

fn wrong_under_a_checksum(file: Vec<u8>) {
    let expected = tensors();
    let mut refused = 0;
    for at in (0..CHECKSUM_OFFSET).chain(HEADER_BYTES..file.len()) {
        for pattern in [0x01, 0x10, 0x80, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= pattern;
            match parse(&reseal(damaged)) {
                // A flip in a name or shape changes what is described, not what is decoded: values stay proven.
                Ok(artifact) => {
                    assert_eq!(artifact.packed.len(), expected.len(), "byte {at} ^ {pattern:#x}");
                    for (found, wanted) in artifact.packed.iter().zip(&expected) {
                        assert_eq!(found.dequantize().data(), wanted.dequantize().data(), "byte {at} ^ {pattern:#x}");
                    }
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > file.len(), "only {refused} refused");
}

#[test]
fn lies_in_the_table_are_named() {
    let error = |change: fn(&mut Table)| parse(&with_table(change)).unwrap_err().to_string();
    for (change, part) in [
        ((|table| table.tensors[0].shape = vec![1 << 28, 2]) as fn(&mut Table), "more than 268435456 weights"),
        (|table| table.tensors[0].shape = vec![1 << 28; 8], "more than 268435456 weights"),
        (|table| table.tensors[0].shape[0] += 1, "its tensors need"),
        (|table| table.tensors[0].shape = vec![1 << 28, 0], "more than 4194304 rows"),
        (|table| table.tensors[0].class = TensorClass::F32, "its tensors need"),
        (|table| table.tensors[1].name = table.tensors[0].name.clone(), "listed twice"),
        (|table| table.tensors[0].digest[0] ^= 1, "does not decode to its digest"),
        (|table| table.tensors.swap(0, 2), "does not decode to its digest"),
        (|table| table.frames[0].raw = 1 << 30, "claims to expand"),
        (|table| table.frames[0].stored = 1 << 20, "cut short"),
        (|table| table.frames[0].stored -= 1, "offset"),
        (|table| table.frames[0].codec = Codec::Ans, "marked as zstd's where every frame is"),
        (|table| table.frames.truncate(3), "its tensors need"),
        (|table| table.frames.reverse(), "order of their streams"),
    ] {
        let message = error(change);
        assert!(message.contains(part) && message.starts_with("offset "), "{message} (expected {part})");
    }
}

#[test]
fn faults_behind_the_table_are_reported_where_their_part_begins() {
    // Values that decode to something else: where the frames begin.
    let file = with_table(|table| table.tensors[0].digest[0] ^= 1);
    let body = |file: &[u8]| 36 + u64::from(Header::decode(file).unwrap().table_stored);
    assert_eq!(parse(&file).unwrap_err().offset, body(&file));
    // A frame that is none: where it begins, here the second.
    let file = small();
    let (_, table, _) = read::front(&file).unwrap();
    let second = body(&file) + table.frames[0].stored as u64;
    let mut damaged = file;
    damaged[second as usize] ^= 0xff;
    let trouble = parse(&reseal(damaged)).unwrap_err();
    assert!(trouble.offset == second && trouble.what.starts_with("frame: "), "{trouble}");
}

#[test]
fn a_symbol_outside_its_class_is_refused() {
    let too_large = PackedTensor::from_trusted_parts(
        "w",
        vec![1, 2],
        PackedValues::Integers { class: TensorClass::Int5, symbols: vec![3, 16], scales: vec![half::f16::ONE] },
    );
    let file = encode(&[too_large], Codec::Zstd, 3, &Progress::hidden(), &Interrupt::none()).unwrap().bytes;
    assert!(parse(&file).unwrap_err().what.contains("do not fit class int5"));
}

/// 2^28 zeros are no artifact for their first bytes, and one more for their number. Nobody touches the memory.
#[test]
fn a_file_of_the_limit_is_looked_at_and_one_byte_more_is_not() {
    let zeros = vec![0; (1 << 28) + 1];
    assert_eq!(parse(&zeros[1..]).unwrap_err().offset, 0);
    let trouble = parse(&zeros).unwrap_err();
    assert_eq!((trouble.offset, trouble.what.as_str()), (1 << 28, "268435457 bytes are more than any artifact"));
}

#[test]
fn a_small_file_cannot_claim_much_memory() {
    // 2^24 bytes of table and 2^30 bytes of frame, claimed by files of about a hundred bytes.
    let header = Header { table_bytes: u32::MAX, ..Header::decode(&small()).unwrap() };
    let file = reseal([&header.encode()[..], &[0; 16], &[0; 64]].concat());
    assert!(parse(&file).unwrap_err().what.contains("at most"));

    let bomb = codec::compress(&vec![0; 1 << 24], 3).unwrap();
    let header = Header { table_stored: bomb.len() as u32, table_bytes: 1 << 10, ..header };
    let file = reseal([&header.encode()[..], &[0; 16], &bomb].concat());
    assert!(parse(&file).unwrap_err().what.contains("more than the 1024 bytes"));

    let mut many = Vec::new();
    push_varint(&mut many, u64::from(u32::MAX));
    assert!(Table::decode(&many, Codec::Ans, 36).unwrap_err().what.contains("at most 65536"));
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let _ = parse(&body);
        let header = Header { table_stored: body.len() as u32, table_bytes: 100, ..Header::decode(&small()).unwrap() };
        let file = reseal([&header.encode()[..], &[0; 16], &body].concat());
        proptest::prop_assert!(parse(&file).is_err());
        for codec in [Codec::Zstd, Codec::Ans] {
            let _ = Table::decode(&body, codec, 36);
        }
    }
}
