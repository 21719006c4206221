//! Which compression bytes are in.

use std::ops::Range;
use std::path::Path;

use super::{Wrapper, expand, shuffle};
use crate::artifact::foreign::follow::{is_text, starts_as_pickle};
use crate::artifact::foreign::torch::is_index;
use crate::artifact::foreign::zip::Zip;
use crate::artifact::foreign::{Container, identify, tar};

/// How much of a stream without magic number is decompressed to see what it may be.
const PROBED_BYTES: u64 = 1 << 16;
/// Bytes of a zstd or lz4 frame that decoders skip, before their length: `5X 2a 4d 18`.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// The compression to take off next. Containers are looked for first, as their magic numbers are longer.
pub(super) fn outermost(bytes: &[u8], path: &Path, outer: &[Wrapper]) -> Option<Wrapper> {
    if let Some(container) = identify(bytes) {
        return match container {
            Container::TorchZip => only_member(bytes).map(|_| Wrapper::Zip),
            Container::Archive => only_tarred(bytes).map(|_| Wrapper::Tar),
            _ => None,
        };
    }
    if let Some(wrapper) = by_magic(bytes) {
        return Some(wrapper);
    }
    // What nobody recognizes is brotli where its name says so: that has no magic number.
    let is_named = path.extension().is_some_and(|ending| ending == "br" || ending == "brotli");
    by_trial(bytes).0.or((is_named && outer.is_empty()).then_some(Wrapper::Brotli))
}

/// The one file in a zip file, if that is no array and no part of what `torch.save` writes.
pub(super) fn only_member(bytes: &[u8]) -> Option<(Zip<'_>, usize)> {
    let zip = Zip::open(bytes).ok()?;
    let mut files = zip.members().iter().enumerate().filter(|(_, member)| !member.name.ends_with('/'));
    let (only, member) = files.next()?;
    let is_part = is_index(&member.name) || member.name.ends_with(".npy");
    (files.next().is_none() && !is_part).then_some(only).map(|only| (zip, only))
}

/// Where the one file in a tar file lies.
pub(super) fn only_tarred(bytes: &[u8]) -> Option<Range<usize>> {
    let mut files = tar::members(bytes)?.into_iter().filter(|(_, range)| !range.is_empty());
    let (_, range) = files.next()?;
    files.next().is_none().then_some(range)
}

/// The compression that a magic number names.
pub(in crate::artifact::foreign) fn by_magic(bytes: &[u8]) -> Option<Wrapper> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let rest = behind_skippable(bytes);
    if rest.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || (rest.is_empty() && !bytes.is_empty()) {
        return Some(Wrapper::Zstd);
    }
    if rest.starts_with(&[0x04, 0x22, 0x4d, 0x18]) || starts(&[0x02, 0x21, 0x4c, 0x18]) {
        return Some(Wrapper::Lz4);
    }
    if starts(&[0x1f, 0x8b, 8]) {
        return Some(Wrapper::Gzip);
    }
    if starts(b"\xfd7zXZ\0") {
        return Some(Wrapper::Xz);
    }
    if starts(shuffle::MAGIC) {
        return Some(Wrapper::ByteShuffle);
    }
    if starts(b"LZIP") {
        return Some(Wrapper::Lzip);
    }
    if starts(b"BZh") && bytes.get(3).is_some_and(|level| (b'1'..=b'9').contains(level)) {
        return Some(Wrapper::Bzip2);
    }
    // zlib (RFC 1950): deflate with a window of at most 32 KiB, and a check over both header bytes.
    if let [method, flags, ..] = bytes
        && method & 0x0f == 8
        && method >> 4 <= 7
        && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31)
    {
        return Some(Wrapper::Zlib);
    }
    is_lzma(bytes).then_some(Wrapper::Lzma)
}

/// The older lzma container has no magic number, but few ways to begin: properties below 225, a dictionary of a power
/// of two or half as much again, and a size that is unknown or below 256 GiB (as in liblzma's own test).
fn is_lzma(bytes: &[u8]) -> bool {
    let Some((&[properties, a, b, c, d], rest)) = bytes.split_first_chunk() else { return false };
    let dictionary = u32::from_le_bytes([a, b, c, d]);
    let halved = |value: u32| value.is_power_of_two() || (value.is_multiple_of(3) && (value / 3).is_power_of_two());
    let size = rest.first_chunk().map(|size| u64::from_le_bytes(*size));
    properties < 225
        && (dictionary == u32::MAX || (dictionary >= 1 << 12 && halved(dictionary)))
        && size.is_some_and(|size| size == u64::MAX || size < 1 << 38)
}

/// The bytes behind all skippable frames at the start.
pub(super) fn behind_skippable(mut bytes: &[u8]) -> &[u8] {
    while let Some(([first, magic @ .., a, b, c, d], rest)) = bytes.split_first_chunk::<8>()
        && first & 0xf0 == 0x50
        && *magic == SKIPPABLE
    {
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        match rest.get(length..) {
            Some(rest) => bytes = rest,
            None => break,
        }
    }
    bytes
}

/// The compression without magic number that bytes are in: one that decompresses whole, to something known. Then how
/// many bytes were expanded to find out.
pub(in crate::artifact::foreign) fn by_trial(bytes: &[u8]) -> (Option<Wrapper>, u64) {
    let mut spent = 0;
    if bytes.len() < 8 || is_text(bytes) {
        return (None, spent);
    }
    for wrapper in [Wrapper::RawLzma2, Wrapper::Brotli, Wrapper::RawLzma, Wrapper::Deflate, Wrapper::Lz4Block] {
        let fits = match (wrapper, bytes.first()) {
            // The first chunk resets the dictionary.
            (Wrapper::RawLzma2, Some(&control)) => control == 1 || control >= 0xe0,
            // The range coder's first byte.
            (Wrapper::RawLzma, Some(&first)) => first == 0,
            _ => true,
        };
        if !fits {
            continue;
        }
        let start = expand(bytes, wrapper, PROBED_BYTES);
        spent += start.content.len() as u64;
        if (start.error.is_none() || start.is_over) && is_known_start(&start.content) {
            return (Some(wrapper), spent);
        }
    }
    (None, spent)
}

/// Whether decompressed bytes begin as a container, a pickle or another compression does.
fn is_known_start(start: &[u8]) -> bool {
    let is_safetensors = start.get(8) == Some(&b'{') && start.get(4..8) == Some(&[0; 4]);
    let sure = matches!(by_magic(start), Some(wrapper) if wrapper != Wrapper::Zlib && wrapper != Wrapper::Lzma);
    let zlib = matches!(start, [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..]);
    let lzma = start.starts_with(&[0x5d, 0, 0]);
    is_safetensors || sure || zlib || lzma || identify(start).is_some() || starts_as_pickle(start)
}

/// A compression or container that is known and not read.
pub(in crate::artifact::foreign) fn unread_format(bytes: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 12] = [
        (b"LRZI", "lrzip (lrz)"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!\x1a\x07", "RAR"),
        (b"\x89LZO\0", "lzop"),
        (b"\xff\x06\0\0sNaPpY", "snappy"),
        (b"\x1f\x9d", "compress (.Z)"),
        (b"7kSt", "ZPAQ"),
        (b"zPQ", "ZPAQ"),
        (b"MSCF", "cabinet"),
        (b"GGUF", "GGUF"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"PK\x05\x06", "an empty zip"),
    ];
    FORMATS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name)
}
