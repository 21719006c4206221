//! Tensors to bytes.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::checksum::{CHECKSUM_BYTES, cut};
use super::header::{self, HEADER_BYTES, Header};
use super::layout::{Layout, RowOrder, gather};
use super::stream_kind::StreamKind;
use super::table::{FrameEntry, Table, TensorEntry, bytes_of};
use super::{adaptive, codec};
use crate::artifact::{PackedTensor, scale_count};
use crate::digest::{ContentDigest, ContentHasher, Digest};
use crate::interrupt::Interrupt;
use crate::manifest::{TensorRecord, ZstdRecord};
use crate::progress::Progress;
use crate::quant::{Codec, TensorClass, limits};
use crate::units::Bytes;

/// Bytes of a stream that share a zstd frame. Fixed, so that the bytes of the file do not depend on the number of
/// threads; large enough that a frame's own cost does not show.
const FRAME_BYTES: usize = 1 << 20;

/// An artifact in memory, and what a manifest says about it.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The file.
    pub bytes: Vec<u8>,
    /// Digest of the file.
    pub file: ContentDigest,
    /// Digest of the streams before compression, in file order: the same for every codec and zstd version.
    pub payload: ContentDigest,
    /// The zstd that compressed it, if it did.
    pub zstd: Option<ZstdRecord>,
    /// Every tensor with the SHA-256 of its decoded values.
    pub tensors: Vec<TensorRecord>,
    /// Where the bytes of the file went; the sizes add up to it. Empty where all is compressed as one.
    pub parts: Vec<(Part, Bytes)>,
}

/// A part of the file that has a size of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Symbols or floats of one class.
    Class(TensorClass),
    /// Scales and magnitude buckets of the rows of integer classes.
    Scales,
    /// Header, names, shapes and digests.
    Table,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Class(class) => class.fmt(f),
            Part::Scales => f.pad("scales"),
            Part::Table => f.pad("table"),
        }
    }
}

