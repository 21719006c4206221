//! Where the bytes of a sound artifact lie: header, table, and every stream before and after compression.

use super::Defect;
use super::header::HEADER_BYTES;
use super::layout::{gather, magnitude_bucket, rows_of};
use super::read::front;
use super::stream_kind::StreamKind;
use crate::artifact::{PackedTensor, PackedValues};
use crate::quant::Codec;

/// Bytes of a part before compression and in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::artifact) struct Sizes {
    pub held: u64,
    pub stored: u64,
}

/// What an artifact consists of; the stored sizes add up to its bytes.
#[derive(Clone, Debug)]
pub(in crate::artifact) struct SizeBreakdown {
    pub codec: Codec,
    pub level: u8,
    pub header: Sizes,
    pub table: Sizes,
    /// Every stream that has frames, what compressed it, and its sizes, in file order.
    pub streams: Vec<(StreamKind, Codec, Sizes)>,
}

/// The sizes of an artifact that [`parse`](super::parse) accepts.
pub(in crate::artifact) fn size_breakdown(file: &[u8]) -> Result<SizeBreakdown, Defect> {
    let (header, table, _) = front(file)?;
    let table_sizes = Sizes { held: u64::from(header.table_bytes), stored: u64::from(header.table_stored) };
    let mut streams: Vec<(StreamKind, Codec, Sizes)> = Vec::new();
    for frame in table.frames {
        if streams.last().is_none_or(|(kind, codec, _)| (*kind, *codec) != (frame.stream, frame.codec)) {
            streams.push((frame.stream, frame.codec, Sizes::default()));
        }
        if let Some((_, _, sizes)) = streams.last_mut() {
            sizes.held += frame.raw as u64;
            sizes.stored += frame.stored as u64;
        }
    }
    let header_sizes = Sizes { held: HEADER_BYTES as u64, stored: HEADER_BYTES as u64 };
    Ok(SizeBreakdown { codec: header.codec, level: header.level, header: header_sizes, table: table_sizes, streams })
}

/// What one tensor puts into a stream, cut where the coder's models change: the context (the magnitude bucket of the row for
/// symbols, 0 for anything else) and the bytes.
pub(in crate::artifact) fn contexts(kind: StreamKind, tensor: &PackedTensor) -> Vec<(u8, Vec<u8>)> {
    match (kind, tensor.values()) {
        (StreamKind::Symbols(wanted), PackedValues::Integers { class, symbols, scales }) if wanted == *class => {
            let bytes = |row: &[i8]| row.iter().map(|&symbol| symbol as u8).collect();
            rows_of(symbols, scales.len()).map(|row| (magnitude_bucket(row), bytes(row))).collect()
        }
        _ => vec![(0, gather(kind, std::slice::from_ref(tensor)))],
    }
}
