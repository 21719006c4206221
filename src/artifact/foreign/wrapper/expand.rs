//! Decompression, bounded before memory is taken.

use std::io::{self, Read};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use zstd::zstd_safe;

use super::recognize::{behind_skippable, only_member, only_tarred};
use super::{Wrapper, lz4_block, shuffle};
use crate::artifact::foreign::allowance::Allowance;
use crate::artifact::foreign::zip::Fault;

/// Memory an lzma stream may ask for: its largest usual dictionary (level 9) takes 65 MiB.
const LZMA_MEMORY: u64 = 128 << 20;
/// Dictionary of lzma without container, which does not name it: that of level 9, in which all others fit.
const RAW_DICTIONARY_BYTES: u32 = 64 << 20;
/// Window that a zstd frame may ask for where it is damaged and has to be read as a stream, as log2.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Most streams of one format behind one another. Each costs the setting up of a decoder, however short it is; files
/// written in blocks of 64 KiB stay below.
const MAX_STREAMS: usize = 10_000;
/// Buffers grow by so much at a time at first.
const FIRST_BYTES: usize = 1 << 16;

/// What a stream decompressed to.
#[derive(Default)]
pub(in crate::artifact::foreign) struct Expanded {
    /// The content, or as much of it as there was before an error or the limit.
    pub content: Vec<u8>,
    /// Bytes of the stream, which more bytes may follow.
    pub used: usize,
    /// What the decompressor said.
    pub error: Option<String>,
    /// Whether there was more than the limit.
    pub is_over: bool,
    /// Further streams behind the first, each of which cost a decoder.
    pub further: usize,
}

impl Expanded {
    pub(super) fn failed(what: impl ToString) -> Self {
        Expanded { error: Some(what.to_string()), ..Expanded::default() }
    }
}

/// Decompresses the stream at the start of `bytes` to at most `max` bytes. Streams of one format behind one another are
/// one, where Python's decompressor of that format takes them so.
pub(in crate::artifact::foreign) fn expand(bytes: &[u8], wrapper: Wrapper, max: u64) -> Expanded {
    match wrapper {
        Wrapper::Zstd => zstd_frames(bytes, max),
        Wrapper::Zlib => one(bytes, max, flate2::bufread::ZlibDecoder::new, |decoder| decoder.into_inner()),
        Wrapper::Deflate => one(bytes, max, flate2::bufread::DeflateDecoder::new, |decoder| decoder.into_inner()),
        Wrapper::Gzip => {
            let one = |rest, left| one(rest, left, flate2::bufread::GzDecoder::new, |decoder| decoder.into_inner());
            several(bytes, max, one, |rest| rest.starts_with(&[0x1f, 0x8b]))
        }
        Wrapper::Bzip2 => {
            let one = |rest, left| one(rest, left, bzip2::bufread::BzDecoder::new, |decoder| decoder.into_inner());
            several(bytes, max, one, |rest| rest.starts_with(b"BZh"))
        }
        Wrapper::Lz4 => {
            let one = |rest, left| {
                let frame = behind_skippable(rest);
                let skipped = rest.len() - frame.len();
                let mut expanded = one(frame, left, lz4_flex::frame::FrameDecoder::new, |decoder| decoder.into_inner());
                expanded.used += skipped;
                expanded
            };
            several(bytes, max, one, |rest| behind_skippable(rest).starts_with(&[0x04, 0x22, 0x4d, 0x18]))
        }
        Wrapper::Lz4Block => lz4_block::expand(bytes, max),
        Wrapper::Xz | Wrapper::Lzma | Wrapper::Lzip | Wrapper::RawLzma | Wrapper::RawLzma2 => lzma(bytes, wrapper, max),
        Wrapper::Brotli => brotli(bytes, max),
        Wrapper::ByteShuffle => shuffle::unshuffle(bytes, max),
        Wrapper::Zip => member(bytes, max),
        Wrapper::Tar => {
            let content = only_tarred(bytes).and_then(|range| bytes.get(range)).unwrap_or(&[]);
            let is_over = content.len() as u64 > max;
            let content = if is_over { Vec::new() } else { content.to_vec() };
            Expanded { content, used: bytes.len(), is_over, ..Expanded::default() }
        }
    }
}

