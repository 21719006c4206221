//! Every operation on the device beside the same operation on the CPU.
//!
//! Each function below makes an operation's results for several shapes (odd dims, one row, tails of blocks) on
//! whatever kernels it is given. What adds nothing up must agree to the bit; sums differ by the order of additions.

use super::{kernels, largest_error, on_both, random, random_ids};
use crate::engine::Precision;
use crate::engine::cuda::backend::CudaKernels;
use crate::engine::cuda::device::Device;
use crate::engine::kernels::{
    ChannelRow, CpuKernels, FusedMixInputs, FusedMixOutputs, Heads, Kernels, Linear, PendingResidual, QkNormRope, Skip,
    WriteMode,
};
use crate::model::{ModelConfig, RopeTables};

/// Results by what they are.
type Results = Vec<(String, Vec<f32>)>;

/// Tokens and width.
const SHAPES: [(usize, usize); 5] = [(1, 1), (3, 5), (64, 32), (65, 129), (130, 64)];
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

fn copies<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (tokens, width) in SHAPES {
        let x = values(k, tokens * width, "x");
        results.push(("copy".into(), k.download(k.copy(&k.store(&x)))));
        results.push(("zeros".into(), k.download(k.zeros(x.len()))));
        for keep in [1, tokens.div_ceil(2), tokens] {
            let tails = k.tails(&activations(k, 3 * x.len(), "rows"), x.len(), keep * width);
            results.push((format!("tails {keep} of {tokens} x {width}"), k.download(tails)));
        }
        let mut sum = activations(k, x.len(), "sum");
        k.add(&k.store(&x), &mut sum);
        results.push(("add".into(), k.download(sum)));
    }
    results
}

fn rows_of_tables<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (tokens, width) in SHAPES {
        // Few rows, so that many tokens share one; and one row for all.
        for rows in [1, 7, 300] {
            let (table, ids) = (values(k, rows * width, "table"), k.ids(&random_ids(tokens, rows, "ids"), rows));
            results.push((format!("gather of {rows}"), k.download(k.gather(&k.store(&table), &ids, width))));
            let mut sums = k.upload(&table);
            k.scatter(&activations(k, tokens * width, "grad"), &ids, width, &mut sums);
            results.push((format!("scatter to {rows}"), k.download(sums)));
        }
    }
    results
}

fn elementwise<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (tokens, width) in SHAPES {
        let x = activations(k, tokens * width, "x");
        let x0 = activations(k, tokens * width, "x0");
        let weights = k.upload(&random(2 * width, "weights"));
        results.push(("relu squared".into(), k.download(k.relu_squared(&x))));
        results.push(("mix".into(), k.download(k.mix(&x, &x0, &weights))));
        for row in 0..2 {
            let mut sum = k.copy(&x);
            k.add_skip(&x0, &weights, ChannelRow { row, width }, &mut sum);
            results.push((format!("skip {row}"), k.download(sum)));
        }
        let gate = k.upload(&random(width, "gate"));
        for seq_len in [1, tokens] {
            results.push((format!("smear in rows of {seq_len}"), k.download(k.smear(&x, &gate, seq_len))));
        }
    }
    results
}

fn elementwise_gradients<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (tokens, width) in SHAPES {
        let x = activations(k, tokens * width, "x");
        let x0 = activations(k, tokens * width, "x0");
        let grad = activations(k, tokens * width, "grad");
        let weights = k.upload(&random(2 * width, "weights"));
        let mut grad_hidden = k.copy(&grad);
        k.relu_squared_grad(&x, &mut grad_hidden);
        results.push(("grad of relu squared".into(), k.download(grad_hidden)));

        let (mut grad_x, mut grad_x0) = (k.copy(&grad), k.copy(&x));
        k.mix_grad(&x, &x0, &weights, &mut grad_x, &mut grad_x0, &mut k.gradients(2 * width));
        results.push(("grad of mix by x".into(), k.download(grad_x)));
        results.push(("grad of mix by x0".into(), k.download(grad_x0)));

        let (row, mut grad_skip) = (ChannelRow { row: 1, width }, k.unset(tokens * width));
        k.add_skip_grad(&x, &weights, row, &grad, &mut grad_skip, &mut k.gradients(2 * width));
        results.push(("grad of skip".into(), k.download(grad_skip)));

        for seq_len in [1, tokens] {
            let (gate, mut grad_a) = (k.upload(&random(width, "gate")), k.copy(&x0));
            k.smear_grad(&x, &gate, seq_len, &grad, &mut grad_a, &mut k.gradients(width));
            results.push((format!("grad of smear in rows of {seq_len}"), k.download(grad_a)));
        }
    }
    results
}

