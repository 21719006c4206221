//! The format by its bytes: every number of the file written out by hand from the module's description.

use half::f16;

use super::adaptive;
use super::codec::{compress, decompress};
use super::cursor::Cursor;
use super::header::{CHECKSUM_OFFSET, HEADER_BYTES, Header};
use super::layout::{Layout, gather, magnitude_bucket};
use super::size_breakdown::{Sizes, contexts, size_breakdown};
use super::stream_kind::StreamKind;
use super::table::{FrameEntry, Table, TensorEntry};
use super::*;
use crate::artifact::{PackedTensor, PackedValues};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::quant::{Codec, TensorClass};

#[test]
fn every_stream_has_a_code_a_name_and_a_part() {
    use StreamKind::{Half, MagnitudeBuckets, Scale, Single, Symbols};
    use TensorClass::{F16, F32, Int5, Int6, Int8};
    let expected = [
        (MagnitudeBuckets, 0x30, "magnitude buckets", Part::Scales, 0..=255),
        (Symbols(Int5), 5, "int5", Part::Class(Int5), 112..=143),
        (Symbols(Int6), 6, "int6", Part::Class(Int6), 96..=159),
        (Symbols(Int8), 8, "int8", Part::Class(Int8), 1..=255),
        (Scale(0), 0x40, "scales, byte 0", Part::Scales, 0..=255),
        (Scale(1), 0x41, "scales, byte 1", Part::Scales, 0..=255),
        (Half(0), 0x50, "f16, byte 0", Part::Class(F16), 0..=255),
        (Half(1), 0x51, "f16, byte 1", Part::Class(F16), 0..=255),
        (Single(0), 0x60, "f32, byte 0", Part::Class(F32), 0..=255),
        (Single(1), 0x61, "f32, byte 1", Part::Class(F32), 0..=255),
        (Single(2), 0x62, "f32, byte 2", Part::Class(F32), 0..=255),
        (Single(3), 0x63, "f32, byte 3", Part::Class(F32), 0..=255),
    ];
    assert_eq!(StreamKind::ALL, expected.clone().map(|(kind, ..)| kind));
    for (kind, code, name, part, alphabet) in expected {
        assert_eq!(
            (kind.code(), kind.to_string().as_str(), kind.part(), kind.alphabet()),
            (code, name, part, alphabet)
        );
        assert_eq!(StreamKind::from_code(code), Some(kind));
    }
    assert_eq!(StreamKind::from_code(0x42), None);
    assert_eq!((Part::Table.to_string(), Part::Scales.to_string()), ("table".into(), "scales".into()));
    assert_eq!((Codec::Zstd.code(), Codec::Ans.code(), Layout::RowsByMagnitude.code()), (1, 2, 2));
    assert_eq!((Codec::from_code(2), Codec::from_code(3)), (Some(Codec::Ans), None));
    assert_eq!((Layout::from_code(2), Layout::from_code(1)), (Some(Layout::RowsByMagnitude), None));
}

#[test]
fn the_header_lies_as_described() {
    let header = Header {
        codec: Codec::Ans,
        layout: Layout::RowsByMagnitude,
        level: 22,
        table_stored: 0x0102_0304,
        table_bytes: 0x0a0b_0c0d,
    };
    let expected = *b"\x89GOLF\r\n\x1a\x02\x02\x02\x16\x04\x03\x02\x01\x0d\x0c\x0b\x0a";
    assert_eq!(header.encode(), expected);
    assert_eq!((CHECKSUM_OFFSET, HEADER_BYTES), (20, 36));
}

fn entry(name: &str, shape: &[usize], class: TensorClass, digest: u8) -> TensorEntry {
    TensorEntry { name: name.into(), shape: shape.to_vec(), class, digest: [digest; 16] }
}

fn frame(stream: StreamKind, codec: Codec, raw: usize, stored: usize) -> FrameEntry {
    FrameEntry { stream, codec, raw, stored }
}

