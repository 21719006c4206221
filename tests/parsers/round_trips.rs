//! What is written is what is read: random values through a writer and the parser, against the value itself.

use std::path::Path;

use golf_harness::artifact::foreign::pickle::{Node, NodeId, Pickle, interpret};
use golf_harness::artifact::foreign::{self, torch_ptz};
use golf_harness::artifact::{ClassRule, PackedTensor, PackedValues, encode, parse, scale_count};
use golf_harness::data::{Tokenizer, decode_shard, write_shard};
use golf_harness::interrupt::Interrupt;
use golf_harness::manifest::{Track, canonical_yaml, parse as parse_manifest};
use golf_harness::model::{HostTensor, Params, parse_safetensors, write_safetensors};
use golf_harness::progress::Progress;
use golf_harness::quant::{Codec, TensorClass};
use golf_harness::stats::{Board, BoardEntry, SeedRun};
use golf_harness::submission::SubmissionJson;
use golf_harness::submission::log::{LogScanner, MetricKind};
use half::f16;
use proptest::collection::vec;
use proptest::prelude::*;

/// A shape of at most three sides and its number of elements.
fn shape() -> impl Strategy<Value = (Vec<usize>, usize)> {
    vec(1usize..6, 0..3).prop_map(|shape| {
        let elements = shape.iter().product();
        (shape, elements)
    })
}

/// A finite half-precision number.
fn half() -> impl Strategy<Value = f16> {
    any::<u16>().prop_map(|bits| f16::from_bits(bits & 0xbbff))
}

fn values(shape: &[usize], elements: usize) -> BoxedStrategy<PackedValues> {
    let scales = scale_count(shape);
    let integers = |class: TensorClass| {
        let range = class.symbols().expect("an integer class");
        (vec(range, elements), vec(half(), scales)).prop_map(move |(symbols, scales)| PackedValues::Integers {
            class,
            symbols,
            scales,
        })
    };
    prop_oneof![
        integers(TensorClass::Int5),
        integers(TensorClass::Int6),
        integers(TensorClass::Int8),
        vec(half(), elements).prop_map(PackedValues::F16),
        vec(-1e30f32..1e30, elements).prop_map(PackedValues::F32),
    ]
    .boxed()
}

/// Tensors with names of their own.
fn tensors() -> impl Strategy<Value = Vec<PackedTensor>> {
    let one = shape()
        .prop_flat_map(|(shape, elements)| values(&shape, elements).prop_map(move |values| (shape.clone(), values)));
    vec(one, 0..6).prop_map(|parts| {
        let tensor = |(i, (shape, values))| PackedTensor::new(format!("blocks.{i}.weight"), shape, values).unwrap();
        parts.into_iter().enumerate().map(tensor).collect()
    })
}

/// A plain Python value.
#[derive(Clone, Debug)]
enum Plain {
    None,
    Bool(bool),
    Int(i32),
    Float(f64),
    Text(String),
    List(Vec<Plain>),
    Dict(Vec<(String, Plain)>),
}

fn plain() -> impl Strategy<Value = Plain> {
    let leaf = prop_oneof![
        Just(Plain::None),
        any::<bool>().prop_map(Plain::Bool),
        any::<i32>().prop_map(Plain::Int),
        (-1e300f64..1e300).prop_map(Plain::Float),
        ".{0,12}".prop_map(Plain::Text),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Plain::List),
            // Keys of their own: a later equal key would replace the earlier one.
            vec(inner, 0..5).prop_map(|values| {
                Plain::Dict(values.into_iter().enumerate().map(|(i, value)| (format!("key {i}"), value)).collect())
            }),
        ]
    })
}

/// Protocol 2 as CPython's pickletools describes it.
fn write_pickle(value: &Plain, out: &mut Vec<u8>) {
    let text = |text: &str, out: &mut Vec<u8>| {
        out.push(b'X');
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    };
    match value {
        Plain::None => out.push(b'N'),
        Plain::Bool(value) => out.push(if *value { 0x88 } else { 0x89 }),
        Plain::Int(value) => {
            out.push(b'J');
            out.extend(value.to_le_bytes());
        }
        Plain::Float(value) => {
            out.push(b'G');
            out.extend(value.to_be_bytes());
        }
        Plain::Text(value) => text(value, out),
        Plain::List(values) => {
            out.extend(b"](");
            values.iter().for_each(|value| write_pickle(value, out));
            out.push(b'e');
        }
        Plain::Dict(items) => {
            out.extend(b"}(");
            for (key, value) in items {
                text(key, out);
                write_pickle(value, out);
            }
            out.push(b'u');
        }
    }
}