fn sums_down_columns<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (tokens, width) in SHAPES {
        let x = activations(k, tokens * width, "x");
        let x0 = activations(k, tokens * width, "x0");
        let grad = activations(k, tokens * width, "grad");
        let weights = k.upload(&random(2 * width, "weights"));
        // Added to what is there.
        let mut grad_mix = k.copy(&weights);
        k.mix_grad(&x, &x0, &weights, &mut k.copy(&grad), &mut k.copy(&x), &mut grad_mix);
        results.push(("grad of mix".into(), k.download(grad_mix)));
        let mut grad_weights = k.copy(&weights);
        let row = ChannelRow { row: 1, width };
        k.add_skip_grad(&x, &weights, row, &grad, &mut k.unset(tokens * width), &mut grad_weights);
        results.push(("grad of skip weights".into(), k.download(grad_weights)));
        for seq_len in [1, tokens] {
            let gate = k.upload(&random(width, "gate"));
            let mut grad_gate = k.copy(&gate);
            k.smear_grad(&x, &gate, seq_len, &grad, &mut k.copy(&x0), &mut grad_gate);
            results.push((format!("grad of gate in rows of {seq_len}"), k.download(grad_gate)));
        }
    }
    results
}

fn norms<K: Kernels>(k: &K) -> Results {
    let norm = |(tokens, width)| {
        let mut x = values(k, tokens * width, "x");
        // A row of zeros is no division by zero.
        x[..width].fill(0.0);
        (format!("norm of {tokens} x {width}"), k.download(k.rms_norm(&k.store(&x), width)))
    };
    SHAPES.into_iter().map(norm).collect()
}

/// The residual stream's fused operations, with and without their optional arguments.
fn streams<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (tokens, width) in SHAPES {
        let [x, x0, output] = ["x", "x0", "output"].map(|name| activations(k, tokens * width, name));
        let product = activations(k, tokens * width, "gemm_f32");
        let (scale, weights) = (k.upload(&random(width, "weights")), k.upload(&random(2 * width, "weights")));
        for (with_residual, with_skip) in [(false, false), (true, false), (false, true), (true, true)] {
            let inputs = FusedMixInputs {
                residual: with_residual.then_some(PendingResidual { product: &product, scale: &scale, width }),
                skip: with_skip.then_some(Skip {
                    output: &output,
                    weights: &weights,
                    row: ChannelRow { row: 1, width },
                }),
                x0: &x0,
                mix: &weights,
                width,
                keep_input: true,
            };
            let FusedMixOutputs { input, mixed, normed, .. } = k.fused_mix_rms_norm(k.copy(&x), inputs);
            for (what, found) in [("input", input), ("mixed", mixed), ("normed", normed)] {
                results.push((format!("{what}, residual {with_residual}, skip {with_skip}"), k.download(found)));
            }
        }
        for product in [None, Some(&product)] {
            let mut sum = k.copy(&x);
            let residual = product.map(|product| PendingResidual { product, scale: &scale, width });
            results.push(("norm of a sum".into(), k.download(k.add_residual_rms_norm(residual, width, &mut sum))));
            results.push(("sum".into(), k.download(sum)));
        }
        for seq_len in [1, tokens] {
            results.push(("norm and smear".into(), k.download(k.norm_smear(&x, &scale, width, seq_len))));
        }
    }
    for (tokens, inputs, outputs) in LINEARS {
        let dims = Linear { tokens, inputs, outputs };
        let (x, w) = (activations(k, tokens * inputs, "x"), activations(k, outputs * inputs, "w"));
        let (squared, hidden) = k.squared_linear(dims, &x, &w, true);
        results.extend([("squared", squared)].map(|(what, found)| (format!("{what} {dims:?}"), k.download(found))));
        let Some(hidden) = hidden else { continue };
        let (grad_y, back) = (activations(k, tokens * inputs, "grad"), activations(k, inputs * outputs, "back"));
        let mut grad_hidden = k.copy(&hidden);
        let dims = Linear { tokens, inputs: outputs, outputs: inputs };
        k.squared_linear_grad(dims, &grad_y, &back, &hidden, &mut grad_hidden);
        results.push((format!("hidden {dims:?}"), k.download(hidden)));
        results.push((format!("grad of hidden {dims:?}"), k.download(grad_hidden)));
    }
    results
}

