//! Rows of tables, activations one by one and by channel, norms, the residual stream.

use super::super::{random, random_ids};
use super::{LINEARS, Results, SHAPES, activations, values};
use crate::data::BEGIN_ID;
use crate::engine::network::{
    ChannelRow, FusedMixInputs, FusedMixOutputs, GatedSkip, Kernels, Linear, Mix, Norm, PendingResidual, Skip, Smear,
    WriteMode,
};

/// Tokens of which every third, and the last, begins a document.
fn begins<K: Kernels>(k: &K, tokens: usize) -> K::Ids {
    let id = |token: usize| if token % 3 == 2 || token + 1 == tokens { u32::from(BEGIN_ID) } else { 7 };
    k.ids(&(0..tokens).map(id).collect::<Vec<_>>(), 8)
}

pub(super) fn copies<K: Kernels>(k: &K) -> Results {
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

pub(super) fn rows_of_tables<K: Kernels>(k: &K) -> Results {
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

pub(super) fn elementwise<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (tokens, width) in SHAPES {
        let x = activations(k, tokens * width, "x");
        let x0 = activations(k, tokens * width, "x0");
        let weights = k.upload(&random(2 * width, "weights"));
        for slope in [0.0, 0.5] {
            results.push((format!("squared, slope {slope}"), k.download(k.leaky_relu_squared(&x, slope))));
        }
        let [mut sum, one] = [k.copy(&x), k.upload(&[0.7])];
        k.add_value_embedding(&x0, [&one, &k.upload(&[-1.3])], &mut sum);
        results.push(("value embedding".into(), k.download(sum)));
        results.push(("merged lanes".into(), k.download(k.merge_lanes([&x, &x0], &one))));
        results.push(("mix".into(), k.download(k.mix(&x, &x0, &weights))));
        for row in 0..2 {
            let mut sum = k.copy(&x);
            k.add_skip(&x0, &weights, ChannelRow { row, width }, &mut sum);
            results.push((format!("skip {row}"), k.download(sum)));
            let (mut sum, gates) = (k.copy(&x), k.upload(&random(2 * width, "gates")));
            let row = ChannelRow { row, width };
            k.add_gated_skip(GatedSkip { output: &x0, weights: &weights, gates: &gates, row }, &mut sum);
            results.push((format!("gated skip {row:?}"), k.download(sum)));
        }
        let gate = k.upload(&random(width, "gate"));
        let begins = begins(k, tokens);
        for (seq_len, begins) in [(1, None), (tokens, None), (tokens, Some(&begins))] {
            let smear = Smear { gate: &gate, seq_len, begins };
            results.push((format!("smear in rows of {seq_len}"), k.download(k.smear(&x, smear))));
        }
    }
    results
}

pub(super) fn elementwise_gradients<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (tokens, width) in SHAPES {
        let x = activations(k, tokens * width, "x");
        let x0 = activations(k, tokens * width, "x0");
        let grad = activations(k, tokens * width, "grad");
        let weights = k.upload(&random(2 * width, "weights"));
        for slope in [0.0, 0.5] {
            let mut grad_hidden = k.copy(&grad);
            k.leaky_relu_squared_grad(&x, slope, &mut grad_hidden);
            results.push((format!("grad of squared, slope {slope}"), k.download(grad_hidden)));
        }
        let grads = k.merge_lanes_grad([&x, &x0], &k.upload(&[0.7]), width, &grad, &mut k.gradients(1));
        results.extend(grads.map(|grad| ("grad of a lane".into(), k.download(grad))));
        let (mut grad_e, [a, b]) = (k.copy(&x), [0.7, -1.3].map(|scale| k.upload(&[scale])));
        let (mut grad_a, mut grad_b) = (k.gradients(1), k.gradients(1));
        k.add_value_embedding_grad(&x0, [&a, &b], width, &grad, &mut grad_e, [&mut grad_a, &mut grad_b]);
        results.push(("grad of value embedding".into(), k.download(grad_e)));

        let (mut grad_x, mut grad_x0) = (k.copy(&grad), k.copy(&x));
        k.mix_grad(&x, &x0, &weights, &mut grad_x, &mut grad_x0, &mut k.gradients(2 * width));
        results.push(("grad of mix by x".into(), k.download(grad_x)));
        results.push(("grad of mix by x0".into(), k.download(grad_x0)));

        let (row, mut grad_skip) = (ChannelRow { row: 1, width }, k.unset(tokens * width));
        k.add_skip_grad(&x, &weights, row, &grad, &mut grad_skip, &mut k.gradients(2 * width));
        results.push(("grad of skip".into(), k.download(grad_skip)));
        let (mut grad_x, mut grad_skip, gates) = (k.copy(&grad), k.unset(tokens * width), k.copy(&weights));
        let skip = GatedSkip { output: &x0, weights: &weights, gates: &gates, row };
        let (mut grad_weights, mut grad_gates) = (k.gradients(2 * width), k.gradients(2 * width));
        let grad_channels = [&mut grad_weights, &mut grad_gates];
        k.add_gated_skip_grad(skip, &x, &mut grad_x, &mut grad_skip, grad_channels);
        results.push(("grad of gated skip by x".into(), k.download(grad_x)));
        results.push(("grad of gated skip".into(), k.download(grad_skip)));

        let begins = begins(k, tokens);
        for (seq_len, begins) in [(1, None), (tokens, None), (tokens, Some(&begins))] {
            let (gate, mut grad_a) = (k.upload(&random(width, "gate")), k.copy(&x0));
            let smear = Smear { gate: &gate, seq_len, begins };
            k.smear_grad(&x, smear, &grad, &mut grad_a, &mut k.gradients(width));
            results.push((format!("grad of smear in rows of {seq_len}"), k.download(grad_a)));
        }
    }
    results
}

