//! Where the bytes of a packed model go: entropy floors, and zstd on candidate layouts of the same tensors.
//!
//! `cargo run --release --example layouts [-- --checkpoint FILE] [--write FILE]`
//!
//! Without a checkpoint the weights are drawn: PR #286's full shape, rows of Gaussian and Laplace values whose
//! spread differs from row to row and from tensor to tensor, always the same numbers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use golf_harness::artifact::foreign::torch_ptz;
use golf_harness::artifact::inspect::entropy::{self, grouped, octave_bucket};
use golf_harness::artifact::{PackedTensor, PackedValues, assign, encode, quantize};
use golf_harness::interrupt::Interrupt;
use golf_harness::manifest::QuantizationConfig;
use golf_harness::model::{HostTensor, ModelConfig, Params, layout, read_safetensors, write_safetensors};
use golf_harness::progress::Progress;
use golf_harness::quant::{Codec, TensorClass};
use golf_harness::random::RandomStream;
use rayon::prelude::*;
use zstd::zstd_safe::{CParameter, Strategy};

#[derive(Parser)]
struct Args {
    /// Measure these weights instead of drawn ones
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// Write the drawn weights here, for other programs to pack
    #[arg(long)]
    write: Option<PathBuf>,
    /// Tensors with at most this many elements stay f16
    #[arg(long, default_value_t = QuantizationConfig::default().passthrough_max_elements)]
    passthrough: u64,
    /// Measure only layouts with this in their names
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Skip the layouts that take minutes
    #[arg(long)]
    quick: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let params = match &args.checkpoint {
        Some(path) => read_safetensors(path)?,
        None => draw(),
    };
    if let Some(path) = &args.write {
        write_safetensors(path, &params)?;
    }
    let config = QuantizationConfig { passthrough_max_elements: args.passthrough, ..Default::default() };
    let sizes: Vec<_> = params.iter().map(|(name, tensor)| (name, tensor.len())).collect();
    let rules = assign(&sizes, &config)?;
    let tensors: Vec<PackedTensor> = params
        .iter()
        .zip(&rules)
        .map(|((name, tensor), rule)| quantize(name, tensor, rule.class(), &config))
        .collect::<Result<_, _>>()?;
    drop(params);

    floors(&tensors);
    let run = Run { only: args.only.clone() };
    let single = |name: &str, f: &dyn Fn() -> Vec<u8>| {
        if run.skips(name) {
            return;
        }
        let start = Instant::now();
        line(name, f().len(), start);
    };
    println!("\n{:<58} {:>12} {:>8}", "layout", "bytes", "seconds");
    if !args.quick {
        single("torch.save + zstd 22, one frame, one thread", &|| torch_ptz(&tensors, &rules, 22).unwrap_or_default());
    }
    for codec in [Codec::Zstd, Codec::Ans] {
        single(&format!("pack --codec {codec:?}, this crate's container"), &|| {
            let encoded = encode(&tensors, codec, 22, &Progress::hidden(), &Interrupt::none());
            encoded.map(|encoded| encoded.bytes).unwrap_or_default()
        });
    }
    let (mixed, classes) = (vec![in_order(&tensors)], by_class(&tensors, Order::Rows));
    if !args.quick {
        slow(&run, &tensors, &mixed, &classes);
    }
    fast(&run, &tensors, &mixed, &classes);
    Ok(())
}

/// No cut: a frame a stream.
const WHOLE: usize = usize::MAX;

fn plain(level: i32) -> Setting {
    Setting { level, ..Setting::default() }
}

/// Layouts that take minutes: those of the highest levels.
fn slow(run: &Run, tensors: &[PackedTensor], mixed: &[Vec<u8>], classes: &[Vec<u8>]) {
    run.measure("tensors in order, zstd 22, one frame", mixed, plain(22), WHOLE);
    run.measure("by class, zstd 22, a frame a stream", classes, plain(22), WHOLE);
    run.measure("by class, zstd 22, window 2^17", classes, Setting { window_log: Some(17), ..plain(22) }, WHOLE);
    run.measure("by class, zstd 22, frames of 1 MiB", classes, plain(22), 1 << 20);
    run.measure("by class, zstd 22, frames of 128 KiB", classes, plain(22), 1 << 17);
    run.measure("by class, transposed, zstd 22, 1 MiB", &by_class(tensors, Order::Columns), plain(22), 1 << 20);
    run.measure("bits packed (5 and 6 a weight), zstd 22, 1 MiB", &bit_packed(tensors), plain(22), 1 << 20);
    run.measure("by class, zstd 19, frames of 1 MiB", classes, plain(19), 1 << 20);
    for target in [1 << 12, 1 << 14, 1 << 16] {
        let name = format!("by class, zstd 22, 1 MiB, blocks of {} KiB", target >> 10);
        run.measure(&name, classes, Setting { target_block: Some(target), ..plain(22) }, 1 << 20);
    }
    for size in [1 << 12, 1 << 14, 110 << 10] {
        let name = format!("by class, zstd 22, 128 KiB, dictionary {} KiB", size >> 10);
        run.measure_trained(&name, classes, plain(22), 1 << 17, size);
    }
}