fn norm_gradients<K: Kernels>(k: &K) -> Results {
    let gradient = |(tokens, width)| {
        let (x, grad) = (activations(k, tokens * width, "x"), activations(k, tokens * width, "grad"));
        [WriteMode::Accumulate, WriteMode::Overwrite].map(|mode| {
            let mut grad_x = k.copy(&x);
            k.rms_norm_grad(&x, &grad, width, mode, &mut grad_x);
            (format!("{mode:?} grad of norm of {tokens} x {width}"), k.download(grad_x))
        })
    };
    SHAPES.into_iter().flat_map(gradient).collect()
}

/// Rows, tokens present in each, position of the first, heads, width.
const HEADS: [(usize, usize, usize, usize, usize); 5] =
    [(1, 1, 0, 1, 2), (2, 5, 0, 3, 16), (1, 7, 4, 2, 64), (3, 2, 1, 4, 128), (1, 33, 0, 1, 34)];

fn tables<K: Kernels>(k: &K, width: usize, positions: usize) -> K::Tables {
    let config = ModelConfig { model_dim: width, num_heads: 1, num_kv_heads: 1, ..Default::default() };
    k.rope_tables(&RopeTables::new(&config, positions))
}

fn heads<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (rows, tokens_per_row, first, heads, width) in HEADS {
        let (tables, gain) = (tables(k, width, first + tokens_per_row), k.upload(&random(heads, "gain")));
        let x = activations(k, rows * tokens_per_row * heads * width, "x");
        for gain in [None, Some(&gain)] {
            let shape = QkNormRope { heads, width, tokens_per_row, first, gain, tables: &tables };
            results.push((format!("{heads} heads of {width}"), k.download(k.qk_norm_rope(&x, shape))));
        }
    }
    results
}

fn head_gradients<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (rows, tokens_per_row, first, heads, width) in HEADS {
        let (tables, gain) = (tables(k, width, first + tokens_per_row), k.upload(&random(heads, "gain")));
        let values = rows * tokens_per_row * heads * width;
        let (x, grad) = (activations(k, values, "x"), activations(k, values, "grad"));
        let mut grad_x = k.unset(values);
        let shape = QkNormRope { heads, width, tokens_per_row, first, gain: None, tables: &tables };
        k.qk_norm_rope_grad(&x, shape, &grad, &mut grad_x, None);
        results.push((format!("grad of {heads} heads of {width}"), k.download(grad_x)));
        let (mut grad_x, mut grad_gain) = (k.unset(values), k.copy(&gain));
        k.qk_norm_rope_grad(&x, QkNormRope { gain: Some(&gain), ..shape }, &grad, &mut grad_x, Some(&mut grad_gain));
        results.push((format!("grad of {heads} gained heads of {width}"), k.download(grad_x)));
        results.push((format!("grad of {heads} gains"), k.download(grad_gain)));
    }
    results
}

/// Tokens, inputs, outputs.
const LINEARS: [(usize, usize, usize); 4] = [(1, 1, 1), (3, 17, 5), (65, 16, 64), (70, 33, 130)];

fn linears<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (tokens, inputs, outputs) in LINEARS {
        let dims = Linear { tokens, inputs, outputs };
        let (x, w) = (activations(k, tokens * inputs, "x"), activations(k, outputs * inputs, "w"));
        let grad = activations(k, tokens * outputs, "grad");
        for mode in [WriteMode::Overwrite, WriteMode::Accumulate] {
            let mut y = k.copy(&grad);
            k.linear(dims, &x, &w, mode, &mut y);
            results.push((format!("{mode:?} {dims:?}"), k.download(y)));
            let mut grad_x = k.copy(&x);
            k.linear_grad_x(dims, &grad, &w, mode, &mut grad_x);
            results.push((format!("{mode:?} grad x of {dims:?}"), k.download(grad_x)));
        }
        let mut grad_w = k.upload(&random(outputs * inputs, "w"));
        k.linear_grad_w(dims, &grad, &x, &mut grad_w);
        results.push((format!("grad w of {dims:?}"), k.download(grad_w)));
    }
    results
}