pub(super) fn sums_down_columns<K: Kernels>(k: &K) -> Results {
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
        let (mut grad_weights, mut grad_gates) = (k.copy(&weights), k.copy(&weights));
        let skip = GatedSkip { output: &x0, weights: &weights, gates: &weights, row };
        let grad_channels = [&mut grad_weights, &mut grad_gates];
        k.add_gated_skip_grad(skip, &x, &mut k.copy(&grad), &mut k.unset(tokens * width), grad_channels);
        results.push(("grad of gated skip weights".into(), k.download(grad_weights)));
        results.push(("grad of gates".into(), k.download(grad_gates)));

        let [a, b] = [0.7, -1.3].map(|scale| k.upload(&[scale]));
        let (mut grad_a, mut grad_b, mut grad_m) = (k.copy(&a), k.copy(&b), k.copy(&a));
        k.add_value_embedding_grad(&x0, [&a, &b], width, &grad, &mut k.copy(&x), [&mut grad_a, &mut grad_b]);
        k.merge_lanes_grad([&x, &x0], &a, width, &grad, &mut grad_m);
        // Sums over all values, whose size grows as the root of their number.
        let size = (tokens as f32 * width as f32).sqrt();
        for (what, found) in [("a scale", grad_a), ("another scale", grad_b), ("the merge", grad_m)] {
            results.push((format!("grad of {what}"), k.download(found).into_iter().map(|sum| sum / size).collect()));
        }
        let begins = begins(k, tokens);
        for (seq_len, begins) in [(1, None), (tokens, None), (tokens, Some(&begins))] {
            let gate = k.upload(&random(width, "gate"));
            let mut grad_gate = k.copy(&gate);
            let smear = Smear { gate: &gate, seq_len, begins };
            k.smear_grad(&x, smear, &grad, &mut k.copy(&x0), &mut grad_gate);
            results.push((format!("grad of gate in rows of {seq_len}"), k.download(grad_gate)));
        }
    }
    results
}

pub(super) fn norms<K: Kernels>(k: &K) -> Results {
    let norm = |((tokens, width), factor)| {
        let mut x = values(k, tokens * width, "x");
        // A row of zeros is no division by zero.
        x[..width].fill(0.0);
        (format!("norm of {tokens} x {width}"), k.download(k.rms_norm(&k.store(&x), Norm { width, factor })))
    };
    SHAPES.into_iter().flat_map(|shape| [(shape, 1.0), (shape, 0.57)]).map(norm).collect()
}

