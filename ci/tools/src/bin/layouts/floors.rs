//! Entropy floors of a packed model.

use golf_harness::artifact::PackedTensor;
use golf_harness::artifact::inspect::entropy::{grouped, octave_bucket};
use golf_harness::quant::TensorClass;

use crate::frames::{Setting, compress};
use crate::streams::{Row, bytes_of, float_streams, magnitude, mean_scales, rows};

/// Prints them.
pub fn floors(tensors: &[PackedTensor]) {
    let rows = rows(tensors);
    let means = mean_scales(&rows);
    println!("{:<58} {:>12}", "order-0 entropy, histograms free of charge", "bytes");
    let print = |name: &str, bytes: f64| println!("{name:<58} {:>12.0}", bytes);
    for class in [TensorClass::Int5, TensorClass::Int6, TensorClass::Int8] {
        let members = || rows.iter().filter(|row| row.class == class);
        let weights: usize = members().map(|row| row.symbols.len()).sum();
        let floor = grouped(members().map(|row| ((), bytes_of(row.symbols))));
        println!(
            "{:<58} {floor:>12.0} {:>8.4} bits",
            format!("{class}: {weights} weights"),
            floor * 8.0 / weights.max(1) as f64
        );
    }
    print("symbols, a model a class", grouped(rows.iter().map(|row| (row.class, bytes_of(row.symbols)))));
    print("symbols, a model a tensor", grouped(rows.iter().map(|row| (row.tensor, bytes_of(row.symbols)))));
    let by_scale = |row: &Row<'_>| (row.class, octave_bucket(f64::from(row.scale), 4.0));
    print(
        "symbols, class x scale (4 an octave)",
        grouped(rows.iter().map(|row| (by_scale(row), bytes_of(row.symbols)))),
    );
    let relative = |row: &Row<'_>| {
        let mean = means.get(&row.tensor).copied().unwrap_or(1.0);
        (row.class, octave_bucket(f64::from(row.scale) / mean, 8.0))
    };
    let floor = grouped(rows.iter().map(|row| (relative(row), bytes_of(row.symbols))));
    print("symbols, class x scale over tensor's mean (8 an octave)", floor);
    for per_octave in [4.0, 8.0, 16.0] {
        let floor = grouped(
            rows.iter().map(|row| ((row.class, octave_bucket(magnitude(row), per_octave)), bytes_of(row.symbols))),
        );
        print(&format!("symbols, class x magnitude bucket of the row ({per_octave} an octave)"), floor);
    }
    for (i, name) in ["scales", "halves", "singles"].into_iter().enumerate() {
        let floor = grouped(float_streams(tensors).into_iter().filter(|(kind, _)| kind / 4 == i));
        print(&format!("{name}, a model a byte position"), floor);
        let streams: Vec<_> = float_streams(tensors).into_iter().filter(|(kind, _)| kind / 4 == i).collect();
        let zstd = Setting { level: 22, ..Setting::default() };
        let smaller = streams.iter().map(|(kind, bytes)| {
            let entropy = grouped([(*kind, bytes)].into_iter());
            compress(bytes, zstd, &[]).map_or(entropy, |size| entropy.min(size as f64))
        });
        print(&format!("{name}, or zstd 22 where that is smaller"), smaller.sum());
    }
}
