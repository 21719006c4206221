//! Bytes to tensors. Total: whatever the bytes are, the answer is an artifact or a [`Defect`].

use std::io::Read;
use std::path::Path;

use rayon::prelude::*;

use super::cursor::Cursor;
use super::header::{HEADER_BYTES, Header};
use super::layout::Streams;
use super::stream_kind::StreamKind;
use super::table::{FrameEntry, Table, bytes_of};
use super::write::{cut_digest, record_of, runs};
use super::{Defect, ReadError, adaptive, codec};
use crate::artifact::PackedTensor;
use crate::artifact::low_rank::corrected;
use crate::digest::{ContentDigest, ContentHasher};
use crate::manifest::TensorRecord;
use crate::model::{HostTensor, Params};
use crate::quant::{Codec, limits};

/// A decoded artifact. Every digest inside the file has been checked.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Decoded weights in single precision, corrections of low rank added, in the order of the file (the state dict's).
    pub params: Params,
    /// Name, shape, class and SHA-256 of the decoded values of every tensor as stored, in the same order.
    pub tensors: Vec<TensorRecord>,
    /// The tensors as stored.
    pub packed: Vec<PackedTensor>,
    /// Digest of the file.
    pub file: ContentDigest,
    /// Digest of the streams before compression.
    pub payload: ContentDigest,
}