#[test]
fn the_table_lies_as_described() {
    let table = Table {
        tensors: vec![entry("ab", &[300, 2], TensorClass::Int6, 0xaa), entry("c", &[], TensorClass::F32, 0xbb)],
        frames: vec![
            frame(StreamKind::MagnitudeBuckets, Codec::Zstd, 300, 9),
            frame(StreamKind::Scale(1), Codec::Ans, 128, 7),
        ],
    };
    // 300 is AC 02 and 128 is 80 01 in LEB128; the zstd frame of a range-coded file is marked.
    let front = b"\x02\x02ab\x06\x02\xac\x02\x02\x01c\x20\x00\x02\xb0\xac\x02\x09\x41\x80\x01\x07";
    let expected = [&front[..], &[0xaa; 16], &[0xbb; 16]].concat();
    assert_eq!(table.encode(Codec::Ans), expected);
    assert_eq!(Table::decode(&expected, Codec::Ans, 36).unwrap(), table);
    // In a file of zstd frames none is marked.
    let frames = vec![frame(StreamKind::MagnitudeBuckets, Codec::Zstd, 300, 9)];
    assert_eq!(Table { tensors: vec![], frames }.encode(Codec::Zstd), b"\x00\x01\x30\xac\x02\x09");
}

#[test]
fn the_tables_bounds_are_reached_and_not_passed() {
    let decode = |table: Table| Table::decode(&table.encode(Codec::Ans), Codec::Ans, 36).map_err(|error| error.what);
    let tensors = |tensors: Vec<TensorEntry>| decode(Table { tensors, frames: vec![] });
    let name = |bytes: usize| entry(&"n".repeat(bytes), &[1], TensorClass::F32, 0);
    assert!(tensors(vec![name(1024)]).is_ok());
    assert!(tensors(vec![name(1025)]).unwrap_err().contains("a name's length is 1025; at most 1024"));
    let rank = |rank: usize| entry("t", &vec![1; rank], TensorClass::F32, 0);
    assert!(tensors(vec![rank(8)]).is_ok());
    assert!(tensors(vec![rank(9)]).unwrap_err().contains("rank is 9; at most 8"));
    // 2^28 weights in one tensor or in two.
    let floats = |name: &str, side: usize| entry(name, &[side], TensorClass::F32, 0);
    assert!(tensors(vec![floats("a", 1 << 27), floats("b", 1 << 27)]).is_ok());
    assert!(tensors(vec![floats("a", 1 << 28), floats("b", 1)]).unwrap_err().contains("with tensor `b` [1] the model"));
    // 2^22 rows of integers; floats have none.
    let rows = |name: &str, rows: usize, class| entry(name, &[rows, 1], class, 0);
    let (int5, f32) = (TensorClass::Int5, TensorClass::F32);
    assert!(tensors(vec![rows("a", 1 << 21, int5), rows("b", 1 << 21, int5), rows("c", 1 << 21, f32)]).is_ok());
    let error = tensors(vec![rows("a", 1 << 22, int5), rows("b", 1, int5)]).unwrap_err();
    assert!(error.contains("with tensor `b` the model has more than 4194304 rows"), "{error}");
    // A frame expands at most 2^15 times, to at most 2^30 bytes.
    let frames = |raw, stored| {
        decode(Table { tensors: vec![], frames: vec![frame(StreamKind::MagnitudeBuckets, Codec::Ans, raw, stored)] })
    };
    assert!(frames(1 << 15, 1).is_ok());
    assert!(frames((1 << 15) + 1, 1).unwrap_err().contains("expand 1 bytes to 32769"));
    assert!(frames(1 << 30, 1 << 28).is_ok());
    assert!(frames((1 << 30) + 1, 1 << 28).unwrap_err().contains("frame's size is 1073741825"));
    assert!(frames(1, (1 << 28) + 1).unwrap_err().contains("stored size is 268435457"));
    let bytes = Table { tensors: vec![], frames: vec![] }.encode(Codec::Ans);
    let error = Table::decode(&[&bytes[..], &[0, 0]].concat(), Codec::Ans, 36).unwrap_err();
    assert_eq!((error.offset, error.what.as_str()), (36, "table, byte 2: 2 bytes too many"));
}

