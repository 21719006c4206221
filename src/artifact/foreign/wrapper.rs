//! Compression around a container: zstd, zlib, gzip, xz, lzma, brotli.

use std::io::{self, Read};
use std::path::Path;

use super::ForeignError;

/// Largest file looked at, and largest content after decompression: a 4-byte checkpoint of the largest artifact.
pub const MAX_CONTENT_BYTES: u64 = 1 << 30;
/// Memory an lzma stream may ask for: its largest usual dictionary (level 9) takes 65 MiB.
const LZMA_MEMORY: u64 = 256 << 20;
/// Window a zstd frame may ask for, as log2: the library's own default limit for streams.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Most layers peeled: nobody compresses three times.
const MAX_LAYERS: usize = 3;

/// A compression format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapper {
    /// zstd frames.
    Zstd,
    /// zlib, as `zlib.compress`.
    Zlib,
    /// gzip.
    Gzip,
    /// xz, as `lzma.compress`.
    Xz,
    /// The older lzma container.
    Lzma,
    /// brotli.
    Brotli,
}

impl std::fmt::Display for Wrapper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Wrapper::Zstd => "zstd",
            Wrapper::Zlib => "zlib",
            Wrapper::Gzip => "gzip",
            Wrapper::Xz => "xz",
            Wrapper::Lzma => "lzma",
            Wrapper::Brotli => "brotli",
        })
    }
}

/// A file's bytes, if there are not too many.
pub(in crate::artifact) fn read_bounded(path: &Path) -> Result<Vec<u8>, ForeignError> {
    let io = |source| ForeignError::Io { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(MAX_CONTENT_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_CONTENT_BYTES {
        return Err(ForeignError::TooLarge { path: path.to_path_buf(), within: None, max: MAX_CONTENT_BYTES });
    }
    Ok(bytes)
}

/// Takes off every layer of compression, outermost first. Bytes in no known compression come back as they are.
pub fn unwrap(bytes: &[u8], path: &Path) -> Result<(Vec<Wrapper>, Vec<u8>), ForeignError> {
    unwrap_within(bytes, path, MAX_CONTENT_BYTES)
}

/// [`unwrap`] of content of at most `max` bytes.
pub(super) fn unwrap_within(bytes: &[u8], path: &Path, max: u64) -> Result<(Vec<Wrapper>, Vec<u8>), ForeignError> {
    let (mut wrappers, mut content) = (Vec::new(), bytes.to_vec());
    while wrappers.len() < MAX_LAYERS {
        let Some(wrapper) = recognize(&content, path, &wrappers) else { break };
        content = decompress(&content, wrapper, path, max)?;
        wrappers.push(wrapper);
    }
    Ok((wrappers, content))
}

fn recognize(bytes: &[u8], path: &Path, outer: &[Wrapper]) -> Option<Wrapper> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    if starts(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Some(Wrapper::Zstd);
    }
    if starts(&[0x1f, 0x8b, 8]) {
        return Some(Wrapper::Gzip);
    }
    if starts(b"\xfd7zXZ\0") {
        return Some(Wrapper::Xz);
    }
    // lzma alone: properties byte 5d and a dictionary size with zero low bytes.
    if starts(&[0x5d, 0, 0]) {
        return Some(Wrapper::Lzma);
    }
    // zlib (RFC 1950): deflate with a window of at most 32 KiB, and a check over both header bytes.
    if let [method, flags, ..] = bytes
        && method & 0x0f == 8
        && method >> 4 <= 7
        && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31)
    {
        return Some(Wrapper::Zlib);
    }
    // brotli has no magic: believe the name, once, unless the content is already a container.
    let is_named = path.extension().is_some_and(|ending| ending == "br" || ending == "brotli");
    let guess = outer.is_empty() && super::identify(bytes).is_none() && (is_named || !bytes.is_empty());
    (guess && (is_named || decodes_as_brotli(bytes))).then_some(Wrapper::Brotli)
}

/// Whether a brotli decoder finds a known container at the start.
fn decodes_as_brotli(bytes: &[u8]) -> bool {
    let mut start = Vec::new();
    let decoder = brotli_decompressor::Decompressor::new(bytes, 4096);
    decoder.take(4096).read_to_end(&mut start).is_ok()
        && (start.starts_with(b"PK\x03\x04") || start.starts_with(b"\x89GOLF"))
}

/// At most `max` bytes are ever held: what expands further is an error.
fn decompress(bytes: &[u8], wrapper: Wrapper, path: &Path, max: u64) -> Result<Vec<u8>, ForeignError> {
    let mut content = Vec::new();
    let failed = |e: io::Error| ForeignError::Wrapper { path: path.to_path_buf(), wrapper, what: e.to_string() };
    let mut read = |reader: &mut dyn Read| reader.take(max + 1).read_to_end(&mut content);
    match wrapper {
        Wrapper::Zstd => zstd::stream::read::Decoder::with_buffer(bytes).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            read(&mut decoder)
        }),
        Wrapper::Zlib => read(&mut flate2::read::ZlibDecoder::new(bytes)),
        Wrapper::Gzip => read(&mut flate2::read::MultiGzDecoder::new(bytes)),
        Wrapper::Xz | Wrapper::Lzma => liblzma::stream::Stream::new_auto_decoder(LZMA_MEMORY, 0)
            .map_err(io::Error::from)
            .and_then(|stream| read(&mut liblzma::read::XzDecoder::new_stream(bytes, stream))),
        Wrapper::Brotli => read(&mut brotli_decompressor::Decompressor::new(bytes, 1 << 16)),
    }
    .map_err(failed)?;
    if content.len() as u64 > max {
        return Err(ForeignError::TooLarge { path: path.to_path_buf(), within: Some(wrapper), max });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million zeros in every compression there is a writer for.
    fn bombs() -> Vec<(Wrapper, Vec<u8>)> {
        use std::io::Write;
        let zeros = vec![0; 1_000_000];
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&zeros).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&zeros).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
        xz.write_all(&zeros).unwrap();
        vec![
            (Wrapper::Zstd, zstd::encode_all(&zeros[..], 3).unwrap()),
            (Wrapper::Zlib, zlib.finish().unwrap()),
            (Wrapper::Gzip, gzip.finish().unwrap()),
            (Wrapper::Xz, xz.finish().unwrap()),
        ]
    }

    #[test]
    fn expansion_stops_one_byte_past_the_limit() {
        for (wrapper, bomb) in bombs() {
            let path = Path::new("final_model.ptz");
            assert!(bomb.len() < 10_000, "{wrapper} is no bomb");
            assert_eq!(decompress(&bomb, wrapper, path, 1_000_000).unwrap().len(), 1_000_000, "{wrapper}");
            let refused = decompress(&bomb, wrapper, path, 999_999);
            assert!(matches!(refused, Err(ForeignError::TooLarge { max: 999_999, .. })), "{wrapper}: {refused:?}");
        }
    }
}
