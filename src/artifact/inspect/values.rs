//! What the values of one tensor tell about how far they can be compressed.

use schemars::JsonSchema;
use serde::Serialize;

use super::Kind;
use super::entropy::{self, Histogram};
use crate::artifact::foreign::Dtype;
use crate::artifact::{PackedTensor, PackedValues, scale_count};
use crate::quant::TensorClass;

/// Wider values are counted in pieces: a histogram is kept for each position.
const MAX_WIDTH: usize = 64;

/// Values as bytes, least significant first.
pub(super) struct Values<'a> {
    pub kind: Kind,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
}

/// Counts over the values of one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// Order-0 entropy of a value in bits: of the symbols of an integer class, else the sum over byte positions.
    pub bits_per_value: f64,
    /// Bytes that all values take at that entropy.
    pub order0_bytes: f64,
    /// Values that are zero.
    pub zeros: u64,
    /// Different values in use, of how many there could be; values of one byte only.
    pub symbols: Option<SymbolsUsed>,
}

/// How much of an alphabet is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SymbolsUsed {
    /// Different symbols that occur.
    pub used: usize,
    /// Symbols of the class.
    pub of: usize,
}

impl Kind {
    /// Bytes of a value before compression.
    pub(super) fn width(self) -> usize {
        match self {
            Kind::Class(TensorClass::Int5 | TensorClass::Int6 | TensorClass::Int8) => 1,
            Kind::Class(TensorClass::F16) => Dtype::F16.size(),
            Kind::Class(TensorClass::F32) => Dtype::F32.size(),
            // Text of no letters, for one, takes no bytes.
            Kind::Dtype(dtype) => dtype.size().clamp(1, MAX_WIDTH),
        }
    }

    fn is_float(self) -> bool {
        let floats = [Kind::Class(TensorClass::F16), Kind::Class(TensorClass::F32)];
        floats.contains(&self)
            || matches!(
                self,
                Kind::Dtype(Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F8E4M3 | Dtype::F8E5M2)
            )
    }

    fn alphabet(self) -> usize {
        match self {
            Kind::Class(class) => class.symbols().map_or(256, Iterator::count),
            Kind::Dtype(_) => 256,
        }
    }
}

impl Values<'_> {
    /// Number of values.
    pub fn count(&self) -> u64 {
        (self.bytes.len() / self.kind.width()) as u64
    }

    /// Rows that have a scale of their own: those of a matrix, else all values together.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let length = self.bytes.len().checked_div(scale_count(self.shape)).unwrap_or(0);
        self.bytes.chunks(length.max(1))
    }

    /// A histogram for each byte position of a value.
    pub fn histograms(&self) -> Vec<Histogram> {
        let width = self.kind.width();
        let position = |position| {
            let mut histogram = Histogram::default();
            histogram.add_position(self.bytes, position, width);
            histogram
        };
        (0..width).map(position).collect()
    }

    /// The counts.
    pub fn statistics(&self) -> Statistics {
        let histograms = self.histograms();
        let order0_bytes = entropy::bytes(histograms.iter());
        let symbols = match histograms.as_slice() {
            [only] => Some(SymbolsUsed { used: only.used(), of: self.kind.alphabet() }),
            _ => None,
        };
        Statistics {
            bits_per_value: order0_bytes * 8.0 / self.count().max(1) as f64,
            order0_bytes,
            zeros: self.zeros(),
            symbols,
        }
    }

    /// Negative zero is zero.
    fn zeros(&self) -> u64 {
        let sign = if self.kind.is_float() { 0x7f } else { 0xff };
        let is_zero = |value: &&[u8]| match value.split_last() {
            Some((last, rest)) => last & sign == 0 && rest.iter().all(|&byte| byte == 0),
            None => false,
        };
        self.bytes.chunks_exact(self.kind.width()).filter(is_zero).count() as u64
    }
}

/// The stored values of a tensor as bytes.
pub(super) fn bytes_of(tensor: &PackedTensor) -> Vec<u8> {
    match tensor.values() {
        PackedValues::Integers { symbols, .. } => symbols.iter().map(|&symbol| symbol as u8).collect(),
        PackedValues::F16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        PackedValues::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(kind: Kind, bytes: &[u8]) -> Statistics {
        Values { kind, shape: &[bytes.len() / kind.width()], bytes }.statistics()
    }

    #[test]
    fn symbols_of_a_class_are_counted() {
        let bytes = [0u8, 1, 255, 0, 0, 1, 255, 0];
        let found = statistics(Kind::Class(TensorClass::Int5), &bytes);
        assert_eq!(found.bits_per_value, 1.5);
        assert_eq!(found.order0_bytes, 1.5);
        assert_eq!((found.zeros, found.symbols), (4, Some(SymbolsUsed { used: 3, of: 32 })));
        let int8 = statistics(Kind::Class(TensorClass::Int8), &bytes);
        assert_eq!(int8.symbols, Some(SymbolsUsed { used: 3, of: 255 }));
    }

    #[test]
    fn floats_are_taken_byte_by_byte_and_minus_zero_is_zero() {
        let halves = [0x0000u16, 0x8000, 0x3c00, 0x3c00].map(u16::to_le_bytes).concat();
        let found = statistics(Kind::Class(TensorClass::F16), &halves);
        // Low bytes all zero; high bytes 1/4, 1/4, 1/2.
        assert_eq!((found.bits_per_value, found.order0_bytes), (1.5, 0.75));
        assert_eq!((found.zeros, found.symbols), (2, None));
        // The same bytes as integers hold one zero.
        assert_eq!(statistics(Kind::Dtype(Dtype::I16), &halves).zeros, 1);
        assert_eq!(statistics(Kind::Dtype(Dtype::I64), &[]).bits_per_value, 0.0);
    }
}
