//! Foreign files made here, byte by byte, and damaged.

use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::artifact::{ClassRule, PackedValues};
use crate::quant::TensorClass;

fn tensors() -> Vec<PackedTensor> {
    let integers = |class, n: usize, rows: usize| PackedValues::Integers {
        class,
        symbols: (0..n).map(|i| (i * 5 % 29) as i8 - 14).collect(),
        scales: (0..rows).map(|row| half::f16::from_f32(0.5 + row as f32)).collect(),
    };
    [
        (
            "tok_emb.weight",
            vec![2, 3],
            PackedValues::F16((0..6).map(|i| half::f16::from_f32(i as f32 / 3.0)).collect()),
        ),
        ("bigram.scale", vec![], PackedValues::F16(vec![half::f16::from_f32(0.05)])),
        ("blocks.0.mlp.fc.weight", vec![300, 2], integers(TensorClass::Int5, 600, 300)),
        ("blocks.0.attn.proj.weight", vec![4, 5], integers(TensorClass::Int6, 20, 4)),
        ("bigram.embed.weight", vec![3, 3], integers(TensorClass::Int8, 9, 3)),
        ("resid_mix", vec![2, 2], PackedValues::F32(vec![1.0, 1.0 / 3.0, 0.0, -2.5])),
    ]
    .into_iter()
    .map(|(name, shape, values)| PackedTensor::new(name, shape, values).unwrap())
    .collect()
}

fn ptz() -> Vec<u8> {
    torch_ptz(&tensors(), &[ClassRule::Small; 6], 22).unwrap()
}

fn torch_zip() -> Vec<u8> {
    unwrap(&ptz(), Path::new("a.ptz")).unwrap().1
}

#[test]
fn what_is_written_for_torch_is_read_again() {
    let foreign = parse(&ptz(), Path::new("a.ptz")).unwrap();
    assert_eq!(foreign.packed, tensors());
    assert_eq!(foreign.description(), "zstd > torch zip > PR #286 export (w, m)");
    assert_eq!(ptz(), ptz());
}

#[test]
fn every_wrapper_is_taken_off() {
    let zip = torch_zip();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(&zip).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&zip).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
    xz.write_all(&zip).unwrap();
    let lzma =
        liblzma::stream::Stream::new_lzma_encoder(&liblzma::stream::LzmaOptions::new_preset(6).unwrap()).unwrap();
    let mut lzma = liblzma::write::XzEncoder::new_stream(Vec::new(), lzma);
    lzma.write_all(&zip).unwrap();
    // Brotli of stored meta-blocks (RFC 7932): window bits 16, one uncompressed block a piece, an empty last block.
    let brotli = stored_brotli(&zip);
    for (wrapper, bytes) in [
        (Wrapper::Zstd, ptz()),
        (Wrapper::Zlib, zlib.finish().unwrap()),
        (Wrapper::Gzip, gzip.finish().unwrap()),
        (Wrapper::Xz, xz.finish().unwrap()),
        (Wrapper::Lzma, lzma.finish().unwrap()),
        (Wrapper::Brotli, brotli),
    ] {
        let foreign = parse(&bytes, Path::new("model.bin")).unwrap();
        assert_eq!((foreign.wrappers, foreign.packed), (vec![wrapper], tensors()), "{wrapper}");
        // Cut and flipped: an error or the same tensors (zlib's flags, for one, mean nothing).
        for at in (0..bytes.len()).step_by(1 + bytes.len() / 97) {
            assert!(parse(&bytes[..at], Path::new("model.bin")).is_err(), "{wrapper} cut to {at}");
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x20;
            let _ = parse(&damaged, Path::new("model.bin"));
        }
    }
}

pub(super) fn stored_brotli(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut buffer, mut filled) = (Vec::new(), 0u64, 0u32);
    let mut put = |out: &mut Vec<u8>, value: u64, bits: u32| {
        buffer |= value << filled;
        filled += bits;
        while filled >= 8 {
            out.push(buffer as u8);
            buffer >>= 8;
            filled -= 8;
        }
        filled
    };
    put(&mut out, 0, 1); // WBITS 16
    for piece in bytes.chunks(1 << 16) {
        put(&mut out, 0, 1); // not last
        put(&mut out, 0, 2); // 4 nibbles of length
        put(&mut out, piece.len() as u64 - 1, 16);
        let filled = put(&mut out, 1, 1); // uncompressed
        put(&mut out, 0, (8 - filled) % 8); // to a byte boundary
        out.extend_from_slice(piece);
    }
    put(&mut out, 0b11, 8); // last and empty
    out
}

