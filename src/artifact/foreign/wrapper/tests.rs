//! Streams of every format, made here: whole, damaged, far too large, and with bytes behind their end.

use std::io::Write;

use super::*;

/// A pickle, which every trial takes for something.
pub const CONTENT: &[u8] = b"\x80\x02}X\x01\0\0\0aK\x01s.";

fn lzma(stream: liblzma::stream::Stream, content: &[u8]) -> Vec<u8> {
    let mut writer = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn filters(is_second: bool) -> liblzma::stream::Filters {
    let options = liblzma::stream::LzmaOptions::new_preset(6).unwrap();
    let mut filters = liblzma::stream::Filters::new();
    if is_second {
        filters.lzma2(&options)
    } else {
        filters.lzma1(&options)
    };
    filters
}

/// Content in one format.
pub fn compressed(wrapper: Wrapper, content: &[u8]) -> Vec<u8> {
    use flate2::Compression;
    use liblzma::stream::{LzmaOptions, Stream};
    match wrapper {
        Wrapper::Zstd => zstd::encode_all(content, 3).unwrap(),
        Wrapper::Zlib => {
            let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
            writer.write_all(content).unwrap();
            writer.finish().unwrap()
        }
        Wrapper::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
            writer.write_all(content).unwrap();
            writer.finish().unwrap()
        }
        Wrapper::Deflate => {
            let mut writer = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
            writer.write_all(content).unwrap();
            writer.finish().unwrap()
        }
        Wrapper::Bzip2 => {
            let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
            writer.write_all(content).unwrap();
            writer.finish().unwrap()
        }
        Wrapper::Lz4 => {
            let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
            writer.write_all(content).unwrap();
            writer.finish().unwrap()
        }
        Wrapper::Xz => lzma(Stream::new_easy_encoder(0, liblzma::stream::Check::Crc64).unwrap(), content),
        Wrapper::Lzma => lzma(Stream::new_lzma_encoder(&LzmaOptions::new_preset(6).unwrap()).unwrap(), content),
        Wrapper::RawLzma2 => lzma(Stream::new_raw_encoder(&filters(true)).unwrap(), content),
        Wrapper::RawLzma => lzma(Stream::new_raw_encoder(&filters(false)).unwrap(), content),
        Wrapper::Lz4Block => lz4_flex::block::compress_prepend_size(content),
        Wrapper::Brotli => crate::artifact::foreign::tests::stored_brotli(content),
        Wrapper::ByteShuffle => shuffle(content),
        Wrapper::Zip => {
            crate::artifact::foreign::zip::tests::archive(&[crate::artifact::foreign::zip::tests::Part::new(
                "m.pkl", content,
            )])
        }
        Wrapper::Tar => crate::artifact::foreign::tar::tests::member("m.pkl", content),
        Wrapper::Lzip => Vec::new(),
    }
}

/// Every format there is a writer for.
pub const WRITTEN: [Wrapper; 15] = [
    Wrapper::Zstd,
    Wrapper::Zlib,
    Wrapper::Gzip,
    Wrapper::Xz,
    Wrapper::Lzma,
    Wrapper::Bzip2,
    Wrapper::Lz4,
    Wrapper::Lz4Block,
    Wrapper::Brotli,
    Wrapper::ByteShuffle,
    Wrapper::RawLzma2,
    Wrapper::RawLzma,
    Wrapper::Deflate,
    Wrapper::Zip,
    Wrapper::Tar,
];

#[test]
fn every_format_is_told_by_its_content() {
    for wrapper in WRITTEN {
        let bytes = compressed(wrapper, CONTENT);
        let peeled = peel(&bytes, Path::new("no_ending"), &Allowance::new(1 << 20)).unwrap();
        assert_eq!((&*peeled.wrappers, &*peeled.inner), (&[wrapper][..], CONTENT), "{wrapper}");
        assert!(peeled.behind.is_empty(), "{wrapper}");
        assert!(by_magic(&bytes).or(by_trial(&bytes).0).is_some() || matches!(wrapper, Wrapper::Zip | Wrapper::Tar));
    }
}

#[test]
fn expansion_stops_at_the_limit() {
    let zeros = vec![0; 1_000_000];
    for wrapper in WRITTEN
        .into_iter()
        .filter(|w| !matches!(w, Wrapper::Brotli | Wrapper::ByteShuffle | Wrapper::Zip | Wrapper::Tar))
    {
        let bomb = compressed(wrapper, &zeros);
        assert!(bomb.len() < 10_000, "{wrapper} is no bomb");
        let whole = expand(&bomb, wrapper, 1_000_000);
        assert_eq!((whole.content.len(), whole.is_over, whole.error), (1_000_000, false, None), "{wrapper}");
        let stopped = expand(&bomb, wrapper, 999_999);
        assert!(stopped.is_over && stopped.content.len() <= 999_999, "{wrapper}");
    }
}