/// What the writer refuses is what no reader takes.
#[test]
fn the_writer_keeps_to_the_same_bounds() {
    let write = |tensors: &[PackedTensor]| {
        let written = encode(tensors, Codec::Zstd, 1, &Progress::hidden(), &Interrupt::none());
        written.map(|encoded| encoded.bytes.len()).map_err(|error| error.to_string())
    };
    let tensor = |name: &str, shape: Vec<usize>| {
        let values = PackedValues::F32(vec![1.0; shape.iter().product()]);
        PackedTensor::new(name, shape, values).unwrap()
    };
    assert!(write(&[tensor(&"n".repeat(1024), vec![1]), tensor("m", vec![1; 8])]).is_ok());
    let error = write(&[tensor(&"n".repeat(1025), vec![1])]).unwrap_err();
    assert_eq!(error, "the length of a tensor's name is 1025; an artifact holds at most 1024");
    let error = write(&[tensor("n", vec![1; 9])]).unwrap_err();
    assert_eq!(error, "the rank of a tensor is 9; an artifact holds at most 8");
    assert_eq!(write(&[tensor("n", vec![1]), tensor("n", vec![2])]).unwrap_err(), "tensor `n` appears twice");
    let many: Vec<PackedTensor> = (0..=1 << 16).map(|i| tensor(&i.to_string(), vec![0])).collect();
    assert!(write(&many[1..]).is_ok());
    assert_eq!(write(&many).unwrap_err(), "the number of tensors is 65537; an artifact holds at most 65536");
    // Rows without columns cost no memory, and count.
    let rows = |rows: usize| {
        let scales = vec![f16::ONE; rows];
        let values = PackedValues::Integers { class: TensorClass::Int5, symbols: vec![], scales };
        PackedTensor::new("r", vec![rows, 0], values).unwrap()
    };
    assert!(write(&[rows(1 << 22)]).is_ok());
    let error = write(&[rows((1 << 22) + 1)]).unwrap_err();
    assert_eq!(error, "the number of rows is 4194305; an artifact holds at most 4194304");
}

/// `1 + floor(8 log2(256 mean))` in steps of an eighth of an octave that are linear within it.
#[test]
fn magnitude_buckets_are_eighths_of_octaves() {
    let one_in = |n: usize| [vec![1], vec![0; n - 1]].concat();
    for (symbols, bucket) in [
        (vec![], 0),
        (vec![0, 0], 0),
        // 1/257: less than a 256th. 1/256: the first step. 3/256 = 2^1 x 1.5 of them.
        (one_in(257), 0),
        (one_in(256), 1),
        ([vec![3], vec![0; 255]].concat(), 1 + 8 + 4),
        (vec![1, 0], 1 + 7 * 8),
        (vec![1], 1 + 8 * 8),
        (vec![-1, 1], 1 + 8 * 8),
        (vec![3], 1 + 9 * 8 + 4),
        (vec![9], 1 + 11 * 8 + 1),
        (vec![15], 1 + 11 * 8 + 7),
        (vec![127], 1 + 14 * 8 + 7),
        (vec![-128], 1 + 15 * 8),
    ] {
        assert_eq!(magnitude_bucket(&symbols), bucket, "{symbols:?}");
    }
}

fn integers(name: &str, shape: &[usize], class: TensorClass, symbols: &[i8], scales: &[u16]) -> PackedTensor {
    let scales = scales.iter().map(|&bits| f16::from_bits(bits)).collect();
    PackedTensor::new(name, shape.to_vec(), PackedValues::Integers { class, symbols: symbols.to_vec(), scales })
        .unwrap()
}

/// Two int5 tensors and one of int8, halves and singles.
fn tensors() -> Vec<PackedTensor> {
    let halves = |bits: &[u16]| PackedValues::F16(bits.iter().map(|&bits| f16::from_bits(bits)).collect());
    let singles = vec![f32::from_bits(0x3f01_0203), f32::from_bits(0x4004_0506)];
    vec![
        integers("a", &[2, 2], TensorClass::Int5, &[3, -3, 1, 0], &[0x3c01, 0x3c02]),
        integers("b", &[2, 2], TensorClass::Int8, &[-127, 127, 5, 6], &[0x3c03, 0x3c04]),
        integers("c", &[2, 2], TensorClass::Int5, &[1, 1, 0, 0], &[0x3c05, 0x3c06]),
        PackedTensor::new("d", vec![3], halves(&[0x3d07, 0x3e08, 0x3f09])).unwrap(),
        PackedTensor::new("e", vec![2], PackedValues::F32(singles)).unwrap(),
    ]
}