/// Layouts of the low levels.
fn fast(run: &Run, tensors: &[PackedTensor], mixed: &[Vec<u8>], classes: &[Vec<u8>]) {
    let huffman = Setting { level: 1, literals_only: true, ..Setting::default() };
    for target in [1 << 12, 1 << 14, 1 << 16] {
        let name = format!("by class, literals only, 1 MiB, blocks of {} KiB", target >> 10);
        run.measure(&name, classes, Setting { target_block: Some(target), ..huffman }, 1 << 20);
    }
    for shift in [17, 14] {
        let name = format!("by class, literals only, {} KiB, dictionary 4 KiB", 1 << (shift - 10));
        run.measure_trained(&name, classes, huffman, 1 << shift, 1 << 12);
    }
    for level in [9, 3, 1] {
        run.measure(&format!("by class, zstd {level}, frames of 1 MiB"), classes, plain(level), 1 << 20);
    }
    run.measure("tensors in order, literals only", mixed, huffman, 1 << 20);
    for shift in [20, 17, 16, 15, 14] {
        run.measure(
            &format!("by class, literals only, frames of {} KiB", 1 << (shift - 10)),
            classes,
            huffman,
            1 << shift,
        );
    }
    for (name, order) in [
        ("rows by scale", Order::Scale),
        ("rows by scale over their tensor's mean", Order::RelativeScale),
        ("rows by spread in steps (needs a permutation)", Order::Spread),
    ] {
        let streams = by_class(tensors, order);
        for shift in [17, 16, 15] {
            let name = format!("{name}, literals only, {} KiB", 1 << (shift - 10));
            run.measure(&name, &streams, huffman, 1 << shift);
        }
    }
    for order in [Order::Rows, Order::RelativeScale] {
        let pairs = nibble_pairs(tensors, order);
        run.measure(&format!("pairs of high nibbles + low bits, {order:?}, 128 KiB"), &pairs, huffman, 1 << 17);
        run.measure(&format!("pairs of high nibbles + low bits, {order:?}, 64 KiB"), &pairs, huffman, 1 << 16);
    }
}

/// Weights of the default model: what training leaves, in shape and scale, from a seeded generator.
fn draw() -> Params {
    let specs = layout(&ModelConfig::default());
    let entries = specs.par_iter().map(|spec| {
        let mut random = RandomStream::new(4, &spec.name);
        let columns = spec.shape.last().copied().unwrap_or(1).max(1);
        let mut tensor = HostTensor::zeros(&spec.shape);
        let tensor_spread = 0.03 * (0.25 * random.normal()).exp();
        let is_matrix = spec.name.ends_with(".weight");
        for row in tensor.data_mut().chunks_mut(columns) {
            // A quarter of the rows has Laplace tails; spreads differ by a factor of about 1.2 between rows.
            let spread = tensor_spread * (0.2 * random.normal()).exp();
            let laplace = random.below(4) == 0;
            for value in row {
                let draw = if laplace {
                    let exponential = -(1.0 - random.uniform()).ln() / std::f64::consts::SQRT_2;
                    if random.bits() & 1 == 0 { exponential } else { -exponential }
                } else {
                    random.normal()
                };
                *value = if is_matrix { (spread * draw) as f32 } else { (1.0 + 0.2 * draw) as f32 };
            }
        }
        (spec.name.clone(), tensor)
    });
    Params::from_entries(entries.collect())
}

/// One row of integers.
struct Row<'a> {
    tensor: usize,
    class: TensorClass,
    scale: f32,
    symbols: &'a [i8],
}

fn rows(tensors: &[PackedTensor]) -> Vec<Row<'_>> {
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
fn spread(row: &Row<'_>) -> f64 {
    entropy::spread(row.symbols.iter().copied())
}

