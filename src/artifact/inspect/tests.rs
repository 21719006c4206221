//! Files made here, taken apart: nothing lost, nothing counted twice, no name that breaks out of its place.

use std::io::Write as _;

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::artifact::foreign::{torch_ptz, unwrap};
use crate::artifact::{ClassRule, PackedTensor, PackedValues, Part, encode};
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// A tensor of every class; 0 is zero and 255 values per row give every class something to count.
fn tensors(seed: u64, rows: usize, columns: usize, name: &str) -> Vec<PackedTensor> {
    let mut random = crate::random::RandomStream::new(seed, "inspect");
    let mut integers = |class: TensorClass| {
        let range = class.symbols().unwrap();
        let span = (i16::from(*range.end()) - i16::from(*range.start()) + 1) as u64;
        let symbol = |random: &mut crate::random::RandomStream| {
            (i16::from(*range.start()) + random.below(span).min(random.below(span)) as i16) as i8
        };
        let symbols = (0..rows * columns).map(|_| symbol(&mut random)).collect();
        let scales = (0..rows).map(|_| f16::from_f32(random.uniform() as f32)).collect();
        PackedValues::Integers { class, symbols, scales }
    };
    let matrices = [TensorClass::Int5, TensorClass::Int6, TensorClass::Int5, TensorClass::Int8].map(&mut integers);
    let mut tensors: Vec<PackedTensor> = Vec::new();
    for (i, values) in matrices.into_iter().enumerate() {
        tensors.push(PackedTensor::new(format!("{name}{i}"), vec![rows, columns], values).unwrap());
    }
    let floats = |n: usize| (0..n).map(|i| (i as f32 - 2.0) / 3.0);
    let halves = PackedValues::F16(floats(rows).map(f16::from_f32).collect());
    tensors.push(PackedTensor::new(format!("{name}h"), vec![rows], halves).unwrap());
    tensors.push(
        PackedTensor::new(format!("{name}s"), vec![columns], PackedValues::F32(floats(columns).collect())).unwrap(),
    );
    tensors
}

fn golf(tensors: &[PackedTensor], codec: Codec) -> crate::artifact::Encoded {
    encode(tensors, codec, 3, &Progress::hidden(), &Interrupt::none()).unwrap()
}

fn ptz(tensors: &[PackedTensor]) -> Vec<u8> {
    torch_ptz(tensors, &vec![ClassRule::Small; tensors.len()], 3).unwrap()
}

/// Both sums of the module's documentation.
fn check_sums(found: &Inspection, bytes: usize) {
    let of = |tensor: fn(&TensorLine) -> Bytes, rest: fn(&RestLine) -> Bytes| {
        found.tensors.iter().map(|line| tensor(line).0).sum::<u64>()
            + found.rest.iter().map(|line| rest(line).0).sum::<u64>()
    };
    assert_eq!(of(|line| line.in_file, |line| line.in_file), bytes as u64);
    assert_eq!(of(|line| line.held, |line| line.held), found.unpacked.0);
    assert_eq!(found.file.bytes.0, bytes as u64);
}

