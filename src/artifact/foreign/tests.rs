//! Foreign files made here, byte by byte, and damaged.

mod everywhere;
mod honest;

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

/// A zip file of stored members.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let parts: Vec<_> = members.iter().map(|(name, content)| super::zip::tests::Part::new(name, content)).collect();
    super::zip::tests::archive(&parts)
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
fn junk_is_unknown() {
    for bytes in [&b""[..], b"\0", b"hello, world", &[0xff; 64], b"PK\x03\x04", b"\x28\xb5\x2f\xfd"] {
        assert!(parse(bytes, Path::new("x")).is_err(), "{bytes:?}");
    }
}