#[test]
fn layers_share_one_allowance_and_there_are_six_at_most() {
    let mut bytes = vec![0; 100_000];
    bytes[..CONTENT.len()].copy_from_slice(CONTENT);
    for _ in 0..MAX_LAYERS {
        bytes = compressed(Wrapper::Zlib, &bytes);
    }
    let path = Path::new("m");
    assert_eq!(peel(&bytes, path, &Allowance::new(200_000)).unwrap().wrappers.len(), MAX_LAYERS);
    // What the layers inside take is gone for the next.
    let refused = peel(&bytes, path, &Allowance::new(100_500)).map(|peeled| peeled.wrappers);
    assert!(matches!(refused, Err(ForeignError::TooLarge { max: 100_500, .. })), "{refused:?}");
    let seventh = peel(&compressed(Wrapper::Zlib, &bytes), path, &Allowance::new(1 << 20)).map(|p| p.wrappers);
    assert!(matches!(seventh, Err(ForeignError::TooDeep { max: MAX_LAYERS, .. })), "{seventh:?}");
}

#[test]
fn bytes_behind_a_stream_are_no_part_of_it() {
    // A block has no end of its own, and shuffled bytes have none.
    let ends = |w: &Wrapper| !matches!(w, Wrapper::Zip | Wrapper::Tar | Wrapper::Lz4Block | Wrapper::ByteShuffle);
    for wrapper in WRITTEN.into_iter().filter(ends) {
        let bytes = [compressed(wrapper, CONTENT), vec![7; 300]].concat();
        let expanded = expand(&bytes, wrapper, 1 << 20);
        assert_eq!((&*expanded.content, expanded.error), (CONTENT, None), "{wrapper}");
        assert_eq!(bytes.len() - expanded.used, 300, "{wrapper}");
    }
}

#[test]
fn streams_behind_one_another_are_one_where_python_reads_them_so() {
    for wrapper in [Wrapper::Gzip, Wrapper::Bzip2, Wrapper::Xz, Wrapper::Zstd, Wrapper::Lz4] {
        let bytes = [compressed(wrapper, b"first, "), compressed(wrapper, b"second")].concat();
        let expanded = expand(&bytes, wrapper, 100);
        assert_eq!((&*expanded.content, expanded.used), (&b"first, second"[..], bytes.len()), "{wrapper}");
        assert!(expand(&bytes, wrapper, 12).is_over, "{wrapper}");
    }
}

#[test]
fn skippable_frames_are_skipped_wherever_they_stand() {
    let skippable = b"\x5a\x2a\x4d\x18\x03\0\0\0abc";
    for wrapper in [Wrapper::Zstd, Wrapper::Lz4] {
        let frame = compressed(wrapper, CONTENT);
        for bytes in [
            [&skippable[..], &frame].concat(),
            [&skippable[..], skippable, &frame, skippable].concat(),
            [&frame[..], skippable, &compressed(wrapper, b"")].concat(),
        ] {
            assert_eq!(by_magic(&bytes), Some(wrapper));
            assert_eq!(expand(&bytes, wrapper, 100).content, CONTENT, "{wrapper}");
        }
    }
}

#[test]
fn zstd_windows_of_any_size_take_no_more_than_the_content() {
    // A frame header that asks for a window of 2^31 bytes and names no size, then one raw block.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3];
    let block = (CONTENT.len() as u32) << 3 | 1;
    frame.extend(&block.to_le_bytes()[..3]);
    frame.extend(CONTENT);
    let expanded = expand(&frame, Wrapper::Zstd, 1 << 20);
    assert_eq!((&*expanded.content, expanded.error), (CONTENT, None));
    // One that claims 2^62 bytes takes none.
    let mut liar = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
    liar.extend((1u64 << 62).to_le_bytes());
    liar.extend([1, 0, 0]);
    assert!(expand(&liar, Wrapper::Zstd, 1 << 20).is_over);
}

#[test]
fn damage_is_an_error_or_leaves_a_prefix() {
    // Shuffled bytes that are cut short are others, shuffled.
    let streams = |w: &Wrapper| !matches!(w, Wrapper::Zip | Wrapper::Tar | Wrapper::Lz4Block | Wrapper::ByteShuffle);
    for wrapper in WRITTEN.into_iter().filter(streams) {
        let content: Vec<u8> = (0..3000u32).flat_map(|i| (i * i).to_le_bytes()).collect();
        let bytes = compressed(wrapper, &content);
        for at in (0..bytes.len()).step_by(1 + bytes.len() / 61) {
            let cut = expand(&bytes[..at], wrapper, 1 << 20);
            assert!(content.starts_with(&cut.content), "{wrapper} cut to {at}");
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x20;
            assert!(expand(&damaged, wrapper, 20_000).content.len() <= 20_000);
        }
    }
}

#[test]
fn text_and_noise_are_in_no_compression() {
    let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for bytes in
        [&b"step:1 val_bpb:1.2\n"[..], b"", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", &noise, &[0; 4096], &[0xff; 99]]
    {
        assert!(peel(bytes, Path::new("x"), &Allowance::new(1 << 20)).is_ok_and(|peeled| peeled.wrappers.is_empty()));
    }
}