#[test]
fn flips_and_cuts_of_a_torch_zip_never_panic_and_members_are_checked() {
    let zip = torch_zip();
    for at in 0..zip.len() {
        let mut damaged = zip.clone();
        damaged[at] ^= 0x41;
        // Every member has a CRC; damage to padding, times and the like changes nothing that is read.
        if let Ok(foreign) = parse(&damaged, Path::new("a.pt")) {
            assert_eq!(foreign.packed, tensors(), "byte {at}");
        }
    }
    for at in (0..zip.len()).step_by(7) {
        assert!(parse(&zip[..at], Path::new("a.pt")).is_err(), "cut to {at}");
    }
}

#[test]
fn a_pickle_with_other_imports_is_refused_by_name() {
    let mut zip = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default().compression_method(::zip::CompressionMethod::Stored);
    zip.start_file("archive/data.pkl", options).unwrap();
    zip.write_all(b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.").unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    let error = parse(&bytes, Path::new("evil.pt")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "evil.pt: refused: its pickle imports posix.system at offset 2, which can run code; nothing was executed"
    );
}

#[test]
fn plain_safetensors_and_npz_are_read() {
    let mut header = br#"{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}"#.to_vec();
    while !header.len().is_multiple_of(8) {
        header.push(b' ');
    }
    let bytes = [&(header.len() as u64).to_le_bytes()[..], &header, &[0x80, 0x3f, 0x00, 0xc0]].concat();
    let foreign = parse(&bytes, Path::new("w.safetensors")).unwrap();
    assert_eq!(foreign.params().get("w").unwrap().data(), [1.0, -2.0]);

    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }\n";
    npy.extend_from_slice(&(text.len() as u16).to_le_bytes());
    npy.extend_from_slice(text.as_bytes());
    npy.extend([1.5f32, -0.25].iter().flat_map(|value| value.to_le_bytes()));
    let mut zip = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("layer.npy", ::zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(&npy).unwrap();
    let foreign = parse(&zip.finish().unwrap().into_inner(), Path::new("w.npz")).unwrap();
    assert_eq!((foreign.container, foreign.convention), (Container::Npz, Convention::Plain));
    assert_eq!(foreign.params().get("layer").unwrap().shape(), [2, 1]);
    assert_eq!(foreign.params().get("layer").unwrap().data(), [1.5, -0.25]);
}

/// `posix.system("true")` in protocol 2.
const EVIL: &[u8] = b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.";

/// The module and name that a file is refused for.
fn refused(bytes: &[u8]) -> Option<String> {
    match parse(bytes, Path::new("file")) {
        Err(ForeignError::Import { module, name, .. }) => Some(format!("{module}.{name}")),
        _ => None,
    }
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let parts: Vec<_> = members.iter().map(|(name, content)| super::zip::tests::Part::new(name, content)).collect();
    super::zip::tests::archive(&parts)
}