/// The residual stream's fused operations, with and without their optional arguments.
pub(super) fn streams<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (tokens, width) in SHAPES {
        let [x, x0, output] = ["x", "x0", "output"].map(|name| activations(k, tokens * width, name));
        let product = activations(k, tokens * width, "gemm_f32");
        let (scale, weights) = (k.upload(&random(width, "weights")), k.upload(&random(2 * width, "weights")));
        for (with_residual, with_skip, with_mix) in (0..8).map(|i| (i & 1 == 1, i & 2 == 2, i & 4 == 4)) {
            let inputs = FusedMixInputs {
                residual: with_residual.then_some(PendingResidual { product: &product, scale: &scale, width }),
                skip: with_skip.then_some(Skip {
                    output: &output,
                    weights: &weights,
                    row: ChannelRow { row: 1, width },
                }),
                mix: with_mix.then_some(Mix { x0: &x0, weights: &weights }),
                norm: Norm { width, factor: if with_mix { 1.0 } else { 0.57 } },
                keep_input: true,
            };
            let FusedMixOutputs { input, mixed, normed, .. } = k.fused_mix_rms_norm(k.copy(&x), inputs);
            let Some(input) = input else { continue };
            for (what, found) in [("input", input), ("mixed", mixed), ("normed", normed)] {
                results.push((format!("{what}, residual {with_residual}, skip {with_skip}"), k.download(found)));
            }
        }
        for product in [None, Some(&product)] {
            let mut sum = k.copy(&x);
            let residual = product.map(|product| PendingResidual { product, scale: &scale, width });
            results.push((
                "norm of a sum".into(),
                k.download(k.add_residual_rms_norm(residual, Norm::of(width), &mut sum)),
            ));
            results.push(("sum".into(), k.download(sum)));
        }
        let begins = begins(k, tokens);
        for (seq_len, begins) in [(1, None), (tokens, None), (tokens, Some(&begins))] {
            let smear = Smear { gate: &scale, seq_len, begins };
            results.push(("norm and smear".into(), k.download(k.norm_smear(&x, smear, width))));
        }
    }
    for (tokens, inputs, outputs) in LINEARS {
        let dims = Linear { tokens, inputs, outputs };
        let (x, w) = (activations(k, tokens * inputs, "x"), activations(k, outputs * inputs, "w"));
        let (squared, hidden) = k.squared_linear(dims, &x, &w, 0.5, true);
        results.extend([("squared", squared)].map(|(what, found)| (format!("{what} {dims:?}"), k.download(found))));
        let Some(hidden) = hidden else { continue };
        let (grad_y, back) = (activations(k, tokens * inputs, "grad"), activations(k, inputs * outputs, "back"));
        let mut grad_hidden = k.copy(&hidden);
        let dims = Linear { tokens, inputs: outputs, outputs: inputs };
        k.squared_linear_grad(dims, &grad_y, &back, &hidden, 0.5, &mut grad_hidden);
        results.push((format!("hidden {dims:?}"), k.download(hidden)));
        results.push((format!("grad of hidden {dims:?}"), k.download(grad_hidden)));
    }
    results
}

pub(super) fn norm_gradients<K: Kernels>(k: &K) -> Results {
    let gradient = |(tokens, width)| {
        let (x, grad) = (activations(k, tokens * width, "x"), activations(k, tokens * width, "grad"));
        [WriteMode::Accumulate, WriteMode::Overwrite].map(|mode| {
            let mut grad_x = k.copy(&x);
            k.rms_norm_grad(&x, &grad, Norm { width, factor: 0.57 }, mode, &mut grad_x);
            (format!("{mode:?} grad of norm of {tokens} x {width}"), k.download(grad_x))
        })
    };
    SHAPES.into_iter().flat_map(gradient).collect()
}
