//! Where the bytes of a packed model go: entropy floors, and zstd on candidate layouts of the same tensors.
//!
//! `cargo run --release -p golf-harness-tools --features dictionaries --bin layouts [-- --checkpoint FILE] [--write FILE]`
//!
//! Without a checkpoint the weights are drawn: PR #286's full shape, rows of Gaussian and Laplace values whose
//! spread differs from row to row and from tensor to tensor, always the same numbers.

mod floors;
mod frames;
mod streams;

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use golf_harness::artifact::foreign::torch_ptz;
use golf_harness::artifact::{PackedTensor, assign, encode, quantize};
use golf_harness::interrupt::Interrupt;
use golf_harness::manifest::QuantizationConfig;
use golf_harness::model::{HostTensor, ModelConfig, Params, layout, read_safetensors, write_safetensors};
use golf_harness::progress::Progress;
use golf_harness::quant::Codec;
use golf_harness::random::RandomStream;
use rayon::prelude::*;

use self::floors::floors;
use self::frames::{Run, Setting, line};
use self::streams::{Order, bit_packed, by_class, in_order, nibble_pairs};

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
    candidates(&run, &tensors, args.quick);
    Ok(())
}

/// zstd on layouts of the same values; quickly those only that take seconds.
fn candidates(run: &Run, tensors: &[PackedTensor], quick: bool) {
    let (mixed, classes) = (vec![in_order(tensors)], by_class(tensors, Order::Rows));
    const WHOLE: usize = usize::MAX;
    let plain = |level| Setting { level, ..Setting::default() };
    let huffman = Setting { level: 1, literals_only: true, ..Setting::default() };
    if !quick {
        run.measure("tensors in order, zstd 22, one frame", &mixed, plain(22), WHOLE);
        run.measure("by class, zstd 22, a frame a stream", &classes, plain(22), WHOLE);
        run.measure("by class, zstd 22, window 2^17", &classes, Setting { window_log: Some(17), ..plain(22) }, WHOLE);
        run.measure("by class, zstd 22, frames of 1 MiB", &classes, plain(22), 1 << 20);
        run.measure("by class, zstd 22, frames of 128 KiB", &classes, plain(22), 1 << 17);
        run.measure("by class, transposed, zstd 22, 1 MiB", &by_class(tensors, Order::Columns), plain(22), 1 << 20);
        run.measure("bits packed (5 and 6 a weight), zstd 22, 1 MiB", &bit_packed(tensors), plain(22), 1 << 20);
        run.measure("by class, zstd 19, frames of 1 MiB", &classes, plain(19), 1 << 20);
        for target in [1 << 12, 1 << 14, 1 << 16] {
            let name = format!("by class, zstd 22, 1 MiB, blocks of {} KiB", target >> 10);
            run.measure(&name, &classes, Setting { target_block: Some(target), ..plain(22) }, 1 << 20);
        }
        for size in [1 << 12, 1 << 14, 110 << 10] {
            let name = format!("by class, zstd 22, 128 KiB, dictionary {} KiB", size >> 10);
            run.measure_trained(&name, &classes, plain(22), 1 << 17, size);
        }
    }
    for target in [1 << 12, 1 << 14, 1 << 16] {
        let name = format!("by class, literals only, 1 MiB, blocks of {} KiB", target >> 10);
        run.measure(&name, &classes, Setting { target_block: Some(target), ..huffman }, 1 << 20);
    }
    for shift in [17, 14] {
        let name = format!("by class, literals only, {} KiB, dictionary 4 KiB", 1 << (shift - 10));
        run.measure_trained(&name, &classes, huffman, 1 << shift, 1 << 12);
    }
    for level in [9, 3, 1] {
        run.measure(&format!("by class, zstd {level}, frames of 1 MiB"), &classes, plain(level), 1 << 20);
    }
    run.measure("tensors in order, literals only", &mixed, huffman, 1 << 20);
    for shift in [20, 17, 16, 15, 14] {
        run.measure(
            &format!("by class, literals only, frames of {} KiB", 1 << (shift - 10)),
            &classes,
            huffman,
            1 << shift,
        );
    }
    for (name, order) in [
        ("rows by scale", Order::Scale),
        ("rows by scale over their tensor's mean", Order::RelativeScale),
        ("rows by magnitude in steps (needs a permutation)", Order::Magnitude),
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
