//! Sizes below which codes without memory cannot get, by how finely they model.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Kind;
use super::entropy::{Histogram, bytes, mean_magnitude, octave_bucket};
use super::values::Values;
use crate::quant::TensorClass;

/// Magnitude buckets an octave: finer ones gain less than they cost (docs/packing.md).
const BUCKETS_AN_OCTAVE: f64 = 8.0;

/// Order-0 entropies of all values and scales, in bytes, histograms free of charge. Names, shapes and the like are not
/// in them. A file can lie below one where values repeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Floors {
    /// A histogram a tensor and byte position.
    pub tensors: f64,
    /// Symbols with a histogram a class and magnitude bucket of their row, anything else one a class and byte position.
    /// `None` where there are no integers with scales.
    pub row_clusters: Option<f64>,
}

/// How often each symbol of a class occurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolCounts {
    /// The class.
    pub class: TensorClass,
    /// Every symbol of the class with its number, the least symbol first.
    pub counts: Vec<(i8, u64)>,
}

/// Histograms of a model being collected.
#[derive(Default)]
pub(super) struct Collector {
    tensors: f64,
    clusters: BTreeMap<(TensorClass, i64), Histogram>,
    pooled: BTreeMap<(Kind, usize), Histogram>,
    /// By width of the scales and position.
    scales: BTreeMap<(usize, usize), Histogram>,
}

impl Collector {
    /// Adds a tensor whose own entropy is known.
    pub fn add(&mut self, values: &Values<'_>, order0_bytes: f64) {
        self.tensors += order0_bytes;
        match values.kind {
            Kind::Class(class) if class.symbols().is_some() => {
                for row in values.rows() {
                    let bucket = octave_bucket(mean_magnitude(row.iter().map(|&byte| byte as i8)), BUCKETS_AN_OCTAVE);
                    self.clusters.entry((class, bucket)).or_default().add(row);
                }
            }
            kind => {
                for position in 0..kind.width() {
                    let histogram = self.pooled.entry((kind, position)).or_default();
                    histogram.add_position(values.bytes, position, kind.width());
                }
            }
        }
    }

    /// Adds scales of so many bytes each.
    pub fn add_scales(&mut self, bytes: &[u8], width: usize) {
        for position in 0..width {
            self.scales.entry((width, position)).or_default().add_position(bytes, position, width);
        }
    }

    /// How often each symbol of each class occurs, classes in order.
    pub fn symbols(&self) -> Vec<SymbolCounts> {
        let mut classes: Vec<TensorClass> = self.clusters.keys().map(|(class, _)| *class).collect();
        classes.dedup();
        let counts = |class: TensorClass| {
            let histograms = || self.clusters.iter().filter(move |((other, _), _)| *other == class);
            let count = |symbol: i8| (symbol, histograms().map(|(_, histogram)| histogram.count(symbol as u8)).sum());
            SymbolCounts { class, counts: class.symbols().into_iter().flatten().map(count).collect() }
        };
        classes.into_iter().map(counts).collect()
    }

    /// Entropy of the scales alone.
    pub fn scales(&self) -> f64 {
        bytes(self.scales.values())
    }

    pub fn finish(&self) -> Floors {
        let clusters = bytes(self.clusters.values()) + bytes(self.pooled.values()) + self.scales();
        let row_clusters = (!self.clusters.is_empty()).then_some(clusters);
        Floors { tensors: self.tensors + self.scales(), row_clusters }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_magnitude_bucket_share_a_histogram() {
        // Two tensors, each with a narrow row (0, 1) and a wide one (-8, 7), half and half: a bit a symbol in clusters.
        let row = |a: i8, b: i8| (0..64).map(move |i| if i % 2 == 0 { a } else { b } as u8);
        let bytes: Vec<u8> = row(0, 1).chain(row(-8, 7)).collect();
        let mut collector = Collector::default();
        for _ in 0..2 {
            let values = Values { kind: Kind::Class(TensorClass::Int5), shape: &[2, 64], bytes: &bytes };
            collector.add(&values, values.statistics().order0_bytes);
        }
        collector.add_scales(&[0, 60, 1, 60], 2);
        let floors = collector.finish();
        // Four symbols alike in a tensor: 2 bits. Scales: one bit for each low byte, none for the high ones.
        assert_eq!(floors.tensors, 256.0 * 2.0 / 8.0 + 2.0 / 8.0);
        assert_eq!(floors.row_clusters, Some(256.0 / 8.0 + 2.0 / 8.0));
    }

    #[test]
    fn without_symbols_there_are_no_clusters() {
        let mut collector = Collector::default();
        collector.add(&Values { kind: Kind::Class(TensorClass::F16), shape: &[2], bytes: &[0, 1, 2, 3] }, 0.5);
        assert_eq!(collector.finish(), Floors { tensors: 0.5, row_clusters: None });
    }
}
