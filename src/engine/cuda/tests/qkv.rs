//! Queries, keys and values side by side, and gradients through attention, norm and rotation, beside the same in passes of
//! their own.

use std::sync::Arc;

use super::{on_both, random};
use crate::engine::Precision;
use crate::engine::cuda::backend::CudaKernels;
use crate::engine::cuda::device::Device;
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::{
    AttentionInputs, Heads, Kernels, Mix, MixGrads, Norm, QkNormRope, Qkv, WriteMode, attention_inputs_grad_after,
    mix_rms_norm_grad_after, qkv_after, qkv_grad_after,
};
use crate::model::{ModelConfig, RopeTables};

on_both!(
    one_product_is_three,
    attention_and_rotation_have_the_gradients_of_separate_passes,
    columns_are_refused_where_numbers_must_be_neighbors,
    a_mixture_and_its_norm_have_the_gradients_of_two_passes,
);

fn narrow<D: Device>(device: &Arc<D>) -> CudaKernels<D> {
    CudaKernels::new(Arc::clone(device), Precision::Bf16)
}

fn stored<D: Device>(k: &CudaKernels<D>, len: usize, name: &str) -> Buffer<D> {
    k.store(&random(len, name))
}

/// Columns of a wider matrix, row by row.
fn columns(whole: &[f32], widths: [usize; 3], which: usize) -> Vec<f32> {
    let (stride, first) = (widths.iter().sum::<usize>(), widths[..which].iter().sum::<usize>());
    whole.chunks(stride).flat_map(|row| &row[first..first + widths[which]]).copied().collect()
}

/// The values of three matrices that lie side by side.
fn read<D: Device>(k: &CudaKernels<D>, parts: [&Buffer<D>; 3], widths: [usize; 3]) -> [Vec<f32>; 3] {
    match Buffer::beside(parts) {
        Some(whole) => {
            let whole = k.read(whole);
            [0, 1, 2].map(|which| columns(&whole, widths, which))
        }
        None => parts.map(|part| k.read(part)),
    }
}

/// Relative distance in the 2-norm.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let apart = square(&mut found.iter().zip(expected).map(|(a, b)| f64::from(a - b)));
    (apart / square(&mut expected.iter().map(|&value| f64::from(value)))).sqrt()
}

/// Dimensions, with some of several tiles and some of none.
const SHAPES: [Qkv; 2] = [
    Qkv { tokens: 70, inputs: 48, queries: 64, keys: 32, head: 32 },
    Qkv { tokens: 9, inputs: 16, queries: 16, keys: 8, head: 8 },
];

/// Outputs have equal bits; sums over more outputs, and over tokens, are rounded in other places.
fn one_product_is_three<D: Device>(device: &Arc<D>) {
    const ROUNDED: f64 = 1.0 / 128.0;
    let k = &narrow(device);
    for dims in SHAPES {
        let widths = dims.outputs();
        let x = stored(k, dims.tokens * dims.inputs, "x");
        let apart = [0, 1, 2].map(|i| stored(k, widths[i] * dims.inputs, ["q", "k", "v"][i]));
        let w = k.stacked([0, 1, 2].map(|i| k.copy(&apart[i])));
        let [found, expected] = [k.qkv(dims, &x, w.each_ref()), qkv_after(k, dims, &x, apart.each_ref())];
        assert!(Buffer::beside(found.each_ref()).is_some(), "one product");
        assert_eq!(read(k, found.each_ref(), widths), read(k, expected.each_ref(), widths));
        assert!(Buffer::beside(k.qkv(dims, &x, apart.each_ref()).each_ref()).is_none(), "matrices that are apart");

        let whole = Arc::new(stored(k, dims.tokens * widths.iter().sum::<usize>(), "grad"));
        let grads = Buffer::side_by_side(&whole, widths).unwrap();
        let parts = read(k, grads.each_ref(), widths).map(|part| k.store(&part));
        for mode in [WriteMode::Overwrite, WriteMode::Accumulate] {
            let results = [(grads.each_ref(), &w), (parts.each_ref(), &apart)].map(|(grads, w)| {
                let mut grad_x = stored(k, dims.tokens * dims.inputs, "grad of x");
                let mut grad_w = widths.map(|width| k.upload(&random(width * dims.inputs, "grad of w")));
                let ([a, b, c], operands) = (grad_w.each_mut(), (&x, w.each_ref()));
                match Buffer::beside(grads) {
                    Some(_) => k.qkv_grad(dims, grads, operands, [a, b, c], (mode, &mut grad_x)),
                    None => qkv_grad_after(k, dims, grads, operands, [a, b, c], (mode, &mut grad_x)),
                }
                let [a, b, c] = grad_w;
                [grad_x, a, b, c].map(|grad| k.read(&grad))
            });
            for (found, expected) in results[0].iter().zip(&results[1]) {
                let distance = distance(found, expected);
                assert!(distance <= ROUNDED, "{dims:?} {mode:?}: off by {distance:e}");
            }
        }
    }
    k.check().unwrap();
}

/// Rows, tokens of each, heads, heads of keys, width, rotated coordinates (0: all).
const HEADS: [(usize, usize, usize, usize, usize, usize); 5] =
    [(2, 70, 2, 1, 32, 0), (1, 65, 2, 2, 64, 16), (2, 9, 2, 1, 40, 0), (1, 40, 1, 1, 128, 0), (1, 129, 2, 1, 16, 0)];