/// Why no artifact was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// More than the format may hold.
    #[error("{what} is {found}; an artifact holds at most {max}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: u64,
        /// The bound.
        max: u64,
    },
    /// Two tensors of one name.
    #[error("tensor `{0}` appears twice")]
    Duplicate(String),
    /// The compressor failed.
    #[error("compression failed: {0}")]
    Compress(#[from] std::io::Error),
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(#[from] crate::interrupt::Interrupted),
}

/// Lays tensors out and compresses them. The bytes are the same for any number of threads.
///
/// Progress counts bytes before compression.
pub fn encode(
    tensors: &[PackedTensor],
    codec: Codec,
    level: i32,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Encoded, EncodeError> {
    check_bounds(tensors)?;
    let digests: Vec<(TensorRecord, [u8; CHECKSUM_BYTES])> = tensors.par_iter().map(digest_of).collect();

    let entries: Vec<TensorEntry> = tensors
        .iter()
        .zip(&digests)
        .map(|(tensor, (_, digest))| TensorEntry {
            name: tensor.name().to_string(),
            shape: tensor.shape().to_vec(),
            class: tensor.class(),
            digest: *digest,
        })
        .collect();

    progress.set_len(StreamKind::ALL.iter().map(|&kind| bytes_of(kind, &entries) as u64).sum());
    let streams: Vec<(StreamKind, Vec<u8>)> =
        StreamKind::ALL.into_par_iter().map(|kind| (kind, gather(kind, tensors))).collect();
    let buckets =
        streams.iter().find(|(kind, _)| *kind == StreamKind::MagnitudeBuckets).map_or(&[][..], |(_, bytes)| bytes);
    let coder = StreamCoder { codec, level, tensors: &entries, buckets, interrupt };
    let compressed: Vec<Vec<(FrameEntry, Vec<u8>)>> = streams
        .par_iter()
        .map(|(kind, stream)| {
            let frames = coder.frames(*kind, stream)?;
            progress.advance(stream.len() as u64);
            Ok(frames)
        })
        .collect::<Result<_, EncodeError>>()?;
    let mut payload = ContentHasher::new();
    streams.iter().for_each(|(_, stream)| payload.update(stream));
    drop(streams);
    let (mut frames, mut body) = (Vec::new(), Vec::new());
    for (entry, frame) in compressed.into_iter().flatten() {
        frames.push(entry);
        body.extend_from_slice(&frame);
    }

    let parts = sizes_by_part(&frames);
    let table = Table { tensors: entries, frames }.encode(codec);
    bounded("the table", table.len() as u64, u64::from(limits::MAX_TABLE_BYTES))?;
    let stored_table = codec::compress(&table, level)?;
    let header = Header {
        codec,
        layout: Layout::RowsByMagnitude,
        level: u8::try_from(level).unwrap_or(0),
        table_stored: stored_table.len() as u32,
        table_bytes: table.len() as u32,
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + stored_table.len() + body.len());
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(&[0; CHECKSUM_BYTES]);
    bytes.extend_from_slice(&stored_table);
    bytes.append(&mut body);
    let checksum = header::checksum_of(&bytes);
    bytes[header::CHECKSUM_OFFSET..HEADER_BYTES].copy_from_slice(&checksum);
    bounded("the file's size", bytes.len() as u64, limits::MAX_FILE_BYTES)?;
    let table_size = Bytes((HEADER_BYTES + stored_table.len()) as u64);
    Ok(Encoded {
        parts: parts.into_iter().chain([(Part::Table, table_size)]).collect(),
        file: ContentDigest::of(&bytes),
        bytes,
        payload: payload.finish(),
        zstd: Some(ZstdRecord { version: codec::zstd_version(), level }),
        tensors: digests.into_iter().map(|(record, _)| record).collect(),
    })
}

/// Compresses whole streams.
struct StreamCoder<'a> {
    codec: Codec,
    level: i32,
    tensors: &'a [TensorEntry],
    buckets: &'a [u8],
    interrupt: &'a Interrupt,
}

impl StreamCoder<'_> {
    /// The frames of a stream. With [`Codec::Ans`] those of zstd where they are smaller than the range coder's one:
    /// zstd finds what repeats, such as equal rows, which models without memory cannot.
    fn frames(&self, kind: StreamKind, stream: &[u8]) -> Result<Vec<(FrameEntry, Vec<u8>)>, EncodeError> {
        if self.codec == Codec::Zstd || stream.is_empty() {
            return self.zstd(kind, stream);
        }
        let (ranged, zstd) = rayon::join(|| self.ranged(kind, stream), || self.zstd(kind, stream));
        let (ranged, zstd) = (ranged?, zstd?);
        let smaller = zstd.iter().map(|(entry, _)| entry.stored).sum::<usize>() < ranged.0.stored;
        Ok(if smaller { zstd } else { vec![ranged] })
    }

    fn ranged(&self, kind: StreamKind, stream: &[u8]) -> Result<(FrameEntry, Vec<u8>), EncodeError> {
        self.interrupt.check()?;
        let runs = runs(kind, stream.len(), self.tensors, self.buckets);
        let frame = adaptive::encode(stream, &kind.alphabet(), &runs)
            .ok_or_else(|| std::io::Error::other("a symbol is outside its class"))?;
        Ok((FrameEntry { stream: kind, codec: Codec::Ans, raw: stream.len(), stored: frame.len() }, frame))
    }

    fn zstd(&self, kind: StreamKind, stream: &[u8]) -> Result<Vec<(FrameEntry, Vec<u8>)>, EncodeError> {
        let frame = |chunk: &[u8]| {
            self.interrupt.check()?;
            let frame = codec::compress(chunk, self.level)?;
            Ok((FrameEntry { stream: kind, codec: Codec::Zstd, raw: chunk.len(), stored: frame.len() }, frame))
        };
        stream.par_chunks(FRAME_BYTES).map(frame).collect()
    }
}

/// Stored bytes of the frames, by part, without the table.
fn sizes_by_part(frames: &[FrameEntry]) -> BTreeMap<Part, Bytes> {
    let mut sizes = BTreeMap::new();
    for frame in frames {
        let size: &mut Bytes = sizes.entry(frame.stream.part()).or_default();
        size.0 += frame.stored as u64;
    }
    sizes
}