#[test]
fn a_pickle_is_followed_wherever_it_stands() {
    use super::wrapper::tests::{WRITTEN, compressed};
    let system = Some("posix.system".to_string());
    // Every protocol: 0 and 1 have no mark.
    let bare = [
        &b"cposix\nsystem\n(Vtrue\ntR."[..],
        b"(S'true'\niposix\nsystem\n.",
        b"(cposix\nsystem\nU\x04trueo.",
        EVIL,
        b"\x80\x04\x95\x1f\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    ];
    for program in bare {
        assert_eq!(refused(program), system, "{program:?}");
        // A program that breaks after the call has called by then.
        assert_eq!(refused(&[&program[..program.len() - 1], &[0xff]].concat()), system, "{program:?}");
    }
    for wrapper in WRITTEN {
        let mut bytes = compressed(wrapper, EVIL);
        assert_eq!(refused(&bytes), system, "{wrapper}");
        // Six layers, and behind the end of a whole stream.
        for _ in 1..6 {
            bytes = compressed(Wrapper::Zlib, &bytes);
        }
        assert_eq!(refused(&bytes), system, "{wrapper} in zlib");
        let benign = compressed(Wrapper::Zlib, &compressed(Wrapper::Zstd, &ptz()));
        assert_eq!(refused(&[benign, compressed(wrapper, EVIL)].concat()), system, "{wrapper} behind a stream");
    }
    let tar = [super::tar::tests::member("a", b"text"), super::tar::tests::member("b", EVIL)].concat();
    for bytes in [
        zip(&[("archive/data.pkl", b"}."), ("archive/config.p", EVIL)]),
        zip(&[("archive/data.pkl", b"}."), ("archive/data/0", EVIL)]),
        zip(&[("archive/data.pkl", b"}."), ("archive/constants.pkl", EVIL), ("archive/code/a.py", b"pass")]),
        zip(&[("archive/data.pkl", b"}."), ("archive/data/0", &compressed(Wrapper::Bzip2, EVIL))]),
        zip(&[("archive/data.pkl", b"}."), ("archive/x", &zip(&[("archive/data.pkl", EVIL)]))]),
        zip(&[("archive/sub/data.pkl", b"}."), ("archive/data.pkl", EVIL)]),
        zip(&[("a.npy", &super::npy::tests::file("'|O'", "False", "()", EVIL))]),
        super::npy::tests::file("'|O'", "False", "()", EVIL),
        tar,
        legacy(&[EVIL.to_vec()]),
        // The pickle that a tensor pickled by itself carries.
        [&b"\x80\x02ctorch.storage\n_load_from_bytes\nC"[..], &[EVIL.len() as u8], EVIL, b"\x85R."].concat(),
    ] {
        assert_eq!(refused(&bytes), system, "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn deeper_than_six_layers_is_not_looked_at_and_not_passed() {
    use super::wrapper::tests::compressed;
    let nested = (0..12).fold(EVIL.to_vec(), |bytes, _| compressed(Wrapper::Zlib, &bytes));
    assert!(matches!(parse(&nested, Path::new("x")), Err(ForeignError::TooDeep { .. })));
    let hidden = (0..12).fold(EVIL.to_vec(), |bytes, _| zip(&[("a/x", &bytes), ("a/y", b"text")]));
    assert!(matches!(parse(&hidden, Path::new("x")), Err(ForeignError::TooDeep { .. })));
}

#[test]
fn pytorch_s_choice_of_index_is_ours() {
    let index = |members: &[(&str, &[u8])]| {
        let bytes = zip(members);
        torch::index(&super::zip::Zip::open(&bytes).unwrap())
    };
    let found = |name: &str| Ok(Some(name.to_string()));
    assert_eq!(index(&[("a/b/data.pkl", b""), ("a/data.pkl", b"")]), found("a/data.pkl"));
    assert_eq!(index(&[("a/x", b""), ("b/data.pkl", b""), ("a/DATA.pkl", b"")]), found("a/DATA.pkl"));
    assert_eq!(index(&[("data.pkl", b"")]), found("data.pkl"));
    assert_eq!(index(&[("a/x", b"")]), Ok(None));
    assert!(index(&[("a/x", b""), ("b/data.pkl", b""), ("c/data.pkl", b"")]).is_err());
}

/// A file of PyTorch before 1.6: magic number, version, system, then these.
fn legacy(rest: &[Vec<u8>]) -> Vec<u8> {
    let start = [
        &b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..],
        b"\x80\x02M\xe9\x03.",
        b"\x80\x02}X\x0d\0\0\0little_endian\x88s.",
    ];
    [start.concat(), rest.concat()].concat()
}

/// `{name: tensor}` of two elements in storage `k`.
fn state_dict(storage: &str, rebuild: &str, tail: &str) -> Vec<u8> {
    format!(
        "}}Vw\nctorch._utils\n{rebuild}\n((Vstorage\nctorch\n{storage}\nVk\nVcpu\nI2\nNtQI0\n(I2\nt(I1\nt{tail}tRs."
    )
    .into_bytes()
}

#[test]
fn files_before_the_zip_are_read() {
    let object = state_dict("FloatStorage", "_rebuild_tensor_v2", "I00\nccollections\nOrderedDict\n)R");
    let storage = [&2u64.to_le_bytes()[..], &1.5f32.to_le_bytes(), &(-2f32).to_le_bytes()].concat();
    let file = legacy(&[object, b"](Vk\ne.".to_vec(), storage]);
    let foreign = parse(&file, Path::new("m.pt")).unwrap();
    assert_eq!((foreign.container, foreign.convention), (Container::TorchLegacy, Convention::Plain));
    assert_eq!(foreign.params().get("w").unwrap().data(), [1.5, -2.0]);
    let listing = list_within(&[&file[..], b"more"].concat(), Path::new("m.pt"), 1 << 20).unwrap();
    assert_eq!((listing.tensors, listing.values), (1, 2));
    assert_eq!(listing.unclaimed, ["4 bytes behind the end of the torch file before 1.6"]);
    for at in 0..file.len() {
        assert!(parse(&file[..at], Path::new("m.pt")).is_err(), "cut to {at}");
    }
}

/// `numpy.dtype(kind)` with a byte order.
fn dtype(kind: &str, order: &str) -> String {
    format!("cnumpy\ndtype\n(V{kind}\nI00\nI01\ntR(I3\nV{order}\nNNNI-1\nI-1\nI0\ntb")
}

#[test]
fn pickled_arrays_are_read_in_every_spelling() {
    let old = format!(
        "}}Vw\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR(I1\n(I2\nt{}I00\n\
         c_codecs\nencode\n(V\0\0\u{80}?\0\0\0@\nVlatin1\ntRtbs.",
        dtype("f4", "<")
    );
    let mut new = b"\x80\x05}Vw\ncnumpy._core.numeric\n_frombuffer\n(C\x08\0\0\x80?\0\0\0@".to_vec();
    new.extend(format!("{}(I2\ntVC\ntRs.", dtype("f4", "<")).bytes());
    for bytes in [old.into_bytes(), new] {
        let foreign = parse(&bytes, Path::new("m.pkl")).unwrap();
        assert_eq!(foreign.container, Container::Pickle);
        assert_eq!(foreign.params().get("w").unwrap().data(), [1.0, 2.0]);
    }
}

#[test]
fn honest_files_are_listed_whatever_their_types() {
    let list = |bytes: &[u8]| list_within(bytes, Path::new("m.pt"), 1 << 20).unwrap_or_else(|e| panic!("{e}"));
    let torch = |program: &[u8], storage: &[u8]| {
        zip(&[("archive/data.pkl", program), ("archive/byteorder", b"little"), ("archive/data/k", storage)])
    };
    let hooks = "I00\nccollections\nOrderedDict\n)R";
    for (storage, bytes) in [
        ("ComplexFloatStorage", 16),
        ("ComplexDoubleStorage", 32),
        ("LongStorage", 16),
        ("BoolStorage", 2),
        ("ShortStorage", 4),
    ] {
        let program = state_dict(storage, "_rebuild_tensor_v2", hooks);
        let listing = list(&torch(&program, &vec![1; bytes]));
        assert_eq!((listing.tensors, listing.values), (1, 2), "{storage}");
    }
    // Types that have no storage class, and quantized ones.
    for name in ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "complex32"] {
        let tail = format!("{hooks}ctorch\n{name}\n");
        let program = state_dict("UntypedStorage", "_rebuild_tensor_v3", &tail);
        assert_eq!(list(&torch(&program, &[0; 16])).values, 2, "{name}");
    }
    let affine = "(ctorch\nper_tensor_affine\nF0.5\nI0\ntI00\nccollections\nOrderedDict\n)R";
    let program = state_dict("QInt8Storage", "_rebuild_qtensor", affine);
    assert_eq!(list(&torch(&program, &[1, 2])).tensors, 1);
    // Its integers are not its values: it is listed, and not decoded.
    assert!(parse(&torch(&program, &[1, 2]), Path::new("m.pt")).is_err());
    // Beside the tensor: nothing, numbers, NumPy's numbers, a module's own facts.
    let mut mixed = state_dict("FloatStorage", "_rebuild_tensor_v2", hooks);
    mixed.pop();
    mixed.extend(b"Vbias\nNsVstep\nI7\nsVbpb\ncnumpy.core.multiarray\nscalar\n(".iter());
    mixed.extend(dtype("f8", "<").bytes());
    mixed.extend(b"c_codecs\nencode\n(V\0\0\0\0\0\0\0\0\nVlatin1\ntRtRsVdevice\nctorch\ndevice\n(Vcpu\ntRs");
    mixed.extend(b"Vextra\nccollections\nOrderedDict\n)R}V_metadata\nccollections\nOrderedDict\n)Rsbs.");
    let listing = list(&torch(&mixed, &[0; 8]));
    assert_eq!((listing.tensors, listing.values, listing.pickles), (1, 2, 0));
    // One array of text or objects among arrays of numbers.
    let array = super::npy::tests::file;
    let npz = zip(&[
        ("a.npy", &array("'>f4'", "True", "(2, 1)", &[0; 8])),
        ("b.npy", &array("'<U3'", "False", "(2,)", &[0; 24])),
        ("c.npy", &array("'|O'", "False", "()", b"\x80\x02N.")),
    ]);
    assert_eq!(list(&npz).tensors, 2);
}

#[test]
fn every_safetensors_type_is_listed() {
    for (name, bits) in [
        ("BOOL", 8),
        ("F4", 4),
        ("F6_E2M3", 6),
        ("F6_E3M2", 6),
        ("U8", 8),
        ("I8", 8),
        ("F8_E5M2", 8),
        ("F8_E4M3", 8),
        ("F8_E8M0", 8),
        ("I16", 16),
        ("U16", 16),
        ("F16", 16),
        ("BF16", 16),
        ("I32", 32),
        ("U32", 32),
        ("F32", 32),
        ("C64", 64),
        ("F64", 64),
        ("I64", 64),
        ("U64", 64),
    ] {
        let end = 8 * bits / 8;
        let header = format!("{{\"w\":{{\"dtype\":\"{name}\",\"shape\":[8],\"data_offsets\":[0,{end}]}}}}");
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; end]].concat();
        let listing = list_within(&bytes, Path::new("m"), 1 << 20).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((listing.tensors, listing.values), (1, 8), "{name}");
    }
}

