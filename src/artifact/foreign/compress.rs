//! Compression of an export as the leaderboard's scripts write it.

use std::io::{self, Write};

use crate::quant::ExportCodec;

/// brotli's best quality.
const BROTLI_QUALITY: i32 = 11;
/// The window of Python's `brotli.compress`, as log2 of its bytes.
const BROTLI_WINDOW_LOG: i32 = 22;

/// Compresses the bytes of an export. [`unwrap`](super::unwrap) takes it off again; where neither the content nor the
/// file's name (`.br`) says so, it cannot know brotli.
pub fn compress(content: &[u8], codec: ExportCodec) -> io::Result<Vec<u8>> {
    match codec {
        ExportCodec::Plain => Ok(content.to_vec()),
        ExportCodec::Zlib { level } => {
            let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(level.min(9)));
            writer.write_all(content)?;
            writer.finish()
        }
        ExportCodec::Zstd { level } => zstd::bulk::compress(content, i32::try_from(level).unwrap_or(i32::MAX)),
        ExportCodec::Brotli => {
            let parameters = brotli::enc::BrotliEncoderParams {
                quality: BROTLI_QUALITY,
                lgwin: BROTLI_WINDOW_LOG,
                ..Default::default()
            };
            let mut compressed = Vec::new();
            brotli::BrotliCompress(&mut &*content, &mut compressed, &parameters)?;
            Ok(compressed)
        }
        ExportCodec::Xz { preset } => {
            let stream = liblzma::stream::Stream::new_easy_encoder(preset, liblzma::stream::Check::Crc64)?;
            let mut writer = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
            writer.write_all(content)?;
            writer.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Wrapper, shuffle, unwrap};
    use super::*;

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
}