fn rest(found: &Inspection, what: Rest) -> Option<u64> {
    found.rest.iter().find(|line| line.what == what).map(|line| line.in_file.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn parts_add_up_to_the_file(seed in 0u64..1000, rows in 0usize..40, columns in 0usize..40) {
        let tensors = tensors(seed, rows, columns, "t");
        for codec in [Codec::Zstd, Codec::Ans] {
            let encoded = golf(&tensors, codec);
            let found = examine(&encoded.bytes, Path::new("m.golf")).unwrap();
            check_sums(&found, encoded.bytes.len());
            // Class by class what the writer says it wrote.
            for (part, size) in encoded.parts {
                let found = match part {
                    Part::Class(class) => found.totals().iter().find(|t| t.kind == Kind::Class(class)).map(|t| t.in_file.0),
                    Part::Scales => Some(rest(&found, Rest::Scales).unwrap_or(0) + rest(&found, Rest::MagnitudeBuckets).unwrap_or(0)),
                    Part::Table => Some(rest(&found, Rest::Table).unwrap() + rest(&found, Rest::Header).unwrap()),
                };
                prop_assert_eq!(found, Some(size.0), "{}", part);
            }
            // In one more layer of compression.
            let wrapped = zstd::bulk::compress(&encoded.bytes, 3).unwrap();
            let found = examine(&wrapped, Path::new("m.golf.zst")).unwrap();
            check_sums(&found, wrapped.len());
            prop_assert_eq!(found.shares, Shares::FileByPartsAlone);
        }
        let file = ptz(&tensors);
        let found = examine(&file, Path::new("m.ptz")).unwrap();
        check_sums(&found, file.len());
        let zip = unwrap(&file, Path::new("m.ptz")).unwrap().1;
        prop_assert_eq!(found.unpacked.0, zip.len() as u64);
        let plain = examine(&zip, Path::new("m.pt")).unwrap();
        check_sums(&plain, zip.len());
        prop_assert_eq!(plain.shares, Shares::Exact);
    }
}

#[test]
fn the_same_tensors_tell_the_same_in_every_container() {
    let tensors = tensors(7, 20, 30, "blocks.0.w");
    let own = examine(&golf(&tensors, Codec::Ans).bytes, Path::new("m.golf")).unwrap();
    let foreign = examine(&ptz(&tensors), Path::new("m.ptz")).unwrap();
    assert_eq!(own.floors, foreign.floors);
    assert_eq!((own.tensors.len(), foreign.tensors.len()), (tensors.len(), tensors.len()));
    for (a, b) in own.tensors.iter().zip(&foreign.tensors) {
        assert_eq!((&a.name, &a.shape, a.kind, a.values), (&b.name, &b.shape, b.kind, b.values));
        assert_eq!((a.held, a.statistics), (b.held, b.statistics));
    }
    // A byte a symbol, and the statistics are those of the symbols.
    assert_eq!((own.tensors[0].held, own.tensors[0].values), (Bytes(600), 600));
    let PackedValues::Integers { symbols, .. } = tensors[0].values() else { panic!() };
    assert_eq!(own.tensors[0].statistics.zeros, symbols.iter().filter(|&&symbol| symbol == 0).count() as u64);
}

#[test]
fn a_class_is_divided_by_what_its_tensors_cost() {
    // Equally long: one tensor of a single symbol, one of 32 equally likely ones.
    let integers = |f: fn(usize) -> i8| PackedValues::Integers {
        class: TensorClass::Int5,
        symbols: (0..64 * 512).map(f).collect(),
        scales: vec![f16::ONE; 64],
    };
    // A permutation of 15 bits, of which five are kept: no sequence comes twice by design, every symbol equally often.
    let mixed = |i: usize| {
        let once = i * 0x5a35 % (1 << 15);
        let twice = (once ^ (once >> 7)) * 0x2c1b % (1 << 15);
        ((twice ^ (twice >> 6)) >> 10) as i8 - 16
    };
    let tensors = [("dull", integers(|_| 0)), ("rich", integers(mixed))];
    let tensors = tensors.map(|(name, values)| PackedTensor::new(name, vec![64, 512], values).unwrap());
    let found = examine(&golf(&tensors, Codec::Ans).bytes, Path::new("m.golf")).unwrap();
    let [dull, rich] = &found.tensors[..] else { panic!() };
    assert_eq!((dull.statistics.bits_per_value, rich.statistics.bits_per_value), (0.0, 5.0));
    assert_eq!((dull.in_file.0, dull.statistics.zeros), (0, 64 * 512));
    assert!(rich.in_file.0 as f64 > 64.0 * 512.0 * 5.0 / 8.0);
    // The magnitudes of the rows of `rich` differ by chance only: clusters gain next to nothing, and never lose.
    let (clusters, tensors) = (found.floors.row_clusters.unwrap(), found.floors.tensors);
    assert!(clusters <= tensors && clusters > 0.999 * tensors, "{clusters} for {tensors}");
}

#[test]
fn arrays_of_npz_count_with_their_headers_aside() {
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (25, 2), }\n";
    npy.extend_from_slice(&(text.len() as u16).to_le_bytes());
    npy.extend_from_slice(text.as_bytes());
    npy.extend([0.5f32; 50].iter().flat_map(|value| value.to_le_bytes()));
    for (method, header) in
        [(::zip::CompressionMethod::Stored, Some(10 + text.len() as u64)), (::zip::CompressionMethod::Deflated, None)]
    {
        let mut zip = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = ::zip::write::SimpleFileOptions::default().compression_method(method);
        zip.start_file("layer.npy", options).unwrap();
        zip.write_all(&npy).unwrap();
        let file = zip.finish().unwrap().into_inner();
        let found = examine(&file, Path::new("w.npz")).unwrap();
        check_sums(&found, file.len());
        assert_eq!(rest(&found, Rest::ArrayHeaders), header);
        if header.is_some() {
            assert_eq!(found.tensors[0].in_file, Bytes(200));
        } else {
            // Compressed within the zip: what lies there, header included.
            assert!(found.tensors[0].in_file < Bytes(150));
        }
    }
}

