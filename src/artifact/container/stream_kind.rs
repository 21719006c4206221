//! What the streams of a file hold.

use std::ops::RangeInclusive;

use super::Part;
use crate::quant::TensorClass;

/// What a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::artifact) enum StreamKind {
    /// The magnitude bucket of each row, see [`magnitude_bucket`](super::layout::magnitude_bucket).
    MagnitudeBuckets,
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
    pub const ALL: [StreamKind; 12] = [
        StreamKind::MagnitudeBuckets,
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
            StreamKind::MagnitudeBuckets => 0x30,
            StreamKind::Symbols(class) => class.code(),
            StreamKind::Scale(byte) => 0x40 | byte,
            StreamKind::Half(byte) => 0x50 | byte,
            StreamKind::Single(byte) => 0x60 | byte,
        }
    }

    pub fn from_code(code: u8) -> Option<Self> {
        StreamKind::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The part of the file it counts toward.
    pub fn part(self) -> Part {
        match self {
            StreamKind::Symbols(class) => Part::Class(class),
            StreamKind::MagnitudeBuckets | StreamKind::Scale(_) => Part::Scales,
            StreamKind::Half(_) => Part::Class(TensorClass::F16),
            StreamKind::Single(_) => Part::Class(TensorClass::F32),
        }
    }

    /// The bytes that can occur in the stream.
    pub fn alphabet(self) -> RangeInclusive<u8> {
        let biased = |symbol: i8| (i16::from(symbol) + SYMBOL_BIAS) as u8;
        match self {
            StreamKind::Symbols(class) => class.symbols().map_or(0..=255, |r| biased(*r.start())..=biased(*r.end())),
            _ => 0..=255,
        }
    }
}

impl std::fmt::Display for StreamKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StreamKind::MagnitudeBuckets => f.pad("magnitude buckets"),
            StreamKind::Symbols(class) => class.fmt(f),
            StreamKind::Scale(byte) => write!(f, "scales, byte {byte}"),
            StreamKind::Half(byte) => write!(f, "f16, byte {byte}"),
            StreamKind::Single(byte) => write!(f, "f32, byte {byte}"),
        }
    }
}

/// Symbols are stored as `symbol + 128`, so that 0 of every class is the same byte.
pub(super) const SYMBOL_BIAS: i16 = 128;