#[test]
fn known_formats_that_are_not_read_are_named() {
    let error = parse(b"LRZI\0\x06junkjunk", Path::new("m.lrz")).unwrap_err();
    assert_eq!(error.to_string(), "m.lrz: lrzip (lrz), which is not read here");
}

#[test]
fn small_hostile_files_stay_small() {
    use super::wrapper::tests::compressed;
    // A thousand members that share nothing and expand to a megabyte each.
    let bomb = compressed(Wrapper::Deflate, &vec![0; 1 << 20]);
    let names: Vec<String> = (0..1000).map(|i| format!("a/{i}")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &bomb[..])).collect();
    let listed = list_within(&zip(&members), Path::new("x"), 1 << 22);
    assert!(matches!(listed, Err(ForeignError::TooLarge { .. } | ForeignError::Damaged { .. })), "{listed:?}");
    // A file of one tensor under a million names.
    let mut program = state_dict("FloatStorage", "_rebuild_tensor_v2", "I00\nccollections\nOrderedDict\n)R");
    program.pop();
    program.splice(0..0, b"](".iter().copied());
    program.extend(b"2".repeat(1 << 19));
    program.extend(b"e.");
    let bytes = zip(&[("archive/data.pkl", &program), ("archive/data/k", &[0; 8])]);
    let listing = list_within(&bytes, Path::new("x"), 1 << 22).unwrap();
    assert!(listing.tensors <= super::rebuild::MAX_TENSORS);
}

#[test]
fn junk_is_unknown() {
    for bytes in [&b""[..], b"\0", b"hello, world", &[0xff; 64], b"PK\x03\x04", b"\x28\xb5\x2f\xfd"] {
        assert!(parse(bytes, Path::new("x")).is_err(), "{bytes:?}");
    }
}
