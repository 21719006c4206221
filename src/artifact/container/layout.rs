//! How tensors are laid out in streams before compression.
//!
//! Layout 2 puts values of one kind together: the rows' magnitude buckets, all int5 symbols, all int6 symbols, all int8
//! symbols, the scales' low bytes and high bytes, the halves' low and high bytes, and the bytes of f32 values by
//! significance. Tensors keep their order within a stream, except that the rows of an integer class are sorted by
//! magnitude bucket (ties in the tensors' order): a coder then meets one distribution at a time. The bucket is one byte a row;
//! it pays for itself many times over (docs/packing.md).

use half::f16;

use super::Defect;
use super::stream_kind::{SYMBOL_BIAS, StreamKind};
use super::table::TensorEntry;
use crate::artifact::packed::scale_count;
use crate::artifact::{PackedTensor, PackedValues};
use crate::quant::TensorClass;

/// Which arrangement the streams follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Values by class, rows by magnitude bucket, multi-byte values split by significance.
    RowsByMagnitude,
}

impl Layout {
    pub fn code(self) -> u8 {
        match self {
            Layout::RowsByMagnitude => 2,
        }
    }

    pub fn from_code(code: u8) -> Option<Self> {
        (code == Layout::RowsByMagnitude.code()).then_some(Layout::RowsByMagnitude)
    }
}

/// The magnitude bucket of a row's symbols: their mean magnitude on a logarithmic grid, eight steps an octave; 0 for none.
pub(super) fn magnitude_bucket(symbols: &[i8]) -> u8 {
    let sum: u64 = symbols.iter().map(|&symbol| u64::from(symbol.unsigned_abs())).sum();
    // In 1/256 steps: at most 128 * 256, so the result is at most 1 + 8 * 15 + 7.
    let mean = (sum << 8).checked_div(symbols.len() as u64).unwrap_or(0);
    match mean.checked_ilog2() {
        None => 0,
        Some(octave) => 1 + 8 * octave as u8 + ((mean << 3 >> octave) & 7) as u8,
    }
}

/// The rows of one integer class and where they lie in its stream.
#[derive(Clone, Debug, Default)]
pub(super) struct RowOrder {
    /// Magnitude bucket and length of the rows, in the order of the stream.
    pub runs: Vec<(u8, usize)>,
    /// Where each row starts in the stream, in the order of the table.
    starts: Vec<usize>,
}

impl RowOrder {
    /// The order for rows given as (bucket, length) in the order of the table.
    fn new(rows: &[(u8, usize)]) -> Self {
        let mut sorted: Vec<(usize, (u8, usize))> = rows.iter().copied().enumerate().collect();
        sorted.sort_by_key(|(_, (bucket, _))| *bucket);
        let mut order = RowOrder { runs: Vec::with_capacity(rows.len()), starts: vec![0; rows.len()] };
        let mut at = 0;
        for (index, (bucket, length)) in sorted {
            order.runs.push((bucket, length));
            if let Some(start) = order.starts.get_mut(index) {
                *start = at;
            }
            at += length;
        }
        order
    }

    /// The order of a class, from the table and the buckets of all integer rows.
    pub fn of_class(class: TensorClass, tensors: &[TensorEntry], buckets: &[u8]) -> Self {
        let mut buckets = buckets.iter().copied();
        let mut rows = Vec::new();
        for tensor in tensors.iter().filter(|tensor| tensor.class.symbols().is_some()) {
            let count = scale_count(&tensor.shape);
            let length = tensor.elements().checked_div(count).unwrap_or(0);
            let buckets = buckets.by_ref().take(count);
            rows.extend(buckets.filter(|_| tensor.class == class).map(|bucket| (bucket, length)));
        }
        RowOrder::new(&rows)
    }
}

/// The bytes of one stream.
pub(super) fn gather(kind: StreamKind, tensors: &[PackedTensor]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rows: Vec<(u8, &[i8])> = Vec::new();
    for tensor in tensors {
        match (kind, tensor.values()) {
            (StreamKind::MagnitudeBuckets, PackedValues::Integers { symbols, scales, .. }) => {
                out.extend(rows_of(symbols, scales.len()).map(magnitude_bucket));
            }
            (StreamKind::Symbols(wanted), PackedValues::Integers { class, symbols, scales }) if wanted == *class => {
                rows.extend(rows_of(symbols, scales.len()).map(|row| (magnitude_bucket(row), row)));
            }
            (StreamKind::Scale(byte), PackedValues::Integers { scales, .. }) => push_halves(&mut out, scales, byte),
            (StreamKind::Half(byte), PackedValues::F16(values)) => push_halves(&mut out, values, byte),
            (StreamKind::Single(byte), PackedValues::F32(values)) => {
                out.extend(values.iter().map(|value| (value.to_bits() >> (8 * u32::from(byte))) as u8));
            }
            _ => {}
        }
    }
    rows.sort_by_key(|(bucket, _)| *bucket);
    for (_, row) in rows {
        out.extend(row.iter().map(|&symbol| (i16::from(symbol) + SYMBOL_BIAS) as u8));
    }
    out
}

