//! How a stream's bytes are compressed.

use std::io::Read;

use zstd::zstd_safe::{self, CParameter};

/// Compression of the streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// zstd frames: the challenge's usual format.
    #[default]
    Zstd,
}

impl Codec {
    pub(super) fn code(self) -> u8 {
        match self {
            Codec::Zstd => 1,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        (code == Codec::Zstd.code()).then_some(Codec::Zstd)
    }
}

/// Version of the zstd library linked in, such as `1.5.7`.
pub(super) fn zstd_version() -> String {
    zstd_safe::version_string().to_string()
}

/// One zstd frame, without checksum and dictionary id: the file's seal covers it.
///
/// Single-threaded, so the bytes depend on input, level and library version only.
pub(super) fn compress(bytes: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.set_parameter(CParameter::ContentSizeFlag(false))?;
    compressor.set_parameter(CParameter::ChecksumFlag(false))?;
    compressor.set_parameter(CParameter::DictIdFlag(false))?;
    compressor.compress(bytes)
}

/// Largest window accepted: nothing here needs more, and a frame must not choose how much memory is taken.
const WINDOW_LOG_MAX: u32 = 27;

/// The `raw` bytes of one zstd frame that fills `stored` exactly.
///
/// Memory grows with what is really there, never beyond `raw + 1`.
pub(super) fn decompress(stored: &[u8], raw: usize) -> Result<Vec<u8>, String> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(|e| e.to_string())?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    decoder.by_ref().take(raw as u64 + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() != raw {
        let more = if bytes.len() > raw { "more" } else { "fewer" };
        return Err(format!("the frame holds {more} than the {raw} bytes the table gives"));
    }
    let left = decoder.finish().len();
    if left > 0 {
        return Err(format!("{left} stray bytes after the frame"));
    }
    Ok(bytes)
}
