//! Compression of an export as the leaderboard's scripts write it.

use std::io::{self, Read};

use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::quant::ExportCodec;

/// brotli's best quality.
const BROTLI_QUALITY: i32 = 11;
/// The window of Python's `brotli.compress`, as log2 of its bytes.
const BROTLI_WINDOW_LOG: i32 = 22;

/// Compresses the bytes of an export. [`unwrap`](super::unwrap) takes it off again; where neither the content nor the
/// file's name (`.br`) says so, it cannot know brotli.
pub fn compress(content: &[u8], codec: ExportCodec) -> io::Result<Vec<u8>> {
    compress_watched(content, codec, &Progress::hidden(), &Interrupt::none())
}

/// [`compress`], which reports the bytes that were read and ends with an error, of any kind, once it is interrupted.
pub(in crate::artifact) fn compress_watched(
    content: &[u8],
    codec: ExportCodec,
    progress: &Progress,
    interrupt: &Interrupt,
) -> io::Result<Vec<u8>> {
    let from = &mut Watched { left: content, progress, interrupt };
    match codec {
        ExportCodec::Plain => Ok(content.to_vec()),
        ExportCodec::Zlib { level } => {
            let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(level.min(9)));
            io::copy(from, &mut writer)?;
            writer.finish()
        }
        ExportCodec::Zstd { level } => {
            let mut writer = zstd::Encoder::new(Vec::new(), i32::try_from(level).unwrap_or(i32::MAX))?;
            // As if it were compressed at once: the window fits the content, and the frame says its size.
            writer.set_pledged_src_size(Some(content.len() as u64))?;
            io::copy(from, &mut writer)?;
            writer.finish()
        }
        ExportCodec::Brotli => {
            let parameters = brotli::enc::BrotliEncoderParams {
                quality: BROTLI_QUALITY,
                lgwin: BROTLI_WINDOW_LOG,
                ..Default::default()
            };
            let mut compressed = Vec::new();
            brotli::BrotliCompress(from, &mut compressed, &parameters)?;
            Ok(compressed)
        }
        ExportCodec::Xz { preset } => {
            let stream = liblzma::stream::Stream::new_easy_encoder(preset, liblzma::stream::Check::Crc64)?;
            let mut writer = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
            io::copy(from, &mut writer)?;
            writer.finish()
        }
    }
}

/// Bytes that are read until the user stops it.
struct Watched<'a> {
    left: &'a [u8],
    progress: &'a Progress,
    interrupt: &'a Interrupt,
}

impl Read for Watched<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.interrupt.check().map_err(io::Error::other)?;
        let read = self.left.read(to)?;
        self.progress.advance(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Wrapper, shuffle, unwrap};
    use super::*;
    use crate::quant::ArtifactContainer;

    #[test]
    fn what_is_compressed_reads_back() {
        // Halves of a slow ramp: their upper bytes repeat.
        let content: Vec<u8> = (0..5000u16).flat_map(|i| half::f16::from_f32(f32::from(i)).to_le_bytes()).collect();
        for (codec, wrapper) in [
            (ExportCodec::Brotli, Wrapper::Brotli),
            (ExportCodec::Xz { preset: 6 }, Wrapper::Xz),
            (ExportCodec::Zlib { level: 9 }, Wrapper::Zlib),
            (ExportCodec::Zstd { level: 22 }, Wrapper::Zstd),
        ] {
            let plain = compress(&content, codec).unwrap();
            assert_eq!(unwrap(&plain, Path::new("m.br")).unwrap(), (vec![wrapper], content.clone()));
            let shuffled = compress(&shuffle(&content), codec).unwrap();
            let wrappers = vec![wrapper, Wrapper::ByteShuffle];
            assert_eq!(unwrap(&shuffled, Path::new("m")).unwrap(), (wrappers, content.clone()));
            assert!(shuffled.len() < content.len() / 2, "{codec:?}: {}", shuffled.len());
        }
        assert!(compress(&content, ExportCodec::Xz { preset: 10 }).is_err());
    }

    #[test]
    fn zstd_frames_are_those_of_content_that_is_compressed_at_once() {
        let mut stream = crate::random::RandomStream::new(1, "content");
        let content: Vec<u8> = (0..600_000).map(|_| stream.below(9) as u8 * stream.below(3) as u8).collect();
        for level in [1, 9, 22] {
            let at_once = zstd::bulk::compress(&content, level).unwrap();
            assert!(compress(&content, ExportCodec::Zstd { level: level as u32 }).unwrap() == at_once, "{level}");
        }
    }

    #[test]
    fn it_ends_when_it_is_interrupted() {
        let (content, interrupt) = (vec![7; 1 << 20], Interrupt::none());
        interrupt.raise();
        let codecs = ["torch:zlib", "torch:zstd", "torch:xz", "torch:brotli"];
        for codec in codecs.map(|text| text.parse().unwrap()) {
            let ArtifactContainer::Torch(export) = codec else { panic!("{codec}") };
            assert!(compress_watched(&content, export.codec, &Progress::hidden(), &interrupt).is_err(), "{codec}");
        }
    }
}
