//! Heads: QK norm and RoPE, attention.

use super::super::random;
use super::{Results, activations};
use crate::engine::network::{GateShape, Heads, Kernels, QkNormRope};
use crate::model::{ModelConfig, RopeTables};

/// Rows, tokens present in each, position of the first, heads, width.
const HEADS: [(usize, usize, usize, usize, usize); 5] =
    [(1, 1, 0, 1, 2), (2, 5, 0, 3, 16), (1, 7, 4, 2, 64), (3, 2, 1, 4, 128), (1, 33, 0, 1, 34)];

/// Of heads of which all or some coordinates are rotated.
fn tables<K: Kernels>(k: &K, width: usize, positions: usize, rope_dims: usize) -> K::Tables {
    let config = ModelConfig { model_dim: width, num_heads: 1, num_kv_heads: 1, rope_dims, ..Default::default() };
    k.rope_tables(&RopeTables::new(&config, positions))
}

fn with_partial_rotations() -> impl Iterator<Item = ((usize, usize, usize, usize, usize), usize)> {
    HEADS.into_iter().flat_map(|shape| [0, 2, shape.4 / 4 * 2].map(|rope_dims| (shape, rope_dims)))
}

pub(super) fn heads<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for ((rows, tokens_per_row, first, heads, width), rope_dims) in with_partial_rotations() {
        let tables = tables(k, width, first + tokens_per_row, rope_dims);
        let gain = k.upload(&random(heads, "gain"));
        let x = activations(k, rows * tokens_per_row * heads * width, "x");
        for gain in [None, Some(&gain)] {
            let shape = QkNormRope { heads, width, tokens_per_row, first, gain, tables: &tables };
            results.push((format!("{heads} heads of {width}"), k.download(k.qk_norm_rope(&x, shape))));
        }
    }
    results
}

pub(super) fn head_gradients<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for ((rows, tokens_per_row, first, heads, width), rope_dims) in with_partial_rotations() {
        let tables = tables(k, width, first + tokens_per_row, rope_dims);
        let gain = k.upload(&random(heads, "gain"));
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

/// Gates that read a few channels, and all.
fn gates(heads: Heads) -> [GateShape; 2] {
    let inputs = heads.heads * heads.width;
    let shape =
        |window, factor, slope| GateShape { inputs, window, heads: heads.heads, width: heads.width, factor, slope };
    [shape(inputs.min(3), 2.0, 1.0), shape(inputs, 1.0, 0.5)]
}

/// Inputs of tokens, and weights.
fn gate_inputs<K: Kernels>(k: &K, shape: GateShape, tokens: usize) -> [K::Buffer; 2] {
    let weights = random(shape.heads * shape.window, "gate");
    // Arguments of a size that a sigmoid tells apart.
    let weights: Vec<f32> = weights.iter().map(|w| w / (shape.window as f32).sqrt()).collect();
    [activations(k, tokens * shape.inputs, "inputs"), k.upload(&weights)]
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

pub(super) fn attention<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (rows, seq_len, _, heads, kv_heads, width) in ATTENTION {
        for first_query in [0, seq_len / 2, seq_len - 1] {
            let heads = Heads { seq_len, heads, kv_heads, width, first_query };
            let [q, key, v] = attention_inputs(k, heads, rows);
            let (mixed, lse) = k.attention(heads, [&q, &key, &v]);
            results.push((format!("attention {heads:?}"), k.download(mixed)));
            results.push((format!("lse of {heads:?}"), k.download(lse)));
            let mixed = activations(k, rows * heads.queries() * heads.heads * width, "mixed");
            let v = activations(k, rows * seq_len * kv_heads * width, "v");
            results
                .push((format!("without the own value {heads:?}"), k.download(k.exclude_own_value(heads, &mixed, &v))));
            for shape in gates(heads) {
                let [x, weights] = gate_inputs(k, shape, rows * heads.queries());
                let gated = k.gate_heads(shape, [&x, &weights, &mixed]);
                results.push((format!("gated {shape:?}"), k.download(gated)));
            }
        }
    }
    results
}

pub(super) fn attention_gradients<K: Kernels>(k: &K) -> Results {
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
        let (mixed, mut grad_mixed) = (activations(k, rows * seq_len * heads.heads * width, "mixed"), k.copy(&grad));
        let v = activations(k, rows * seq_len * kv_heads * width, "v");
        let grad_v = k.exclude_own_value_grad(heads, &mixed, &v, &mut grad_mixed);
        for (what, grad) in [("output", grad_mixed), ("own value", grad_v)] {
            results.push((format!("grad of the {what} of {heads:?}"), k.download(grad)));
        }
    }
    results
}

pub(super) fn gate_gradients<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (rows, seq_len, first_query, heads, kv_heads, width) in ATTENTION {
        let heads = Heads { seq_len, heads, kv_heads, width, first_query };
        let outputs = rows * seq_len * heads.heads * width;
        let [mixed, grad] = ["mixed", "grad"].map(|name| activations(k, outputs, name));
        for shape in gates(heads) {
            let tokens = rows * seq_len;
            let ([x, weights], mut grad_mixed) = (gate_inputs(k, shape, tokens), k.copy(&grad));
            let along = k.gate_heads_grad(shape, [&x, &weights, &mixed], &mut grad_mixed);
            let (mut grad_x, mut grad_weights) = (k.copy(&x), k.gradients(shape.heads * shape.window));
            k.gate_input_grad(shape, [&along, &x, &weights], &mut grad_x, &mut grad_weights);
            // Sums over tokens grow as the root of their number.
            let size = (tokens as f32 * heads.width as f32).sqrt();
            let sums = |found: Vec<f32>, size: f32| found.into_iter().map(|sum| sum / size).collect::<Vec<f32>>();
            results.push((format!("grad of what is gated {shape:?}"), k.download(grad_mixed)));
            results
                .push((format!("grad of arguments {shape:?}"), sums(k.download(along), (heads.width as f32).sqrt())));
            results.push((format!("grad of inputs {shape:?}"), sums(k.download(grad_x), (heads.width as f32).sqrt())));
            results.push((format!("grad of weights {shape:?}"), sums(k.download(grad_weights), size)));
        }
    }
    results
}