/// Reads and checks the artifact at `path`.
///
/// ```
/// use std::path::Path;
///
/// use golf_harness::artifact;
/// use golf_harness::quant::TensorClass;
///
/// let small = artifact::read(Path::new("fixtures/fuzz/artifact/zstd.golf"))?;
/// // What is stored, and the weights it stands for.
/// assert_eq!(small.packed[0].class(), TensorClass::Int5);
/// assert_eq!(small.params.get("blocks.0.mlp.fc.weight").map(|weight| weight.shape()), Some(&[6, 8][..]));
/// # Ok::<(), artifact::ReadError>(())
/// ```
pub fn read(path: &Path) -> Result<Artifact, ReadError> {
    let io = |source| ReadError::Io { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let file = crate::regular_file::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    if size > limits::MAX_FILE_BYTES {
        return Err(ReadError::TooLarge { path: path.to_path_buf(), bytes: size });
    }
    file.take(limits::MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    parse(&bytes).map_err(|defect| ReadError::Damaged { path: path.to_path_buf(), defect })
}

impl Artifact {
    /// An artifact of decoded parts, no correction of low rank added.
    pub(in crate::artifact) fn from_packed(
        packed: Vec<PackedTensor>,
        file: ContentDigest,
        payload: ContentDigest,
    ) -> Self {
        let decoded: Vec<_> = packed
            .par_iter()
            .map(|tensor| {
                let values = tensor.dequantize();
                let sha256 = ContentDigest::of(&values.to_le_bytes()).sha256;
                (record_of(tensor, sha256), (tensor.name().to_string(), values))
            })
            .collect();
        let (tensors, entries) = decoded.into_iter().unzip();
        Artifact { params: Params::from_entries(entries), tensors, packed, file, payload }
    }
}

/// Header and table of a file, and the rest of it.
pub(super) fn front(file: &[u8]) -> Result<(Header, Table, Cursor<'_>), Defect> {
    let header = Header::decode(file)?;
    let mut cursor = Cursor::of_file(file);
    cursor.take(HEADER_BYTES, "the header")?;
    let stored_table = cursor.take(header.table_stored as usize, "the table")?;
    let origin = HEADER_BYTES as u64;
    let table = codec::decompress(stored_table, header.table_bytes as usize)
        .map_err(|e| Defect::at(origin, format!("table: {e}")))?;
    Ok((header, Table::decode(&table, header.codec, origin)?, cursor))
}

/// [`read`] on bytes in memory.
pub fn parse(file: &[u8]) -> Result<Artifact, Defect> {
    if file.len() as u64 > limits::MAX_FILE_BYTES {
        return Err(Defect::at(limits::MAX_FILE_BYTES, format!("{} bytes are more than any artifact", file.len())));
    }
    let (header, table, mut cursor) = front(file)?;
    let streams = read_streams(&table, &mut cursor)?;
    if cursor.remaining() > 0 {
        return Err(cursor.defect(format!("{} bytes after the last frame", cursor.remaining())));
    }

    let mut payload = ContentHasher::new();
    streams.iter().for_each(|(_, bytes)| payload.update(bytes));
    let mut rest = Streams::new(&streams, &table.tensors);
    let body = HEADER_BYTES as u64 + u64::from(header.table_stored);
    let packed: Vec<PackedTensor> =
        table.tensors.iter().map(|entry| rest.next(entry, body)).collect::<Result<_, _>>()?;
    drop(streams);
    let decoded: Vec<_> = packed
        .par_iter()
        .map(|tensor| {
            let values = tensor.dequantize();
            let digest = ContentDigest::of(&values.to_le_bytes());
            (values, digest)
        })
        .collect();

    let (mut entries, mut tensors) = (Vec::new(), Vec::new());
    for ((tensor, entry), (values, digest)) in packed.iter().zip(&table.tensors).zip(decoded) {
        if cut_digest(&digest.blake3) != entry.digest {
            return Err(Defect::at(body, format!("tensor `{}` does not decode to its digest", entry.name)));
        }
        if let Some(index) = values.data().iter().position(|value| !value.is_finite()) {
            let value = values.data()[index];
            return Err(Defect::at(body, format!("tensor `{}` holds {value} at element {index}", entry.name)));
        }
        tensors.push(record_of(tensor, digest.sha256));
        entries.push((entry.name.clone(), values));
    }
    let entries = corrected(entries);
    // Each was looked at as it is stored; only a correction can have changed one.
    let is_corrected = entries.len() < tensors.len();
    let is_finite = |tensor: &HostTensor| tensor.data().iter().all(|value| value.is_finite());
    if is_corrected && let Some((name, _)) = entries.iter().find(|(_, tensor)| !is_finite(tensor)) {
        return Err(Defect::at(body, format!("tensor `{name}` is not finite with its correction of low rank")));
    }
    Ok(Artifact {
        params: Params::from_entries(entries),
        tensors,
        packed,
        file: ContentDigest::of(file),
        payload: payload.finish(),
    })
}

/// Decompresses every stream, after checking that the frames' lengths add up to what the tensors need.
fn read_streams(table: &Table, cursor: &mut Cursor<'_>) -> Result<Vec<(StreamKind, Vec<u8>)>, Defect> {
    let mut parts = Vec::new();
    for frame in &table.frames {
        let offset = cursor.position() as u64;
        parts.push((frame, offset, cursor.take(frame.stored, "a frame")?));
    }
    if !table.frames.is_sorted_by_key(|frame| StreamKind::ALL.iter().position(|&kind| kind == frame.stream)) {
        return Err(Defect::at(HEADER_BYTES as u64, "table: frames are not in the order of their streams"));
    }
    for kind in StreamKind::ALL {
        let claimed: u64 = table.frames.iter().filter(|frame| frame.stream == kind).map(|frame| frame.raw as u64).sum();
        let needed = bytes_of(kind, &table.tensors) as u64;
        if claimed != needed {
            let what = format!("table: frames of stream {kind:?} hold {claimed} bytes, its tensors need {needed}");
            return Err(Defect::at(HEADER_BYTES as u64, what));
        }
    }
    let decode = |frame: &FrameEntry, offset: u64, stored: &[u8], buckets: &[u8]| {
        let bytes = match frame.codec {
            Codec::Zstd => codec::decompress(stored, frame.raw),
            Codec::Ans => {
                let runs = runs(frame.stream, frame.raw, &table.tensors, buckets);
                adaptive::decode(stored, frame.raw, &frame.stream.alphabet(), &runs)
            }
        };
        bytes.map_err(|e| Defect::at(offset, format!("frame: {e}")))
    };
    // Magnitude buckets come first in the file: the models of the symbols depend on them.
    let first = parts.partition_point(|(frame, ..)| frame.stream == StreamKind::MagnitudeBuckets);
    let (before, after) = parts.split_at(first);
    let mut buckets = Vec::new();
    for (frame, offset, stored) in before {
        buckets.extend(decode(frame, *offset, stored, &[])?);
    }
    let decoded: Vec<Vec<u8>> = after
        .par_iter()
        .map(|(frame, offset, stored)| decode(frame, *offset, stored, &buckets))
        .collect::<Result<_, Defect>>()?;
    let mut streams: Vec<(StreamKind, Vec<u8>)> = StreamKind::ALL.into_iter().map(|kind| (kind, Vec::new())).collect();
    if let Some((_, stream)) = streams.first_mut() {
        *stream = buckets;
    }
    for ((frame, ..), bytes) in after.iter().zip(decoded) {
        if let Some((_, stream)) = streams.iter_mut().find(|(kind, _)| *kind == frame.stream) {
            stream.extend_from_slice(&bytes);
        }
    }
    Ok(streams)
}
