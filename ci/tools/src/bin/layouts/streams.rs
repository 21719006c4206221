//! The integers and floats of a packed model as streams of bytes, in candidate orders.

use std::collections::BTreeMap;

use golf_harness::artifact::inspect::entropy;
use golf_harness::artifact::{PackedTensor, PackedValues};
use golf_harness::quant::TensorClass;

/// One row of integers.
pub struct Row<'a> {
    pub tensor: usize,
    pub class: TensorClass,
    pub scale: f32,
    pub symbols: &'a [i8],
}

pub fn rows(tensors: &[PackedTensor]) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for (tensor, packed) in tensors.iter().enumerate() {
        if let PackedValues::Integers { class, symbols, scales } = packed.values() {
            let columns = (symbols.len() / scales.len().max(1)).max(1);
            let parts = symbols.chunks(columns).zip(scales);
            rows.extend(parts.map(|(symbols, scale)| Row { tensor, class: *class, scale: scale.to_f32(), symbols }));
        }
    }
    rows
}

/// Mean magnitude in steps.
pub fn magnitude(row: &Row<'_>) -> f64 {
    entropy::mean_magnitude(row.symbols.iter().copied())
}

/// Mean scale of every tensor, by index.
pub fn mean_scales(rows: &[Row<'_>]) -> BTreeMap<usize, f64> {
    let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for row in rows {
        let (sum, n) = sums.entry(row.tensor).or_default();
        *sum += f64::from(row.scale);
        *n += 1.0;
    }
    sums.into_iter().map(|(tensor, (sum, n))| (tensor, sum / n)).collect()
}

pub fn bytes_of(symbols: &[i8]) -> Vec<u8> {
    symbols.iter().map(|&symbol| symbol as u8).collect()
}

/// Bytes of scales (0, 1), halves (4, 5) and singles (8..12), split by significance.
pub fn float_streams(tensors: &[PackedTensor]) -> Vec<(usize, Vec<u8>)> {
    let mut streams: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut push = |kind: usize, bytes: &[u8]| {
        bytes.iter().enumerate().for_each(|(i, &byte)| streams.entry(kind + i).or_default().push(byte));
    };
    for tensor in tensors {
        match tensor.values() {
            PackedValues::Integers { scales, .. } => scales.iter().for_each(|scale| push(0, &scale.to_le_bytes())),
            PackedValues::F16(values) => values.iter().for_each(|value| push(4, &value.to_le_bytes())),
            PackedValues::F32(values) => values.iter().for_each(|value| push(8, &value.to_le_bytes())),
        }
    }
    streams.into_iter().collect()
}

/// Everything as `torch.save` orders it, without its container.
pub fn in_order(tensors: &[PackedTensor]) -> Vec<u8> {
    let mut out = Vec::new();
    for tensor in tensors {
        match tensor.values() {
            PackedValues::Integers { symbols, scales, .. } => {
                out.extend(bytes_of(symbols));
                out.extend(scales.iter().flat_map(|scale| scale.to_le_bytes()));
            }
            PackedValues::F16(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            PackedValues::F32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        }
    }
    out
}

/// How the rows of a class follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    Rows,
    Columns,
    Scale,
    RelativeScale,
    Magnitude,
}

/// Symbols of each integer class in an order.
fn symbols_by_class(tensors: &[PackedTensor], order: Order) -> Vec<(TensorClass, Vec<i8>)> {
    let all = rows(tensors);
    let means = mean_scales(&all);
    let mut streams = Vec::new();
    for class in [TensorClass::Int5, TensorClass::Int6, TensorClass::Int8] {
        let mut members: Vec<&Row<'_>> = all.iter().filter(|row| row.class == class).collect();
        let relative = |row: &Row<'_>| f64::from(row.scale) / means.get(&row.tensor).copied().unwrap_or(1.0);
        match order {
            Order::Rows | Order::Columns => {}
            Order::Scale => members.sort_by(|a, b| a.scale.total_cmp(&b.scale)),
            Order::RelativeScale => members.sort_by(|a, b| relative(a).total_cmp(&relative(b))),
            Order::Magnitude => members.sort_by(|a, b| magnitude(a).total_cmp(&magnitude(b))),
        }
        let mut stream = Vec::new();
        if order == Order::Columns {
            for group in members.chunk_by(|a, b| a.tensor == b.tensor) {
                let columns = group.first().map_or(0, |row| row.symbols.len());
                (0..columns).for_each(|column| stream.extend(group.iter().filter_map(|row| row.symbols.get(column))));
            }
        } else {
            members.iter().for_each(|row| stream.extend_from_slice(row.symbols));
        }
        streams.push((class, stream));
    }
    streams
}

pub fn by_class(tensors: &[PackedTensor], order: Order) -> Vec<Vec<u8>> {
    let symbols = symbols_by_class(tensors, order).into_iter().map(|(_, symbols)| bytes_of(&symbols));
    symbols.chain(float_streams(tensors).into_iter().map(|(_, bytes)| bytes)).collect()
}

/// int5 and int6 without gaps, least significant bit first.
pub fn bit_packed(tensors: &[PackedTensor]) -> Vec<Vec<u8>> {
    let pack = |(class, symbols): (TensorClass, Vec<i8>)| {
        let (bits, mut out, mut held, mut n) = (class.bits(), Vec::new(), 0u32, 0);
        for symbol in symbols {
            held |= (u32::from(symbol as u8) & ((1 << bits) - 1)) << n;
            n += bits;
            while n >= 8 {
                out.push(held as u8);
                held >>= 8;
                n -= 8;
            }
        }
        out.push(held as u8);
        out
    };
    let symbols = symbols_by_class(tensors, Order::Rows).into_iter().map(pack);
    symbols.chain(float_streams(tensors).into_iter().map(|(_, bytes)| bytes)).collect()
}

/// The upper four bits of two neighbors in a byte, so that Huffman's whole bits are shared by two; low bits packed raw.
pub fn nibble_pairs(tensors: &[PackedTensor], order: Order) -> Vec<Vec<u8>> {
    let mut streams = Vec::new();
    for (class, symbols) in symbols_by_class(tensors, order) {
        let low = class.bits() - 4;
        if class == TensorClass::Int8 {
            streams.push(bytes_of(&symbols));
            continue;
        }
        let bias = 1i16 << (class.bits() - 1);
        let unsigned: Vec<u8> = symbols.iter().map(|&symbol| (i16::from(symbol) + bias) as u8).collect();
        streams.push(
            unsigned.chunks(2).map(|pair| pair.iter().fold(0, |byte, symbol| byte << 4 | symbol >> low)).collect(),
        );
        let each = (8 / low) as usize;
        let mask = (1u8 << low) - 1;
        streams.push(
            unsigned
                .chunks(each)
                .map(|group| group.iter().fold(0, |byte, symbol| byte << low | symbol & mask))
                .collect(),
        );
    }
    streams.into_iter().chain(float_streams(tensors).into_iter().map(|(_, bytes)| bytes)).collect()
}