#[test]
fn element_types_have_names_of_their_own() {
    let mut header = br#"{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"I8","shape":[3],"data_offsets":[4,7]}}"#.to_vec();
    header.resize(header.len().next_multiple_of(8), b' ');
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &[0x80, 0x3f, 0x00, 0x80, 1, 1, 0]].concat();
    let found = examine(&file, Path::new("w.safetensors")).unwrap();
    check_sums(&found, file.len());
    let kinds: Vec<String> = found.totals().iter().map(|total| format!("{} {}", total.kind, total.zeros)).collect();
    assert_eq!(kinds, ["bf16 1", "i8 1"]);
    assert_eq!(rest(&found, Rest::Header), Some(8 + header.len() as u64));
    assert_eq!(found.floors.row_clusters, None);
}

/// A torch zip with a state dict of two views of one storage, and an optimizer's tensor beside the model.
fn checkpoint() -> Vec<u8> {
    let text = |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let tensor = |storage: &str, offset: u8, length: u8| {
        let parts: [&[u8]; 9] = [
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            &text("storage"),
            b"ctorch\nFloatStorage\n",
            &text(storage),
            &text("cpu"),
            &[b'K', 8, b't', b'Q', b'K', offset],
            &[b'K', length, 0x85],
            &[b'K', 1, 0x85, 0x89],
            b"ccollections\nOrderedDict\n)RtR",
        ];
        parts.concat()
    };
    let program = [
        &b"\x80\x02}("[..],
        &text("model"),
        b"}(",
        &text("tok_emb.weight"),
        &tensor("0", 0, 6),
        &text("lm_head.weight"),
        &tensor("0", 2, 6),
        b"u",
        &text("optimizer"),
        &tensor("1", 0, 8),
        b"u.",
    ]
    .concat();
    let mut zip = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default().compression_method(::zip::CompressionMethod::Stored);
    let storage: Vec<u8> = (0..32).collect();
    for (name, content) in [("data.pkl", &program), ("data/0", &storage), ("data/1", &storage)] {
        zip.start_file(format!("checkpoint/{name}"), options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn shared_storages_are_divided_and_other_tensors_set_apart() {
    let file = checkpoint();
    let found = examine(&file, Path::new("last.pt")).unwrap();
    check_sums(&found, file.len());
    let lines: Vec<_> =
        found.tensors.iter().map(|line| (line.name.as_str(), line.in_file.0, line.shares_storage)).collect();
    assert_eq!(lines, [("tok_emb.weight", 16, true), ("lm_head.weight", 16, true)]);
    assert_eq!(rest(&found, Rest::Unused), Some(32));
    assert!(text(&found).contains("2 tensors lie in storages of others"), "{}", text(&found));
}

#[test]
fn members_that_overlap_are_refused() {
    // Both directory entries lead to the first member.
    let mut file = checkpoint();
    let entries: Vec<usize> =
        file.windows(4).enumerate().filter(|(_, w)| *w == b"PK\x01\x02").map(|(at, _)| at).collect();
    let (from, to) = (entries[1] + 42, entries[2] + 42);
    let offset: [u8; 4] = file[from..from + 4].try_into().unwrap();
    file[to..to + 4].copy_from_slice(&offset);
    let error = examine(&file, Path::new("last.pt")).unwrap_err().to_string();
    assert!(error.starts_with("last.pt: refused: the header of member `checkpoint/data/1` contradicts"), "{error}");
}

#[test]
fn damage_is_an_error_or_adds_up() {
    for (path, file) in [("m.golf", golf(&tensors(1, 4, 5, "t"), Codec::Ans).bytes), ("last.pt", checkpoint())] {
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x21;
            if let Ok(found) = examine(&damaged, Path::new(path)) {
                assert_eq!(path, "last.pt", "byte {at}");
                check_sums(&found, damaged.len());
            }
            assert!(examine(&file[..at], Path::new(path)).is_err() || path == "last.pt");
        }
    }
}

/// Rectangles of the map with their bytes; legend entries left out.
fn areas(svg: &str) -> Vec<(f64, u64, String)> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let rects =
        document.descendants().filter(|node| node.has_tag_name("rect") && node.attribute("data-bytes").is_some());
    let areas = rects.map(|rect| {
        let number = |name: &str| rect.attribute(name).unwrap().parse::<f64>().unwrap();
        let title = rect.children().find(|child| child.has_tag_name("title")).unwrap().text().unwrap().to_string();
        (number("width") * number("height"), number("data-bytes") as u64, title)
    });
    areas.collect()
}

#[test]
fn areas_of_the_picture_are_in_proportion_to_bytes() {
    let file = golf(&tensors(3, 60, 90, "blocks.0.w"), Codec::Zstd).bytes;
    let found = examine(&file, Path::new("m.golf")).unwrap();
    let picture = svg(&found);
    assert_eq!(picture, svg(&found));
    let areas = areas(&picture);
    assert_eq!(areas.iter().map(|(_, bytes, _)| bytes).sum::<u64>(), file.len() as u64);
    // Coordinates have four decimals: an area is off by at most half of the last one along each side.
    let whole = 1200.0 * 720.0;
    for (area, bytes, title) in &areas {
        let wanted = whole * *bytes as f64 / file.len() as f64;
        assert!((area - wanted).abs() < 0.5e-4 * 2.0 * 1200.0, "{title}: {area} for {wanted}");
    }
    assert!((areas.iter().map(|(area, ..)| area).sum::<f64>() - whole).abs() < 1.0);
    assert!(
        areas
            .iter()
            .any(|(.., title)| title.starts_with("blocks.0.w0: ") && title.contains("int5 60x90, 5,400 values"))
    );
}

#[test]
fn hostile_names_stay_text() {
    let name = "</title><script>alert(1)</script>&\"'\u{1b}[31m\u{0}\u{202e}\u{fffe}\n]]>\u{1f3cc}";
    let tensors = tensors(2, 50, 200, name);
    let file = golf(&tensors, Codec::Zstd).bytes;
    let found = examine(&file, Path::new("<&'>.golf")).unwrap();
    assert_eq!(found.tensors[0].name, format!("{name}0"));
    let picture = svg(&found);
    let document = roxmltree::Document::parse(&picture).unwrap();
    let allowed = ["svg", "g", "rect", "text", "title"];
    assert!(
        document.descendants().filter(|node| node.is_element()).all(|node| allowed.contains(&node.tag_name().name()))
    );
    let shown = r"</title><script>alert(1)</script>&#";
    assert!(areas(&picture).iter().any(|(.., title)| title.starts_with(&shown[..33])), "{picture}");
    assert!(picture.contains(r"\u{1b}"));
    for report in [text(&found), picture] {
        assert!(!report.contains(['\u{1b}', '\u{0}', '\u{202e}']), "{report:?}");
    }
    let document = serde_json::to_value(InspectionDocument::of(&found)).unwrap();
    assert_eq!(document["tensors"][0]["name"], format!("{name}0"));
}
