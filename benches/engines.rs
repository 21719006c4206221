//! Tokens per second of each engine beside the ceiling that matrix products set.
//!
//! `cargo bench --bench engines -- [small] [full]` prints one line per engine and task. Numbers of one run can be
//! compared with one another; those of different runs only where nothing else ran.

use std::time::Instant;

use golf_harness::data::TokenBatch;
use golf_harness::engine::{EngineKind, FakeQuant, Window, create};
use golf_harness::model::{ModelConfig, init};
use golf_harness::random::RandomStream;
use rayon::prelude::*;

struct Case {
    name: &'static str,
    config: ModelConfig,
    seq_len: usize,
    /// Rows of a training micro-batch.
    rows: usize,
    /// Windows scored, one task each.
    windows: usize,
    /// Positions scored at the end of each window.
    stride: usize,
}

fn cases() -> [Case; 2] {
    let small = ModelConfig { num_layers: 4, model_dim: 128, num_heads: 4, num_kv_heads: 2, ..Default::default() };
    [
        Case { name: "small", config: small, seq_len: 128, rows: 64, windows: 64, stride: 32 },
        Case { name: "full", config: ModelConfig::default(), seq_len: 2048, rows: 2, windows: 2, stride: 64 },
    ]
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for case in cases().iter().filter(|case| wanted.is_empty() || wanted.iter().any(|name| name == case.name)) {
        measure(case);
    }
}

fn measure(case: &Case) {
    let weights = init(&case.config, 1);
    let mut stream = RandomStream::new(1, "bench tokens");
    let mut tokens = |n: usize| -> Vec<u16> { (0..n).map(|_| stream.below(1024) as u16).collect() };
    let windows: Vec<_> = (0..case.windows).map(|_| tokens(case.seq_len + 1)).collect();
    let windows: Vec<_> =
        windows.iter().map(|tokens| Window { tokens, first_scored: case.seq_len - case.stride }).collect();
    let (inputs, targets) = (tokens(case.rows * case.seq_len), tokens(case.rows * case.seq_len));
    let batch = TokenBatch { inputs, targets, seq_len: case.seq_len };

    let ceiling = ceiling(case.config.model_dim, case.config.mlp_hidden());
    let threads = rayon::current_num_threads();
    println!("{}: {threads} threads, matrix products {:.0} GFLOP/s", case.name, ceiling / 1e9);
    for kind in [EngineKind::Kernels, EngineKind::Dfdx] {
        let engine = create(kind);
        let scorer = engine.scorer(&case.config, &weights).expect("valid weights");
        let forward = best(|| scorer.nll(&windows).expect("valid windows").len());
        let training = best(|| {
            let result = engine.loss_and_gradients(&case.config, &weights, &batch, FakeQuant::Off);
            result.expect("valid batch").gradients.num_elements()
        });
        let scored = (case.windows * case.seq_len) as f64 / forward;
        let trained = batch.inputs.len() as f64 / training;
        println!(
            "  {kind:>8}: scoring {scored:9.0} tokens/s ({:.2} windows/s), training {trained:9.0} tokens/s",
            case.windows as f64 / forward
        );
    }
}

/// Seconds of the faster of two runs.
fn best(mut run: impl FnMut() -> usize) -> f64 {
    (0..2)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(run());
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

/// Floating-point operations a second of `[1024, inputs] x [inputs, outputs]` on every thread at once.
fn ceiling(inputs: usize, outputs: usize) -> f64 {
    use faer::{Accum, Mat, Par, linalg::matmul::matmul};
    const TOKENS: usize = 1024;
    let (threads, repeats) = (rayon::current_num_threads(), 20);
    let start = Instant::now();
    (0..threads).into_par_iter().for_each(|_| {
        let (a, b) = (Mat::<f32>::full(TOKENS, inputs, 0.5), Mat::<f32>::full(inputs, outputs, 0.25));
        let mut c = Mat::<f32>::zeros(TOKENS, outputs);
        (0..repeats).for_each(|_| matmul(&mut c, Accum::Replace, &a, &b, 1.0, Par::Seq));
        std::hint::black_box(c);
    });
    (2 * TOKENS * inputs * outputs * repeats * threads) as f64 / start.elapsed().as_secs_f64()
}