/// The one file in a zip file.
fn member(bytes: &[u8], max: u64) -> Expanded {
    let Some((zip, index)) = only_member(bytes) else { return Expanded::failed("no single member") };
    let content = zip.members().get(index).map(|member| zip.content(member, &Allowance::new(max)));
    match content {
        Some(Ok(content)) => {
            let is_over = content.len() as u64 > max;
            let content = if is_over { Vec::new() } else { content.into_owned() };
            Expanded { content, used: bytes.len(), is_over, ..Expanded::default() }
        }
        Some(Err(Fault::TooLarge)) => Expanded { is_over: true, ..Expanded::default() },
        Some(Err(fault)) => Expanded::failed(fault),
        None => Expanded::failed("no single member"),
    }
}

/// Streams behind one another, as long as the next begins as one.
fn several<'a>(
    bytes: &'a [u8],
    max: u64,
    one: impl Fn(&'a [u8], u64) -> Expanded,
    follows: impl Fn(&[u8]) -> bool,
) -> Expanded {
    let mut all = one(bytes, max);
    while all.error.is_none() && !all.is_over {
        let rest = bytes.get(all.used..).unwrap_or(&[]);
        if !follows(rest) {
            break;
        }
        let next = one(rest, max.saturating_sub(all.content.len() as u64));
        // What does not decompress behind a whole stream is no stream: readers ignore it.
        if next.error.is_some() && !next.is_over {
            break;
        }
        all.content.extend_from_slice(&next.content);
        all.used += next.used;
        all.is_over = next.is_over;
        all.further += 1;
        if all.further >= MAX_STREAMS {
            all.error = Some(too_many_streams());
        }
    }
    all
}

fn too_many_streams() -> String {
    format!("more than {MAX_STREAMS} streams behind one another")
}

/// One stream through a decoder that takes no more of its input than it needs.
fn one<'a, D: Read>(
    bytes: &'a [u8],
    max: u64,
    decoder: impl FnOnce(&'a [u8]) -> D,
    rest: impl FnOnce(D) -> &'a [u8],
) -> Expanded {
    let mut decoder = decoder(bytes);
    let mut expanded = drain(&mut decoder, max);
    expanded.used = bytes.len() - rest(decoder).len();
    expanded
}

/// Reads to the end or the limit, taking memory as it fills.
fn drain(reader: &mut dyn Read, max: u64) -> Expanded {
    let mut content = Vec::new();
    let error = reader.take(max.saturating_add(1)).read_to_end(&mut content).err().map(|e: io::Error| e.to_string());
    let is_over = content.len() as u64 > max;
    content.truncate(usize::try_from(max).unwrap_or(usize::MAX));
    Expanded { content, error, is_over, ..Expanded::default() }
}

fn lzma(bytes: &[u8], wrapper: Wrapper, max: u64) -> Expanded {
    use liblzma::stream::{Filters, LzmaOptions, Stream};
    let stream = || {
        let raw = || {
            let mut options = LzmaOptions::new_preset(6)?;
            options.dict_size(RAW_DICTIONARY_BYTES);
            let mut filters = Filters::new();
            match wrapper {
                Wrapper::RawLzma => filters.lzma1(&options),
                _ => filters.lzma2(&options),
            };
            Stream::new_raw_decoder(&filters)
        };
        match wrapper {
            Wrapper::Xz => Stream::new_stream_decoder(LZMA_MEMORY, 0),
            Wrapper::Lzma => Stream::new_lzma_decoder(LZMA_MEMORY),
            Wrapper::Lzip => Stream::new_lzip_decoder(LZMA_MEMORY, 0),
            _ => raw(),
        }
    };
    let one = |rest, left| match stream() {
        Ok(stream) => one(rest, left, |rest| liblzma::bufread::XzDecoder::new_stream(rest, stream), |d| d.into_inner()),
        Err(error) => Expanded::failed(io::Error::from(error)),
    };
    // xz pads streams with zeros to a multiple of four.
    let magic: &[u8] = match wrapper {
        Wrapper::Xz => b"\xfd7zXZ\0",
        Wrapper::Lzip => b"LZIP",
        _ => return one(bytes, max),
    };
    several(bytes, max, one, |rest| rest.starts_with(magic))
}