/// Rows, sequence length, first query, heads, key/value heads, width.
const ATTENTION: [(usize, usize, usize, usize, usize, usize); 7] = [
    (1, 1, 0, 1, 1, 4),
    (2, 7, 0, 2, 1, 8),
    (1, 33, 0, 4, 2, 32),
    (1, 65, 0, 2, 2, 33),
    (2, 40, 0, 2, 1, 64),
    (1, 35, 0, 1, 1, 100),
    (2, 34, 0, 2, 1, 128),
];

fn attention_inputs<K: Kernels>(k: &K, heads: Heads, rows: usize) -> [K::Buffer; 3] {
    let queries = rows * heads.queries() * heads.heads * heads.width;
    let keys = rows * heads.seq_len * heads.kv_heads * heads.width;
    [("q", queries), ("k", keys), ("v", keys)].map(|(name, len)| k.upload(&random(len, name)))
}

fn attention<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (rows, seq_len, _, heads, kv_heads, width) in ATTENTION {
        for first_query in [0, seq_len / 2, seq_len - 1] {
            let heads = Heads { seq_len, heads, kv_heads, width, first_query };
            let [q, key, v] = attention_inputs(k, heads, rows);
            let (mixed, lse) = k.attention(heads, [&q, &key, &v]);
            results.push((format!("attention {heads:?}"), k.download(mixed)));
            results.push((format!("lse of {heads:?}"), k.download(lse)));
        }
    }
    results
}

fn attention_gradients<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (rows, seq_len, first_query, heads, kv_heads, width) in ATTENTION {
        let heads = Heads { seq_len, heads, kv_heads, width, first_query };
        let [q, key, v] = attention_inputs(k, heads, rows);
        let (mixed, lse) = k.attention(heads, [&q, &key, &v]);
        let grad = activations(k, rows * seq_len * heads.heads * width, "grad");
        let grads = k.attention_grad(heads, [&q, &key, &v], [&mixed, &lse], &grad);
        for (name, grad) in ["q", "k", "v"].into_iter().zip(grads) {
            results.push((format!("grad of {name} of {heads:?}"), k.download(grad)));
        }
    }
    results
}

/// Tokens, inputs, vocabulary.
const LOSSES: [(usize, usize, usize); 4] = [(1, 3, 2), (5, 8, 33), (9, 16, 100), (130, 4, 257)];
const CAP: f32 = 30.0;

fn loss_inputs<K: Kernels>(k: &K, dims: Linear) -> (K::Buffer, K::Buffer, K::Ids) {
    let targets = k.ids(&random_ids(dims.tokens, dims.outputs, "targets"), dims.outputs);
    let head: Vec<f32> = values(k, dims.outputs * dims.inputs, "head").iter().map(|value| value * 4.0).collect();
    (activations(k, dims.tokens * dims.inputs, "x"), k.store(&head), targets)
}

fn losses<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (tokens, inputs, outputs) in LOSSES {
        let dims = Linear { tokens, inputs, outputs };
        let (x, head, targets) = loss_inputs(k, dims);
        results.push((format!("logits of {dims:?}"), k.download(k.logits(dims, &x, &head, CAP))));
        results.push((format!("nll of {dims:?}"), k.download(k.nll(dims, &x, &head, CAP, &targets))));
    }
    results
}

fn loss_gradients<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (tokens, inputs, outputs) in LOSSES {
        let dims = Linear { tokens, inputs, outputs };
        let (x, head, targets) = loss_inputs(k, dims);
        let (mut grad_x, mut grad_head) = (k.unset(tokens * inputs), k.upload(&random(outputs * inputs, "head")));
        let weight = 1.0 / tokens as f32;
        let nll = k.nll_grad(dims, &x, &head, CAP, &targets, weight, &mut grad_x, &mut grad_head);
        results.push((format!("nll of {dims:?}"), k.download(nll)));
        results.push((format!("grad x of {dims:?}"), k.download(grad_x)));
        results.push((format!("grad head of {dims:?}"), k.download(grad_head)));
    }
    results
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
    compare(losses(&k), losses(&cpu), 2.0 * NEXT);
    k.check().unwrap();
}
