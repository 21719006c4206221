//! Every operation on the device beside the same operation on the CPU.
//!
//! Each function below makes an operation's results for several shapes (odd dims, one row, tails of blocks) on
//! whatever kernels it is given. What adds nothing up must agree to the bit; sums differ by the order of additions.

mod activations;
mod heads;
mod products;

use self::activations::*;
use self::heads::*;
use self::products::*;
use super::{kernels, largest_error, on_both, random};
use crate::engine::Precision;
use crate::engine::cpu::CpuKernels;
use crate::engine::cuda::backend::CudaKernels;
use crate::engine::cuda::device::Device;
use crate::engine::network::{Kernels, Linear, WriteMode};

/// Results by what they are.
type Results = Vec<(String, Vec<f32>)>;

/// Tokens and width.
const SHAPES: [(usize, usize); 5] = [(1, 1), (3, 5), (64, 32), (65, 129), (130, 64)];
/// Tokens, inputs, outputs.
const LINEARS: [(usize, usize, usize); 4] = [(1, 1, 1), (3, 17, 5), (65, 16, 64), (70, 33, 130)];
/// Sums of these lengths in another order.
const REORDERED: f32 = 2e-5;

fn compare(device: Results, cpu: Results, tolerance: f32) {
    assert_eq!(device.len(), cpu.len());
    for ((what, found), (_, expected)) in device.iter().zip(&cpu) {
        let error = largest_error(found, expected);
        assert!(error <= tolerance, "{what}: off by {error:e}");
    }
}

macro_rules! twins {
    ($($name:ident: $results:ident, $tolerance:expr;)+) => {
        $(fn $name<D: Device>(device: &std::sync::Arc<D>) {
            let k = kernels(device);
            let found = $results(&k);
            k.check().unwrap();
            compare(found, $results(&CpuKernels::default()), $tolerance);
        })+
        on_both!(products_are_close_to_double_precision, bf16_rounds_as_the_cpu_does, $($name),+);
    };
}

twins! {
    copies_match: copies, 0.0;
    rows_of_tables_match: rows_of_tables, 0.0;
    elementwise_match: elementwise, 0.0;
    elementwise_gradients_match: elementwise_gradients, 0.0;
    sums_down_columns_match: sums_down_columns, REORDERED;
    norms_match: norms, 1e-6;
    streams_match: streams, REORDERED;
    norm_gradients_match: norm_gradients, REORDERED;
    heads_match: heads, 1e-6;
    head_gradients_match: head_gradients, REORDERED;
    linears_match: linears, REORDERED;
    attention_match: attention, 3e-6;
    attention_gradients_match: attention_gradients, REORDERED;
    gate_gradients_match: gate_gradients, REORDERED;
    losses_match: losses, 4e-6;
    loss_gradients_match: loss_gradients, REORDERED;
}

/// Random activations, as the kernels' precision can hold them.
fn values<K: Kernels>(k: &K, len: usize, name: &str) -> Vec<f32> {
    let held = |value: f32| match k.precision() {
        Precision::F32 => value,
        Precision::Bf16 => half::bf16::from_f32(value).to_f32(),
    };
    random(len, name).into_iter().map(held).collect()
}

fn activations<K: Kernels>(k: &K, len: usize, name: &str) -> K::Buffer {
    k.store(&values(k, len, name))
}

/// The CPU's products are one reference; this is one that shares no library with either.
fn products_are_close_to_double_precision<D: Device>(device: &std::sync::Arc<D>) {
    let k = kernels(device);
    for (tokens, inputs, outputs) in LINEARS {
        let (x, w) = (random(tokens * inputs, "x"), random(outputs * inputs, "w"));
        let mut y = k.unset(tokens * outputs);
        k.linear(Linear { tokens, inputs, outputs }, &k.upload(&x), &k.upload(&w), WriteMode::Overwrite, &mut y);
        for (i, found) in k.download(y).into_iter().enumerate() {
            let row = &x[i / outputs * inputs..][..inputs];
            let pairs =
                row.iter().zip(&w[i % outputs * inputs..][..inputs]).map(|(a, b)| (f64::from(*a), f64::from(*b)));
            let (exact, size) = pairs.fold((0.0, 0.0), |(sum, size), (a, b)| (sum + a * b, size + (a * b).abs()));
            // Higham's bound for a sum of products, in any order.
            let bound = (inputs + 1) as f64 * f64::from(f32::EPSILON) / 2.0 * size * 1.01;
            assert!((f64::from(found) - exact).abs() <= bound, "{tokens} x {inputs} x {outputs}, value {i}");
        }
    }
    k.check().unwrap();
}

/// Stored in bfloat16: what adds nothing up has the CPU's bits where the CPU rounds at all (its gradients are in single
/// precision), sums may round to the next bfloat16, 2^-8 away.
fn bf16_rounds_as_the_cpu_does<D: Device>(device: &std::sync::Arc<D>) {
    const NEXT: f32 = 1.0 / 256.0;
    let k = CudaKernels::new(std::sync::Arc::clone(device), Precision::Bf16);
    let cpu = CpuKernels { precision: Precision::Bf16 };
    compare(copies(&k), copies(&cpu), 0.0);
    compare(elementwise(&k), elementwise(&cpu), 0.0);
    compare(rows_of_tables(&k), rows_of_tables(&cpu), 0.0);
    compare(elementwise_gradients(&k), elementwise_gradients(&cpu), NEXT);
    compare(sums_down_columns(&k), sums_down_columns(&cpu), REORDERED);
    compare(norms(&k), norms(&cpu), NEXT);
    compare(norm_gradients(&k), norm_gradients(&cpu), NEXT);
    compare(streams(&k), streams(&cpu), 2.0 * NEXT);
    compare(heads(&k), heads(&cpu), NEXT);
    compare(head_gradients(&k), head_gradients(&cpu), NEXT);
    compare(attention(&k), attention(&cpu), 3.0 * NEXT);
    compare(gate_gradients(&k), gate_gradients(&cpu), NEXT);
    compare(losses(&k), losses(&cpu), 2.0 * NEXT);
    k.check().unwrap();
}