fn brotli(bytes: &[u8], max: u64) -> Expanded {
    // Strict: windows of at most 16 MiB, as other decoders take unless told otherwise.
    let [a, b, c] = [(); 3].map(|()| StandardAlloc::default());
    let mut state = BrotliState::new_strict(a, b, c);
    let (mut available, mut used, mut total) = (bytes.len(), 0, 0);
    let mut content = Vec::new();
    let mut buffer = vec![0; FIRST_BYTES];
    loop {
        let (mut room, mut written) = (buffer.len(), 0);
        let result = BrotliDecompressStream(
            &mut available,
            &mut used,
            bytes,
            &mut room,
            &mut written,
            &mut buffer,
            &mut total,
            &mut state,
        );
        let left = usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(content.len());
        content.extend_from_slice(buffer.get(..written.min(left)).unwrap_or(&[]));
        let error = match result {
            _ if written > left => return Expanded { content, used, is_over: true, ..Expanded::default() },
            BrotliResult::ResultSuccess => None,
            BrotliResult::NeedsMoreOutput => continue,
            BrotliResult::NeedsMoreInput => Some("cut short".to_string()),
            BrotliResult::ResultFailure => Some("no brotli stream".to_string()),
        };
        return Expanded { content, used, error, ..Expanded::default() };
    }
}

/// Frames one by one, each straight into memory: so a window of any size takes no more than the content itself.
fn zstd_frames(bytes: &[u8], max: u64) -> Expanded {
    let mut all = Expanded::default();
    for _ in 0..MAX_STREAMS {
        let rest = bytes.get(all.used..).unwrap_or(&[]);
        let frame = behind_skippable(rest);
        let skipped = rest.len() - frame.len();
        if !frame.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            all.used += skipped;
            return all;
        }
        let left = max.saturating_sub(all.content.len() as u64);
        let next = zstd_frame(frame, left);
        let is_first = all.content.is_empty();
        if next.error.is_some() && !is_first {
            return all;
        }
        all.content.extend_from_slice(&next.content);
        all.used += skipped + next.used;
        if next.error.is_some() || next.is_over {
            (all.error, all.is_over) = (next.error, next.is_over);
            return all;
        }
    }
    all.error = Some(too_many_streams());
    all
}

fn zstd_frame(bytes: &[u8], max: u64) -> Expanded {
    let words = |code| zstd_safe::get_error_name(code);
    let length = match zstd_safe::find_frame_compressed_size(bytes) {
        Ok(length) => length,
        // Cut short: what there is of it is read as a stream would be.
        Err(code) => return zstd_stream(bytes, max, words(code)),
    };
    let frame = bytes.get(..length).unwrap_or(bytes);
    let known = zstd_safe::get_frame_content_size(frame).ok().flatten();
    if known.is_some_and(|known| known > max) {
        // Its start is worth a look all the same.
        let start = zstd_stream(frame, max, "");
        return Expanded { content: start.content, used: length, is_over: true, ..Expanded::default() };
    }
    let limit = usize::try_from(max).unwrap_or(usize::MAX);
    // A frame holds at most 128 KiB a block, and a block takes three bytes at least.
    let most = (frame.len() / 3 + 1).saturating_mul(128 << 10).min(limit);
    let mut room =
        known.and_then(|known| usize::try_from(known).ok()).unwrap_or(frame.len().saturating_mul(4)).min(most);
    loop {
        let mut content: Vec<u8> = Vec::new();
        if content.try_reserve_exact(room).is_err() {
            return Expanded::failed("not enough memory");
        }
        match zstd_safe::decompress(&mut content, frame) {
            Ok(_) => return Expanded { content, used: length, ..Expanded::default() },
            Err(code) if words(code).contains("too small") && room < most => {
                room = room.saturating_mul(2).max(1).min(most)
            }
            Err(code) if words(code).contains("too small") && most == limit => {
                let start = zstd_stream(frame, max, "");
                return Expanded { content: start.content, used: length, is_over: true, ..Expanded::default() };
            }
            Err(code) => return zstd_stream(frame, max, words(code)),
        }
    }
}

/// The start of a frame that cannot be read whole; it keeps the error.
fn zstd_stream(bytes: &[u8], max: u64, what: &str) -> Expanded {
    let decoder = zstd::stream::read::Decoder::with_buffer(bytes).and_then(|mut decoder| {
        decoder.window_log_max(ZSTD_WINDOW_LOG)?;
        Ok(decoder.single_frame())
    });
    let mut start = decoder.map_or_else(Expanded::failed, |mut decoder| drain(&mut decoder, max));
    start.error.get_or_insert_with(|| what.to_string());
    start.used = bytes.len();
    start
}
