//! Linear layers, logits and likelihoods.

use super::super::{random, random_ids};
use super::{LINEARS, Results, activations, values};
use crate::engine::network::{Kernels, Linear, WriteMode};

pub(super) fn linears<K: Kernels>(k: &K) -> Results {
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

/// Tokens, inputs, vocabulary.
const LOSSES: [(usize, usize, usize); 4] = [(1, 3, 2), (5, 8, 33), (9, 16, 100), (130, 4, 257)];
const CAP: f32 = 30.0;

fn loss_inputs<K: Kernels>(k: &K, dims: Linear) -> (K::Buffer, K::Buffer, K::Ids) {
    let targets = k.ids(&random_ids(dims.tokens, dims.outputs, "targets"), dims.outputs);
    let head: Vec<f32> = values(k, dims.outputs * dims.inputs, "head").iter().map(|value| value * 4.0).collect();
    (activations(k, dims.tokens * dims.inputs, "x"), k.store(&head), targets)
}

pub(super) fn losses<K: Kernels>(k: &K) -> Results {
    let mut results = Vec::new();
    for (tokens, inputs, outputs) in LOSSES {
        let dims = Linear { tokens, inputs, outputs };
        let (x, head, targets) = loss_inputs(k, dims);
        results.push((format!("logits of {dims:?}"), k.download(k.logits(dims, &x, &head, CAP))));
        results.push((format!("nll of {dims:?}"), k.download(k.nll(dims, &x, &head, CAP, &targets))));
    }
    results
}

pub(super) fn loss_gradients<K: Kernels>(k: &K) -> Results {
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