fn same(pickle: &Pickle, id: NodeId, value: &Plain) -> bool {
    match value {
        Plain::None => *pickle.node(id) == Node::None,
        Plain::Bool(value) => *pickle.node(id) == Node::Bool(*value),
        Plain::Int(value) => *pickle.node(id) == Node::Int(i64::from(*value)),
        Plain::Float(value) => *pickle.node(id) == Node::Float(*value),
        Plain::Text(value) => pickle.text(id) == Some(value),
        Plain::List(values) => pickle.elements(id).is_some_and(|ids| {
            ids.len() == values.len() && ids.iter().zip(values).all(|(id, value)| same(pickle, *id, value))
        }),
        Plain::Dict(items) => {
            pickle.items(id).is_some_and(|found| found.len() == items.len())
                && items.iter().all(|(key, value)| pickle.get(id, key).is_some_and(|id| same(pickle, id, value)))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn artifacts(tensors in tensors()) {
        let codec = if tensors.len() % 2 == 0 { Codec::Zstd } else { Codec::Ans };
        let encoded = encode(&tensors, codec, 3, &Progress::hidden(), &Interrupt::none()).unwrap();
        let read = parse(&encoded.bytes).unwrap();
        prop_assert_eq!(read.packed, tensors);
    }

    #[test]
    fn torch_files(tensors in tensors()) {
        let bytes = torch_ptz(&tensors, &vec![ClassRule::Small; tensors.len()], 1).unwrap();
        let read = foreign::parse(&bytes, Path::new("final_model.ptz")).unwrap();
        prop_assert_eq!(read.packed, tensors);
    }

    #[test]
    fn boards(
        means in vec(0.2f64..3.0, 1..6),
        spread in 0.0f64..0.01,
        seeds in vec(any::<u32>(), 2..5),
        title in "[A-Za-z0-9 :#'\"+-]{1,30}",
    ) {
        let entry = |(i, mean): (usize, &f64)| {
            let val_bpb = (mean * 1e5).round() / 1e5;
            let known = i % 2 == 0;
            // Deviations that cancel, so that the mean is the one stated.
            let away = |at: usize| if seeds.len().is_multiple_of(2) && at.is_multiple_of(2) { spread } else { -spread };
            let run = |(at, seed): (usize, &u32)| SeedRun {
                seed: Some(u64::from(*seed) + at as u64 * (1 << 32)),
                val_bpb: if seeds.len().is_multiple_of(2) { val_bpb + away(at) } else { val_bpb },
                val_loss: None,
            };
            BoardEntry {
                pr: (i > 0).then_some(i as u64),
                title: title.clone(),
                date: format!("2026-03-{:02}", i + 1),
                val_bpb,
                runs: if known { seeds.iter().enumerate().map(run).collect() } else { Vec::new() },
                n: (!known).then_some(3),
                sd: (!known).then_some(spread),
                source: "a table".into(),
                note: None,
            }
        };
        let board = Board {
            schema: "golf-harness/board/v1".into(),
            track: Track::TenMinutes,
            as_of: "2026-04-30".into(),
            records: means.iter().enumerate().map(entry).collect(),
        };
        let text = serde_yaml::to_string(&board).unwrap();
        prop_assert_eq!(Board::parse(&text, Path::new("board.yaml")).unwrap(), board);
    }

    #[test]
    fn text(words in vec("[ -~]{1,12}", 1..8)) {
        // Spaces at the ends and in rows are the normalizer's to remove; everything else must come back.
        let words: Vec<&str> = words.iter().flat_map(|word| word.split_ascii_whitespace()).collect();
        let text = words.join(" ");
        let model = include_bytes!("../../fixtures/reference/tokenizers/bytes.model");
        let tokenizer = Tokenizer::decode_model(model).unwrap();
        let ids = tokenizer.encode(&text).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids), text);
    }

    #[test]
    fn weights(sides in vec(shape(), 0..5), seed in any::<u32>()) {
        let mut bits = seed;
        let mut value = || {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Any bits but those of infinities and NaN, which do not compare.
            f32::from_bits(bits & 0xbfff_ffff)
        };
        let tensor = |(i, (shape, elements)): (usize, (Vec<usize>, usize))| {
            (format!("t{i}"), HostTensor::new(shape, (0..elements).map(|_| value()).collect()).unwrap())
        };
        let params = Params::from_entries(sides.into_iter().enumerate().map(tensor).collect());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        write_safetensors(&path, &params).unwrap();
        prop_assert_eq!(parse_safetensors(&std::fs::read(&path).unwrap(), &path).unwrap(), params);
    }

    #[test]
    fn shards(tokens in vec(any::<u16>(), 0..500)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.bin");
        write_shard(&path, &tokens).unwrap();
        prop_assert_eq!(decode_shard(&std::fs::read(&path).unwrap()).unwrap(), tokens);
    }

    #[test]
    fn pickles(value in plain()) {
        let mut program = vec![0x80, 2];
        write_pickle(&value, &mut program);
        program.push(b'.');
        let pickle = interpret(&program).unwrap();
        prop_assert!(same(&pickle, pickle.root, &value), "{value:?}");
        prop_assert!(pickle.imports.is_empty());
    }

    #[test]
    fn manifests(
        name in "[a-z][a-z0-9 _:#'\"-]{0,30}",
        steps in 1u64..100_000,
        seeds in vec(any::<u32>(), 0..4),
        loss in 1_000_000u32..4_000_000,
    ) {
        let seeds: Vec<String> = seeds.iter().map(u32::to_string).collect();
        let number = format!("{}.{:06}", loss / 1_000_000, loss % 1_000_000);
        let text = format!(
            "schema: golf-harness/manifest/v1\nname: {}\nclaim:\n  metrics: {{val_bpb: '{number}'}}\n  seeds: [{}]\n\
             schedule: {{iterations: {steps}}}\n",
            serde_json::to_string(&name).unwrap(),
            seeds.join(", "),
        );
        let path = Path::new("m.yaml");
        // Values that a manifest refuses are not what this test is about.
        let Ok(first) = parse_manifest(&text, path) else { return Err(TestCaseError::reject("refused")) };
        prop_assert_eq!(&first.name, &name);
        prop_assert_eq!(first.claim.metrics.val_bpb.as_ref().unwrap().text(), number);
        let second = parse_manifest(&canonical_yaml(&first), path).unwrap();
        prop_assert_eq!(second, first);
    }

    #[test]
    fn claims_in_json(bpb in 0.1f64..4.0, total in 10_000u64..40_000_000, seeds in vec(0u64..10_000, 1..5), style in 0..4) {
        let mut seeds = seeds;
        seeds.sort_unstable();
        seeds.dedup();
        // As a number, as a string, behind a byte-order mark, in UTF-16.
        let number = if style == 1 { format!("\"{bpb}\"") } else { bpb.to_string() };
        let text = format!("{{\"val_bpb\": {number}, \"bytes_total\": {total}, \"seeds\": {seeds:?}}}");
        let bytes: Vec<u8> = match style {
            2 => [&b"\xef\xbb\xbf"[..], text.as_bytes()].concat(),
            3 => format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect(),
            _ => text.clone().into_bytes(),
        };
        let json = SubmissionJson::parse("submission.json".into(), &bytes);
        prop_assert!(json.defect.is_none(), "{text}");
        prop_assert_eq!(json.bpb().unwrap().number.value(), bpb);
        prop_assert_eq!(json.total().unwrap().number.value(), total as f64);
        prop_assert_eq!(json.seeds(), seeds);
    }

    #[test]
    fn final_values_in_logs(
        bpb in 10_000_000u64..400_000_000,
        seed in any::<u32>(),
        total in 1_000_000u64..20_000_000,
        millis in 1_000u64..2_000_000,
        utf16 in any::<bool>(),
    ) {
        let number = format!("{}.{:08}", bpb / 100_000_000, bpb % 100_000_000);
        let text = format!(
            "seed:{seed}\nstep:100/100 val_loss:2.0000 val_bpb:1.2000 train_time:{millis}ms\n\
             Total submission size int8+zlib: {total} bytes\n\
             final_int8_zlib_roundtrip_exact val_loss:2.00000000 val_bpb:{number}\n"
        );
        let bytes: Vec<u8> = if utf16 {
            format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
        } else {
            text.into_bytes()
        };
        let mut scanner = LogScanner::new("train.log".into());
        scanner.feed(&bytes);
        let log = scanner.finish(false);
        let last = log.last_final().unwrap();
        prop_assert_eq!(last.kind, MetricKind::Final);
        prop_assert_eq!(format!("{:.8}", last.bpb), number);
        prop_assert_eq!((last.decimals, last.line, log.seed()), (8, 4, Some(u64::from(seed))));
        prop_assert_eq!(log.sizes_of(golf_harness::submission::log::SizeKind::Total).next().unwrap().bytes, total);
    }
}
