//! The table: what tensors there are, and how long every frame is.

use super::Defect;
use super::checksum::CHECKSUM_BYTES;
use super::cursor::{Cursor, push_varint};
use super::stream_kind::StreamKind;
use crate::artifact::scale_count;
use crate::quant::{Codec, TensorClass, limits};

/// One tensor as the table describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TensorEntry {
    pub name: String,
    pub shape: Vec<usize>,
    pub class: TensorClass,
    /// BLAKE3, cut to 128 bits, of the decoded values as little-endian f32.
    pub digest: [u8; CHECKSUM_BYTES],
}

impl TensorEntry {
    /// Number of weights. Products were checked when the table was read.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Bytes the tensors of a table put into a stream.
pub(super) fn bytes_of(stream: StreamKind, tensors: &[TensorEntry]) -> usize {
    let bytes = |tensor: &TensorEntry| match stream {
        StreamKind::Symbols(class) if tensor.class == class => tensor.elements(),
        StreamKind::MagnitudeBuckets | StreamKind::Scale(_) if tensor.class.symbols().is_some() => {
            scale_count(&tensor.shape)
        }
        StreamKind::Half(_) if tensor.class == TensorClass::F16 => tensor.elements(),
        StreamKind::Single(_) if tensor.class == TensorClass::F32 => tensor.elements(),
        _ => 0,
    };
    tensors.iter().map(bytes).sum()
}

/// Set in a frame's stream byte where a frame of a range-coded file is zstd's.
const ZSTD_FLAG: u8 = 0x80;

/// One compressed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameEntry {
    pub stream: StreamKind,
    /// What compressed it: the file's codec, or zstd.
    pub codec: Codec,
    /// Bytes decompressed.
    pub raw: usize,
    /// Bytes in the file.
    pub stored: usize,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub tensors: Vec<TensorEntry>,
    pub frames: Vec<FrameEntry>,
}

impl Table {
    /// The bytes of the table before compression, in a file of codec `codec`. Fields of one kind lie together, digests
    /// last.
    pub fn encode(&self, codec: Codec) -> Vec<u8> {
        let mut out = Vec::new();
        push_varint(&mut out, self.tensors.len() as u64);
        for tensor in &self.tensors {
            push_varint(&mut out, tensor.name.len() as u64);
            out.extend_from_slice(tensor.name.as_bytes());
            out.push(tensor.class.code());
            push_varint(&mut out, tensor.shape.len() as u64);
            tensor.shape.iter().for_each(|&side| push_varint(&mut out, side as u64));
        }
        push_varint(&mut out, self.frames.len() as u64);
        for frame in &self.frames {
            let flag = if frame.codec == codec { 0 } else { ZSTD_FLAG };
            out.push(frame.stream.code() | flag);
            push_varint(&mut out, frame.raw as u64);
            push_varint(&mut out, frame.stored as u64);
        }
        self.tensors.iter().for_each(|tensor| out.extend_from_slice(&tensor.digest));
        out
    }

    /// Reads the table of a file of codec `codec`; `origin` is its offset in the file.
    pub fn decode(bytes: &[u8], codec: Codec, origin: u64) -> Result<Self, Defect> {
        let mut cursor = Cursor::inside(bytes, origin, "table");
        let count = cursor.varint(limits::MAX_TENSORS, "the number of tensors")?;
        let mut tensors = Vec::new();
        let (mut total, mut rows) = (0u64, 0u64);
        for _ in 0..count {
            let tensor = decode_tensor(&mut cursor)?;
            let elements = tensor.shape.iter().try_fold(1u64, |n, &side| n.checked_mul(side as u64));
            total = elements
                .and_then(|elements| total.checked_add(elements))
                .filter(|&total| total <= limits::MAX_ELEMENTS)
                .ok_or_else(|| {
                    let (name, shape) = (&tensor.name, &tensor.shape);
                    let max = limits::MAX_ELEMENTS;
                    cursor.defect(format!("with tensor `{name}` {shape:?} the model has more than {max} weights"))
                })?;
            if tensor.class.symbols().is_some() {
                rows = rows.saturating_add(scale_count(&tensor.shape) as u64);
            }
            if rows > limits::MAX_ROWS {
                let (name, max) = (&tensor.name, limits::MAX_ROWS);
                return Err(cursor.defect(format!("with tensor `{name}` the model has more than {max} rows")));
            }
            tensors.push(tensor);
        }
        let frames = (0..cursor.varint(limits::MAX_FRAMES, "the number of frames")?)
            .map(|_| decode_frame(&mut cursor, codec))
            .collect::<Result<Vec<_>, Defect>>()?;
        for tensor in &mut tensors {
            tensor.digest = cursor.array("a tensor's digest")?;
        }
        if cursor.remaining() > 0 {
            return Err(cursor.defect(format!("{} bytes too many", cursor.remaining())));
        }
        let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        names.sort_unstable();
        if let Some(name) = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]) {
            return Err(cursor.defect(format!("tensor `{name}` is listed twice")));
        }
        Ok(Table { tensors, frames })
    }
}

fn decode_tensor(cursor: &mut Cursor<'_>) -> Result<TensorEntry, Defect> {
    let length = cursor.varint(limits::MAX_NAME_BYTES, "a name's length")?;
    let name = cursor.take(length as usize, "a name")?;
    let name = std::str::from_utf8(name).map_err(|_| cursor.defect("a name is not UTF-8"))?.to_string();
    let code = cursor.u8("a class")?;
    let class = TensorClass::from_code(code)
        .ok_or_else(|| cursor.defect(format!("tensor `{name}` has unknown class {code}")))?;
    let rank = cursor.varint(limits::MAX_RANK, "a tensor's rank")?;
    let shape = (0..rank)
        .map(|_| cursor.varint(limits::MAX_ELEMENTS, "a side").map(|side| side as usize))
        .collect::<Result<_, _>>()?;
    Ok(TensorEntry { name, shape, class, digest: [0; CHECKSUM_BYTES] })
}

fn decode_frame(cursor: &mut Cursor<'_>, codec: Codec) -> Result<FrameEntry, Defect> {
    let code = cursor.u8("a frame's stream")?;
    let is_flagged = code & ZSTD_FLAG != 0;
    if is_flagged && codec == Codec::Zstd {
        return Err(cursor.defect("a frame is marked as zstd's where every frame is".to_string()));
    }
    let codec = if is_flagged { Codec::Zstd } else { codec };
    let stream =
        StreamKind::from_code(code & !ZSTD_FLAG).ok_or_else(|| cursor.defect(format!("unknown stream {code}")))?;
    // f32 is the widest class: four bytes a weight.
    let raw = cursor.varint(4 * limits::MAX_ELEMENTS, "a frame's size")?;
    let stored = cursor.varint(limits::MAX_FILE_BYTES, "a frame's stored size")?;
    if raw > stored.saturating_mul(limits::MAX_EXPANSION) {
        return Err(cursor.defect(format!("a frame claims to expand {stored} bytes to {raw}")));
    }
    Ok(FrameEntry { stream, codec, raw: raw as usize, stored: stored as usize })
}