#[test]
fn streams_hold_what_the_layout_says() {
    // Mean magnitudes 3, 0.5, 127, 5.5, 1, 0: 2^9.58, 2^7, 2^14.99, 2^10.46, 2^8 and nothing in 256ths.
    let buckets = [77, 57, 120, 84, 65, 0];
    let stream = |kind| gather(kind, &tensors());
    assert_eq!(stream(StreamKind::MagnitudeBuckets), buckets);
    // Rows by magnitude bucket: 0 0, 1 0, 1 1, 3 -3; symbols are 128 more.
    assert_eq!(stream(StreamKind::Symbols(TensorClass::Int5)), [128, 128, 129, 128, 129, 129, 131, 125]);
    assert!(stream(StreamKind::Symbols(TensorClass::Int6)).is_empty());
    assert_eq!(stream(StreamKind::Symbols(TensorClass::Int8)), [133, 134, 1, 255]);
    assert_eq!(stream(StreamKind::Scale(0)), [1, 2, 3, 4, 5, 6]);
    assert_eq!(stream(StreamKind::Scale(1)), [0x3c; 6]);
    assert_eq!(stream(StreamKind::Half(0)), [7, 8, 9]);
    assert_eq!(stream(StreamKind::Half(1)), [0x3d, 0x3e, 0x3f]);
    assert_eq!(stream(StreamKind::Single(0)), [3, 6]);
    assert_eq!(stream(StreamKind::Single(1)), [2, 5]);
    assert_eq!(stream(StreamKind::Single(2)), [1, 4]);
    assert_eq!(stream(StreamKind::Single(3)), [0x3f, 0x40]);
    // Tensor by tensor with the model's context: symbols as they are, anything else as one piece.
    let [a, b, ..] = &tensors()[..] else { panic!("five tensors") };
    let rows = vec![(77, vec![3, 253]), (57, vec![1, 0])];
    assert_eq!(contexts(StreamKind::Symbols(TensorClass::Int5), a), rows);
    assert_eq!(contexts(StreamKind::Symbols(TensorClass::Int5), b), [(0, vec![])]);
    assert_eq!(contexts(StreamKind::Scale(0), b), [(0, vec![3, 4])]);
}

#[test]
fn the_size_breakdown_of_a_file_adds_up() {
    for codec in [Codec::Zstd, Codec::Ans] {
        let encoded = encode(&tensors(), codec, 19, &Progress::hidden(), &Interrupt::none()).unwrap();
        assert_eq!(parse(&encoded.bytes).unwrap().packed, tensors());
        let found = size_breakdown(&encoded.bytes).unwrap();
        assert_eq!((found.codec, found.level, found.header), (codec, 19, Sizes { held: 36, stored: 36 }));
        // Held: 6 buckets, 8 + 4 symbols, 6 + 6 bytes of scales, 3 + 3 of halves, 4 times 2 of singles.
        let held: Vec<u64> = found.streams.iter().map(|(.., sizes)| sizes.held).collect();
        assert_eq!(held, [6, 8, 4, 6, 6, 3, 3, 2, 2, 2, 2]);
        let stored: u64 = found.streams.iter().map(|(.., sizes)| sizes.stored).sum();
        assert_eq!(found.header.stored + found.table.stored + stored, encoded.bytes.len() as u64);
        // Five tensors: a count, then length, name, class, rank and sides; eleven frames of three bytes; digests.
        assert_eq!(found.table.held, 1 + 5 * 4 + (2 + 2 + 2 + 1 + 1) + 1 + 11 * 3 + 5 * 16);
        let parts: u64 = encoded.parts.iter().map(|(_, size)| size.0).sum();
        assert_eq!(parts, encoded.bytes.len() as u64);
        let of = |wanted: Part| encoded.parts.iter().find(|(part, _)| *part == wanted).unwrap().1.0;
        assert_eq!(of(Part::Table), 36 + found.table.stored);
        let scales = found.streams.iter().filter(|(kind, ..)| kind.part() == Part::Scales);
        assert_eq!(of(Part::Scales), scales.map(|(.., sizes)| sizes.stored).sum::<u64>());
    }
}