/// Contexts of the bytes of a stream: rows by magnitude bucket for symbols, a single one for anything else.
pub(super) fn runs(kind: StreamKind, length: usize, tensors: &[TensorEntry], buckets: &[u8]) -> Vec<(u8, usize)> {
    match kind {
        StreamKind::Symbols(class) => RowOrder::of_class(class, tensors, buckets).runs,
        _ => vec![(0, length)],
    }
}

/// The manifest's record (SHA-256) and the table's digest (BLAKE3, cut) of a tensor's decoded values.
pub(in crate::artifact) fn digest_of(tensor: &PackedTensor) -> (TensorRecord, [u8; CHECKSUM_BYTES]) {
    let content = ContentDigest::of(&tensor.dequantize().to_le_bytes());
    (record_of(tensor, content.sha256), cut_digest(&content.blake3))
}

/// A tensor's line in the manifest.
pub(super) fn record_of(tensor: &PackedTensor, sha256: Digest) -> TensorRecord {
    TensorRecord {
        name: tensor.name().to_string(),
        shape: tensor.shape().iter().map(|&side| side as u64).collect(),
        class: tensor.class(),
        sha256,
    }
}

/// A BLAKE3 digest cut to the table's 128 bits.
pub(super) fn cut_digest(digest: &Digest) -> [u8; CHECKSUM_BYTES] {
    cut(blake3::Hash::from_bytes(*digest.as_bytes()))
}

pub(in crate::artifact) fn bounded(what: &'static str, found: u64, max: u64) -> Result<(), EncodeError> {
    if found > max { Err(EncodeError::TooLarge { what, found, max }) } else { Ok(()) }
}

/// The reader's bounds, applied when writing, so that whatever is written can be read.
pub(in crate::artifact) fn check_bounds(tensors: &[PackedTensor]) -> Result<(), EncodeError> {
    bounded("the number of tensors", tensors.len() as u64, limits::MAX_TENSORS)?;
    bounded(
        "the number of weights",
        tensors.iter().map(|tensor| tensor.elements() as u64).sum(),
        limits::MAX_ELEMENTS,
    )?;
    let rows = tensors.iter().filter(|tensor| tensor.class().symbols().is_some());
    let rows: u64 = rows.map(|tensor| scale_count(tensor.shape()) as u64).sum();
    bounded("the number of rows", rows, limits::MAX_ROWS)?;
    for tensor in tensors {
        bounded("the length of a tensor's name", tensor.name().len() as u64, limits::MAX_NAME_BYTES)?;
        bounded("the rank of a tensor", tensor.shape().len() as u64, limits::MAX_RANK)?;
    }
    let mut names: Vec<&str> = tensors.iter().map(PackedTensor::name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(EncodeError::Duplicate(pair[0].to_string())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::RandomStream;

    #[test]
    fn of_frames_of_one_size_the_range_coders_is_taken() {
        let interrupt = Interrupt::none();
        let coder = StreamCoder { codec: Codec::Ans, level: 19, tensors: &[], buckets: &[], interrupt: &interrupt };
        let (kind, mut random) = (StreamKind::Single(0), RandomStream::new(1, "ties"));
        let (mut ties, mut zstd_smaller) = (0, 0);
        for length in 1..400 {
            let stream: Vec<u8> = (0..length).map(|_| random.below(3) as u8 * 7).collect();
            let ranged = coder.ranged(kind, &stream).unwrap().0.stored;
            let zstd: usize = coder.zstd(kind, &stream).unwrap().iter().map(|(entry, _)| entry.stored).sum();
            let taken = coder.frames(kind, &stream).unwrap()[0].0.codec;
            assert_eq!(taken, if zstd < ranged { Codec::Zstd } else { Codec::Ans }, "{zstd} for {ranged}");
            ties += usize::from(zstd == ranged);
            zstd_smaller += usize::from(zstd < ranged);
        }
        assert!(ties > 0 && zstd_smaller > 0, "{ties} ties, {zstd_smaller} smaller");
    }
}