/// A tensor's symbols cut into as many rows as it has scales, also where rows are empty.
pub(super) fn rows_of(symbols: &[i8], count: usize) -> impl Iterator<Item = &[i8]> {
    let length = symbols.len().checked_div(count).unwrap_or(0);
    (0..count).map(move |row| symbols.get(row * length..(row + 1) * length).unwrap_or(&[]))
}

fn push_halves(out: &mut Vec<u8>, values: &[f16], byte: u8) {
    out.extend(values.iter().map(|value| (value.to_bits() >> (8 * u32::from(byte))) as u8));
}

/// Decoded streams, handed out from the front tensor by tensor.
pub(super) struct Streams<'a> {
    /// (kind, bytes not yet handed out), in the order of [`StreamKind::ALL`]; whole streams for symbols.
    rest: Vec<(StreamKind, &'a [u8])>,
    /// Starts of the rows not yet handed out, by integer class.
    starts: Vec<(TensorClass, std::vec::IntoIter<usize>)>,
}

impl<'a> Streams<'a> {
    /// Streams with the lengths [`bytes_of`](super::table::bytes_of) gives, of the tensors of a table.
    pub fn new(streams: &'a [(StreamKind, Vec<u8>)], tensors: &[TensorEntry]) -> Self {
        let rest: Vec<_> = streams.iter().map(|(kind, bytes)| (*kind, bytes.as_slice())).collect();
        let buckets =
            rest.iter().find(|(kind, _)| *kind == StreamKind::MagnitudeBuckets).map_or(&[][..], |(_, bytes)| bytes);
        let integer = TensorClass::ALL.into_iter().filter(|class| class.symbols().is_some());
        let starts = |class| (class, RowOrder::of_class(class, tensors, buckets).starts.into_iter());
        Streams { starts: integer.map(starts).collect(), rest }
    }

    /// The symbols of the next `count` rows of a class, `length` each.
    fn take_rows(&mut self, class: TensorClass, count: usize, length: usize) -> Vec<i8> {
        let kind = StreamKind::Symbols(class);
        let stream = self.rest.iter().find(|(known, _)| *known == kind).map_or(&[][..], |(_, bytes)| bytes);
        let mut symbols = Vec::with_capacity(stream.len().min(count.saturating_mul(length)));
        if let Some((_, starts)) = self.starts.iter_mut().find(|(known, _)| *known == class) {
            for start in starts.by_ref().take(count) {
                let row = stream.get(start..start + length).unwrap_or(&[]);
                symbols.extend(row.iter().map(|&byte| (i16::from(byte) - SYMBOL_BIAS) as i8));
            }
        }
        symbols
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
    pub fn next(&mut self, entry: &TensorEntry, origin: u64) -> Result<PackedTensor, Defect> {
        let n = entry.elements();
        let values = match entry.class {
            TensorClass::F16 => PackedValues::F16(self.take_halves(StreamKind::Half, n)),
            TensorClass::F32 => {
                let [a, b, c, d] = [0, 1, 2, 3].map(|byte| self.take(StreamKind::Single(byte), n));
                let bytes = a.iter().zip(b).zip(c).zip(d);
                PackedValues::F32(bytes.map(|(((&a, &b), &c), &d)| f32::from_le_bytes([a, b, c, d])).collect())
            }
            class => {
                let rows = scale_count(&entry.shape);
                let symbols = self.take_rows(class, rows, n.checked_div(rows).unwrap_or(0));
                let scales = self.take_halves(StreamKind::Scale, rows);
                PackedValues::Integers { class, symbols, scales }
            }
        };
        let what = || format!("tensor `{}`: the values do not fit class {} and its shape", entry.name, entry.class);
        PackedTensor::new(entry.name.clone(), entry.shape.clone(), values).ok_or_else(|| Defect::at(origin, what()))
    }
}