/// Mean scale of every tensor, by index.
fn mean_scales(rows: &[Row<'_>]) -> BTreeMap<usize, f64> {
    let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for row in rows {
        let (sum, n) = sums.entry(row.tensor).or_default();
        *sum += f64::from(row.scale);
        *n += 1.0;
    }
    sums.into_iter().map(|(tensor, (sum, n))| (tensor, sum / n)).collect()
}

fn bytes_of(symbols: &[i8]) -> Vec<u8> {
    symbols.iter().map(|&symbol| symbol as u8).collect()
}

fn floors(tensors: &[PackedTensor]) {
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
            rows.iter().map(|row| ((row.class, octave_bucket(spread(row), per_octave)), bytes_of(row.symbols))),
        );
        print(&format!("symbols, class x row spread ({per_octave} an octave)"), floor);
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

/// Bytes of scales (0, 1), halves (4, 5) and singles (8..12), split by significance.
fn float_streams(tensors: &[PackedTensor]) -> Vec<(usize, Vec<u8>)> {
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
fn in_order(tensors: &[PackedTensor]) -> Vec<u8> {
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
enum Order {
    Rows,
    Columns,
    Scale,
    RelativeScale,
    Spread,
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
            Order::Spread => members.sort_by(|a, b| spread(a).total_cmp(&spread(b))),
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

fn by_class(tensors: &[PackedTensor], order: Order) -> Vec<Vec<u8>> {
    let symbols = symbols_by_class(tensors, order).into_iter().map(|(_, symbols)| bytes_of(&symbols));
    symbols.chain(float_streams(tensors).into_iter().map(|(_, bytes)| bytes)).collect()
}

/// int5 and int6 without gaps, least significant bit first.
fn bit_packed(tensors: &[PackedTensor]) -> Vec<Vec<u8>> {
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
fn nibble_pairs(tensors: &[PackedTensor], order: Order) -> Vec<Vec<u8>> {
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

#[derive(Clone, Copy, Default)]
struct Setting {
    level: i32,
    /// The fastest strategy with long minimum matches: in practice Huffman codes and nothing else.
    literals_only: bool,
    window_log: Option<u32>,
    /// Compressed bytes of a block that are aimed at.
    target_block: Option<u32>,
}

fn compress(bytes: &[u8], setting: Setting, dictionary: &[u8]) -> std::io::Result<usize> {
    let mut compressor = zstd::bulk::Compressor::with_dictionary(setting.level, dictionary)?;
    compressor.set_parameter(CParameter::ContentSizeFlag(false))?;
    compressor.set_parameter(CParameter::ChecksumFlag(false))?;
    if setting.literals_only {
        compressor.set_parameter(CParameter::Strategy(Strategy::ZSTD_fast))?;
        compressor.set_parameter(CParameter::MinMatch(7))?;
    }
    if let Some(log) = setting.window_log {
        compressor.set_parameter(CParameter::WindowLog(log))?;
    }
    if let Some(bytes) = setting.target_block {
        compressor.set_parameter(CParameter::TargetCBlockSize(bytes))?;
    }
    Ok(compressor.compress(bytes)?.len())
}

/// Which layouts to measure.
struct Run {
    only: String,
}

impl Run {
    fn skips(&self, name: &str) -> bool {
        !name.contains(&self.only)
    }

    /// Compresses streams cut into frames, on all cores; 3 bytes a frame are added for its place in a table.
    fn measure(&self, name: &str, streams: &[Vec<u8>], setting: Setting, frame: usize) {
        if self.skips(name) {
            return;
        }
        let start = Instant::now();
        let frames: Vec<&[u8]> =
            streams.iter().flat_map(|stream| stream.chunks(frame.min(stream.len().max(1)))).collect();
        match frames.par_iter().map(|bytes| compress(bytes, setting, &[])).sum::<std::io::Result<usize>>() {
            Ok(bytes) => line(name, bytes + 3 * frames.len(), start),
            Err(error) => println!("{name:<58} {error}"),
        }
    }

    /// [`Run::measure`] with a dictionary of at most `size` bytes for each stream, trained on its own frames and counted; streams
    /// of too few frames to train on do without.
    fn measure_trained(&self, name: &str, streams: &[Vec<u8>], setting: Setting, frame: usize, size: usize) {
        if self.skips(name) {
            return;
        }
        let start = Instant::now();
        let (mut bytes, mut dictionaries) = (0, 0);
        for stream in streams {
            let frames: Vec<&[u8]> = stream.chunks(frame).collect();
            let dictionary = zstd::dict::from_samples(&frames, size).unwrap_or_default();
            dictionaries += dictionary.len();
            match frames.par_iter().map(|bytes| compress(bytes, setting, &dictionary)).sum::<std::io::Result<usize>>() {
                Ok(compressed) => bytes += compressed + 3 * frames.len() + dictionary.len(),
                Err(error) => return println!("{name:<58} {error}"),
            }
        }
        line(&format!("{name} ({dictionaries} in dictionaries)"), bytes, start);
    }
}

fn line(name: &str, bytes: usize, start: Instant) {
    println!("{name:<58} {bytes:>12} {:>8.2}", start.elapsed().as_secs_f64());
}
