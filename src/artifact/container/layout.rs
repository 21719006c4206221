//! How tensors are laid out in streams before compression.
//!
//! Layout 1 puts values of one kind together: all int5 symbols, all int6 symbols, all int8 symbols, the scales'
//! low bytes and high bytes, the halves' low and high bytes, and the bytes of f32 values by significance.
//! Within a stream tensors keep their order.

use half::f16;

use super::table::TensorEntry;
use super::{Part, Trouble};
use crate::artifact::packed::scale_count;
use crate::artifact::{PackedTensor, PackedValues, TensorClass};

/// Which arrangement the streams follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Values by class, multi-byte values split by significance.
    ByClass,
}

impl Layout {
    pub fn code(self) -> u8 {
        match self {
            Layout::ByClass => 1,
        }
    }

    pub fn from_code(code: u8) -> Option<Self> {
        (code == Layout::ByClass.code()).then_some(Layout::ByClass)
    }
}

/// What a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StreamKind {
    /// Symbols of an integer class, offset to be unsigned.
    Symbols(TensorClass),
    /// One byte of every scale; 0 is the low one.
    Scale(u8),
    /// One byte of every half.
    Half(u8),
    /// One byte of every single.
    Single(u8),
}

impl StreamKind {
    /// Every stream, in file order.
    pub const ALL: [StreamKind; 11] = [
        StreamKind::Symbols(TensorClass::Int5),
        StreamKind::Symbols(TensorClass::Int6),
        StreamKind::Symbols(TensorClass::Int8),
        StreamKind::Scale(0),
        StreamKind::Scale(1),
        StreamKind::Half(0),
        StreamKind::Half(1),
        StreamKind::Single(0),
        StreamKind::Single(1),
        StreamKind::Single(2),
        StreamKind::Single(3),
    ];

    pub fn code(self) -> u8 {
        match self {
            StreamKind::Symbols(class) => class.code(),
            StreamKind::Scale(byte) => 0x40 | byte,
            StreamKind::Half(byte) => 0x50 | byte,
            StreamKind::Single(byte) => 0x60 | byte,
        }
    }

    pub fn from_code(code: u8) -> Option<Self> {
        StreamKind::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The part of the file it counts towards.
    pub fn part(self) -> Part {
        match self {
            StreamKind::Symbols(class) => Part::Class(class),
            StreamKind::Scale(_) => Part::Scales,
            StreamKind::Half(_) => Part::Class(TensorClass::F16),
            StreamKind::Single(_) => Part::Class(TensorClass::F32),
        }
    }

    /// Bytes the tensors of a table put into this stream.
    pub fn expected_bytes(self, tensors: &[TensorEntry]) -> usize {
        let bytes = |tensor: &TensorEntry| match self {
            StreamKind::Symbols(class) if tensor.class == class => tensor.elements(),
            StreamKind::Scale(_) if tensor.class.symbols().is_some() => scale_count(&tensor.shape),
            StreamKind::Half(_) if tensor.class == TensorClass::F16 => tensor.elements(),
            StreamKind::Single(_) if tensor.class == TensorClass::F32 => tensor.elements(),
            _ => 0,
        };
        tensors.iter().map(bytes).sum()
    }
}

/// Symbols are stored as `symbol + 128`, so that 0 of every class is the same byte.
const SYMBOL_BIAS: i16 = 128;

/// The bytes of one stream.
pub(super) fn gather(kind: StreamKind, tensors: &[PackedTensor]) -> Vec<u8> {
    let mut out = Vec::new();
    for tensor in tensors {
        match (kind, tensor.values()) {
            (StreamKind::Symbols(wanted), PackedValues::Integers { class, symbols, .. }) if wanted == *class => {
                out.extend(symbols.iter().map(|&symbol| (i16::from(symbol) + SYMBOL_BIAS) as u8));
            }
            (StreamKind::Scale(byte), PackedValues::Integers { scales, .. }) => push_halves(&mut out, scales, byte),
            (StreamKind::Half(byte), PackedValues::F16(values)) => push_halves(&mut out, values, byte),
            (StreamKind::Single(byte), PackedValues::F32(values)) => {
                out.extend(values.iter().map(|value| (value.to_bits() >> (8 * u32::from(byte))) as u8));
            }
            _ => {}
        }
    }
    out
}

fn push_halves(out: &mut Vec<u8>, values: &[f16], byte: u8) {
    out.extend(values.iter().map(|value| (value.to_bits() >> (8 * u32::from(byte))) as u8));
}

/// Decoded streams, handed out from the front tensor by tensor.
pub(super) struct Streams<'a> {
    /// (kind, bytes not yet handed out), in the order of [`StreamKind::ALL`].
    rest: Vec<(StreamKind, &'a [u8])>,
}

impl<'a> Streams<'a> {
    /// Streams with the lengths [`StreamKind::expected_bytes`] gives.
    pub fn new(streams: &'a [(StreamKind, Vec<u8>)]) -> Self {
        Streams { rest: streams.iter().map(|(kind, bytes)| (*kind, bytes.as_slice())).collect() }
    }

    fn take(&mut self, kind: StreamKind, n: usize) -> &'a [u8] {
        let Some((_, rest)) = self.rest.iter_mut().find(|(known, _)| *known == kind) else { return &[] };
        let (taken, left) = rest.split_at(n.min(rest.len()));
        *rest = left;
        taken
    }

    fn take_halves(&mut self, kind: fn(u8) -> StreamKind, n: usize) -> Vec<f16> {
        let (low, high) = (self.take(kind(0), n), self.take(kind(1), n));
        low.iter().zip(high).map(|(&low, &high)| f16::from_le_bytes([low, high])).collect()
    }

    /// The next tensor of the table. `origin` is where faults are reported.
    pub fn next(&mut self, entry: &TensorEntry, origin: u64) -> Result<PackedTensor, Trouble> {
        let n = entry.elements();
        let values = match entry.class {
            TensorClass::F16 => PackedValues::F16(self.take_halves(StreamKind::Half, n)),
            TensorClass::F32 => {
                let [a, b, c, d] = [0, 1, 2, 3].map(|byte| self.take(StreamKind::Single(byte), n));
                let bytes = a.iter().zip(b).zip(c).zip(d);
                PackedValues::F32(bytes.map(|(((&a, &b), &c), &d)| f32::from_le_bytes([a, b, c, d])).collect())
            }
            class => {
                let symbols = self.take(StreamKind::Symbols(class), n);
                let symbols = symbols.iter().map(|&byte| (i16::from(byte) - SYMBOL_BIAS) as i8).collect();
                let scales = self.take_halves(StreamKind::Scale, scale_count(&entry.shape));
                PackedValues::Integers { class, symbols, scales }
            }
        };
        let what = || format!("tensor `{}`: the values do not fit class {} and its shape", entry.name, entry.class);
        PackedTensor::new(entry.name.clone(), entry.shape.clone(), values).ok_or_else(|| Trouble::at(origin, what()))
    }
}
