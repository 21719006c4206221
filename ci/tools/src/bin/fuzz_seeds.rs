//! Writes the seeds of the artifact parsers: `cargo run -p golf-harness-tools --bin fuzz_seeds`.
//!
//! Run it after a change of the container format; `tests/parsers` refuses seeds that no longer parse.

use std::path::Path;

use anyhow::Context;
use golf_harness::artifact::{PackedTensor, PackedValues, encode};
use golf_harness::atomic_write;
use golf_harness::interrupt::Interrupt;
use golf_harness::progress::Progress;
use golf_harness::quant::{Codec, TensorClass};
use half::f16;

/// A tensor of every class, with shapes that have rows, have none, and have one side of zero.
fn tensors() -> anyhow::Result<Vec<PackedTensor>> {
    let half = |i: usize| f16::from_f32(0.25 + i as f32 / 8.0);
    let integers = |class, elements: usize, rows: usize| PackedValues::Integers {
        class,
        symbols: (0..elements).map(|i| (i * 7 % 27) as i8 - 13).collect(),
        scales: (0..rows).map(half).collect(),
    };
    let parts = [
        ("blocks.0.mlp.fc.weight", vec![6, 8], integers(TensorClass::Int5, 48, 6)),
        ("blocks.0.attn.c_q.weight", vec![4, 4], integers(TensorClass::Int6, 16, 4)),
        ("bigram.embed.weight", vec![3, 3], integers(TensorClass::Int8, 9, 3)),
        ("tok_emb.weight", vec![2, 3], PackedValues::F16((0..6).map(half).collect())),
        ("resid_mix", vec![2, 2], PackedValues::F32(vec![1.0, 0.5, 0.0, -2.5])),
        ("nothing", vec![0, 2], PackedValues::F32(Vec::new())),
    ];
    let tensor = |(name, shape, values)| PackedTensor::new(name, shape, values).context("values do not fill the shape");
    parts.into_iter().map(tensor).collect()
}

fn main() -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/fuzz");
    let (progress, interrupt) = (Progress::hidden(), Interrupt::none());
    let encode = |tensors: &[PackedTensor], codec| encode(tensors, codec, 3, &progress, &interrupt);
    let all = tensors()?;
    // Equal rows, which zstd compresses in a range-coded file too.
    let rows = PackedValues::F16((0..192).map(|i| f16::from_f32((i % 16) as f32 / 11.0)).collect());
    let rows = PackedTensor::new("table", vec![12, 16], rows).context("values do not fill the shape")?;
    let repeating: Vec<PackedTensor> = all.iter().cloned().chain([rows]).collect();
    let seeds = [
        ("artifact/empty.golf", encode(&[], Codec::Zstd)?),
        ("artifact/zstd.golf", encode(&all, Codec::Zstd)?),
        ("artifact/ans.golf", encode(&all, Codec::Ans)?),
        ("artifact/mixed.golf", encode(&repeating, Codec::Ans)?),
        ("zip/small.golf", encode(&all[..2], Codec::Zstd)?),
    ];
    for (name, encoded) in seeds {
        atomic_write::write(&folder.join(name), &encoded.bytes)?;
    }
    Ok(())
}
