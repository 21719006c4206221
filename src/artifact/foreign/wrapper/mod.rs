//! Compression around a container, told by content: formats with a magic number first, then those without by trial.

mod expand;
mod lz4_block;
mod recognize;
mod shuffle;
#[cfg(test)]
pub(super) mod tests;

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

pub(super) use expand::{Expanded, expand};
pub(super) use recognize::{by_magic, by_trial, unread_format};
pub use shuffle::shuffle;

use super::ForeignError;
use super::allowance::Allowance;

/// Largest file looked at, and largest content after decompression: a 4-byte checkpoint of the largest artifact.
pub const MAX_CONTENT_BYTES: u64 = 1 << 30;
/// Most layers peeled: nobody compresses three times, and who does it seven times hides something.
pub(super) const MAX_LAYERS: usize = 6;

/// A compression format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// lzip, another container for lzma.
    Lzip,
    /// bzip2, as `bz2.compress`.
    Bzip2,
    /// LZ4 frames.
    Lz4,
    /// An LZ4 block without a frame, as `lz4.block.compress`, with or without its size in front.
    Lz4Block,
    /// brotli.
    Brotli,
    /// No compression, but what makes one better: bytes put apart by their place in a value (PR #1218's `BSHF`).
    ByteShuffle,
    /// LZMA2 without a container, as `lzma.compress(format=FORMAT_RAW)`.
    RawLzma2,
    /// LZMA without a container.
    RawLzma,
    /// Deflate without a container, as `zlib.compressobj(wbits=-15)`.
    Deflate,
    /// A zip file around one file.
    Zip,
    /// A tar file around one file.
    Tar,
}

impl std::fmt::Display for Wrapper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Wrapper::Zstd => "zstd",
            Wrapper::Zlib => "zlib",
            Wrapper::Gzip => "gzip",
            Wrapper::Xz => "xz",
            Wrapper::Lzma => "lzma",
            Wrapper::Lzip => "lzip",
            Wrapper::Bzip2 => "bzip2",
            Wrapper::Lz4 => "lz4",
            Wrapper::Lz4Block => "lz4 block",
            Wrapper::Brotli => "brotli",
            Wrapper::ByteShuffle => "byte shuffle",
            Wrapper::RawLzma2 => "raw lzma2",
            Wrapper::RawLzma => "raw lzma",
            Wrapper::Deflate => "raw deflate",
            Wrapper::Zip => "zip",
            Wrapper::Tar => "tar",
        })
    }
}

/// A file's bytes, if there are not too many.
pub(in crate::artifact) fn read_bounded(path: &Path) -> Result<Vec<u8>, ForeignError> {
    let io = |source| ForeignError::Io { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let file = crate::regular_file::open(path).map_err(io)?;
    file.take(MAX_CONTENT_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_CONTENT_BYTES {
        return Err(ForeignError::TooLarge { path: path.to_path_buf(), within: None, max: MAX_CONTENT_BYTES });
    }
    Ok(bytes)
}

/// Bytes that stand behind the end of a compressed stream, and belong to no tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The compression whose end they stand behind.
    pub wrapper: Wrapper,
    /// Which layer that is; 0 is the file itself.
    pub layer: usize,
    /// How many.
    pub bytes: u64,
}

/// A file without the compression around it.
pub(super) struct Peeled<'a> {
    /// Layers taken off, outermost first.
    pub wrappers: Vec<Wrapper>,
    /// What was inside.
    pub inner: Cow<'a, [u8]>,
    /// What stood behind the end of a layer.
    pub behind: Vec<(Behind, Vec<u8>)>,
}

/// Takes off every layer of compression, outermost first. Bytes in no known compression come back as they are.
pub fn unwrap(bytes: &[u8], path: &Path) -> Result<(Vec<Wrapper>, Vec<u8>), ForeignError> {
    let peeled = peel(bytes, path, &Allowance::new(MAX_CONTENT_BYTES))?;
    Ok((peeled.wrappers, peeled.inner.into_owned()))
}

/// [`unwrap`] within an allowance, with what stands behind the streams.
pub(super) fn peel<'a>(bytes: &'a [u8], path: &Path, allowance: &Allowance) -> Result<Peeled<'a>, ForeignError> {
    let mut peeled = Peeled { wrappers: Vec::new(), inner: Cow::Borrowed(bytes), behind: Vec::new() };
    while let Some(wrapper) = recognize::outermost(&peeled.inner, path, &peeled.wrappers) {
        if peeled.wrappers.len() >= MAX_LAYERS {
            return Err(ForeignError::TooDeep { path: path.to_path_buf(), max: MAX_LAYERS });
        }
        let Expanded { content, used, error, is_over, .. } = expand(&peeled.inner, wrapper, allowance.left());
        if is_over {
            let max = allowance.max();
            return Err(ForeignError::TooLarge { path: path.to_path_buf(), within: Some(wrapper), max });
        }
        if let Some(what) = error {
            return Err(ForeignError::Wrapper { path: path.to_path_buf(), wrapper, what });
        }
        // Bounded above.
        let _ = allowance.take(content.len());
        if let Some(rest) = peeled.inner.get(used..).filter(|rest| !rest.is_empty()) {
            let behind = Behind { wrapper, layer: peeled.wrappers.len(), bytes: rest.len() as u64 };
            let rest = rest.to_vec();
            peeled.behind.push((behind, rest));
        }
        peeled.inner = Cow::Owned(content);
        peeled.wrappers.push(wrapper);
    }
    Ok(peeled)
}