fn attention_and_rotation_have_the_gradients_of_separate_passes<D: Device>(device: &Arc<D>) {
    let k = &narrow(device);
    for (rows, seq_len, heads, kv_heads, width, rope_dims) in HEADS {
        let config = ModelConfig { model_dim: width, num_heads: 1, num_kv_heads: 1, rope_dims, ..Default::default() };
        let tables = &k.rope_tables(&RopeTables::new(&config, seq_len));
        let (widths, tokens) = ([heads, kv_heads, kv_heads].map(|heads| heads * width), rows * seq_len);
        let gain = k.upload(&random(heads, "gain"));
        let shape = |heads, gain| QkNormRope { heads, width, tokens_per_row: seq_len, first: 0, gain, tables };
        let shapes = [shape(heads, Some(&gain)), shape(kv_heads, None)];
        let heads = Heads { seq_len, heads, kv_heads, width, first_query: 0 };
        let whole = Arc::new(stored(k, tokens * widths.iter().sum::<usize>(), "projected"));
        let beside = Buffer::side_by_side(&whole, widths).unwrap();
        let apart = read(k, beside.each_ref(), widths).map(|part| k.store(&part));
        let grad = stored(k, tokens * widths[0], "grad");
        let run = |projected: [&Buffer<D>; 3], is_separate: bool| {
            let rotated = [0, 1].map(|i| k.qk_norm_rope(projected[i], shapes[i]));
            let (mixed, lse) = k.attention(heads, [&rotated[0], &rotated[1], projected[2]]);
            let own_value = None;
            let outputs = [&mixed, &lse];
            let inputs = AttentionInputs { projected, rotated, shapes, outputs, grad: &grad, own_value };
            let mut grad_gain = k.upload(&random(heads.heads, "grad of gain"));
            let grads = match is_separate {
                true => attention_inputs_grad_after(k, heads, inputs, &mut grad_gain),
                false => k.attention_inputs_grad(heads, inputs, &mut grad_gain),
            };
            (read(k, grads.each_ref(), widths), k.read(&mixed), k.read(&lse), k.read(&grad_gain))
        };
        let expected = run(apart.each_ref(), true);
        assert!(expected.0.iter().all(|grad| grad.iter().any(|&value| value != 0.0)));
        assert!(run(apart.each_ref(), false) == expected, "{heads:?}");
        assert!(run(beside.each_ref(), false) == expected, "{heads:?}, side by side");
    }
    k.check().unwrap();
}

fn columns_are_refused_where_numbers_must_be_neighbors<D: Device>(device: &Arc<D>) {
    let k = &narrow(device);
    let whole = Arc::new(stored(k, 6 * 8, "x"));
    let [queries, keys, _] = Buffer::side_by_side(&whole, [4, 2, 2]).unwrap();
    drop(k.rms_norm(&queries, Norm::of(4)));
    let error = k.shared.take_error().unwrap().to_string();
    assert_eq!(error, "rms_norm_bf16: argument 1 is columns of a wider matrix");
    let config = ModelConfig { model_dim: 4, num_heads: 1, num_kv_heads: 1, ..Default::default() };
    let tables = &k.rope_tables(&RopeTables::new(&config, 6));
    let shape = QkNormRope { heads: 1, width: 4, tokens_per_row: 6, first: 0, gain: None, tables };
    drop(k.qk_norm_rope(&keys, shape));
    let error = k.shared.take_error().unwrap().to_string();
    assert_eq!(error, "qk_norm_rope: columns has 2 values where 4 are needed");
    assert!(Buffer::side_by_side(&whole, [5, 2]).is_err(), "rows that are not whole");
    assert!(Buffer::beside([&queries, &queries]).is_none() && Buffer::joined([&queries, &keys]).is_none());
}

/// Gradients have equal bits; those of the weights are sums of the same rows in another order.
fn a_mixture_and_its_norm_have_the_gradients_of_two_passes<D: Device>(device: &Arc<D>) {
    const REORDERED: f64 = 1e-6;
    for precision in [Precision::F32, Precision::Bf16] {
        let k = &CudaKernels::new(Arc::clone(device), precision);
        for (rows, width) in [(1, 8), (70, 40), (130, 256), (66, 264), (65, 512), (3, 520), (5, 12)] {
            let [x, x0, grad_normed] = ["x", "x0", "grad"].map(|name| stored(k, rows * width, name));
            let weights = k.upload(&random(2 * width, "weights"));
            let (mix, norm) = (Mix { x0: &x0, weights: &weights }, Norm { width, factor: 0.7 });
            let run = |is_separate: bool| {
                let (mut mixed, mut first) = (stored(k, rows * width, "a"), stored(k, rows * width, "b"));
                let mut by_weights = k.upload(&random(2 * width, "c"));
                let grads = MixGrads { mixed: &mut mixed, x0: &mut first, weights: &mut by_weights };
                match is_separate {
                    true => mix_rms_norm_grad_after(k, (&x, None), mix, (norm, &grad_normed), grads),
                    false => k.mix_rms_norm_grad((&x, None), mix, (norm, &grad_normed), grads),
                }
                [mixed, first, by_weights].map(|grad| k.read(&grad))
            };
            let ([mixed, first, weights], expected) = (run(false), run(true));
            assert!(mixed == expected[0] && first == expected[1], "{precision:?}, {rows} x {width}");
            let distance = distance(&weights, &expected[2]);
            assert!(distance <= REORDERED, "{precision:?}, {rows} x {width}: weights are off by {distance:e}");
        }
        k.check().unwrap();
    }
}