#[test]
fn frames_of_another_length_are_refused() {
    let bytes: Vec<u8> = (0..100).collect();
    let stored = compress(&bytes, 3).unwrap();
    assert_eq!(decompress(&stored, 100).unwrap(), bytes);
    assert_eq!(decompress(&stored, 99).unwrap_err(), "the frame holds more than the 99 bytes the table gives");
    assert_eq!(decompress(&stored, 101).unwrap_err(), "the frame holds fewer than the 101 bytes the table gives");
    let stray = [&stored[..], &[1, 2, 3]].concat();
    assert_eq!(decompress(&stray, 100).unwrap_err(), "3 stray bytes after the frame");
}

#[test]
fn faults_are_reported_where_they_are() {
    let mut file = Cursor::of_file(&[1, 2, 3]);
    assert_eq!((file.position(), file.remaining()), (0, 3));
    assert_eq!((file.u8("a"), file.position(), file.remaining()), (Ok(1), 1, 2));
    let error = file.take(3, "x").unwrap_err();
    assert_eq!((error.offset, error.what.as_str()), (1, "cut short: x needs 3 bytes, 2 are left"));
    assert_eq!(file.take(2, "x"), Ok(&[2, 3][..]));
    assert!(file.take(usize::MAX, "x").is_err());
    let mut inside = Cursor::inside(&[0, 0x85, 0x01], 36, "table");
    inside.u8("a").unwrap();
    let error = inside.varint(132, "n").unwrap_err();
    assert_eq!((error.offset, error.what.as_str()), (36, "table, byte 1: n is 133; at most 132 are allowed"));
    assert_eq!(Cursor::of_file(&[0x85, 0x01]).varint(133, "n"), Ok(133));
    assert_eq!(Cursor::of_file(&[4, 3, 2, 1]).u32("n"), Ok(0x0102_0304));
    // Ten bytes hold 64 bits: 9 times 7 and one.
    let most = [&[0xff; 9][..], &[1]].concat();
    assert_eq!(Cursor::of_file(&most).varint(u64::MAX, "n"), Ok(u64::MAX));
}

/// Code words are 32 bits, so a stream of one likely symbol takes one or two of them; what is left over is noticed.
#[test]
fn range_coded_frames_of_another_length_are_refused() {
    let (alphabet, runs) = (0..=255, [(0, 5), (1, 3)]);
    let stored = adaptive::encode(b"abcdefgh", &alphabet, &runs).unwrap();
    assert_eq!(adaptive::decode(&stored, 8, &alphabet, &runs).unwrap(), b"abcdefgh");
    let says = |stored: &[u8], raw| adaptive::decode(stored, raw, &alphabet, &runs).unwrap_err();
    let length = stored.len();
    assert_eq!(says(&stored, 7), format!("{length} bytes for 7 symbols where the rows have 8"));
    assert_eq!(says(&stored[..length - 1], 8), format!("{} bytes for 8 symbols where the rows have 8", length - 1));
    assert_eq!(says(&[&stored[..], &[9; 16]].concat(), 8), "code words are left after the last symbol");
    assert_eq!(adaptive::encode(b"abc", &alphabet, &[(0, 2)]), None);
    assert_eq!(adaptive::encode(b"abc", &alphabet, &[(0, 4)]), None);
    assert_eq!(adaptive::encode(b"abc", &(b'a'..=b'b'), &[(0, 3)]), None);
    assert_eq!(adaptive::encode(b"abc", &(b'b'..=b'c'), &[(0, 3)]), None);
    assert_eq!(adaptive::encode(b"", &alphabet, &[]), None);
}
