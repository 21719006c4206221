//! Whole rows and whole groups, as the challenge's runs have them: on a GPU at full size, on the shim at a small one.
//!
//! References are the kernels for single precision, which share no code with those for tensor cores.

use std::sync::Arc;

use super::network::{batch, weights};
use super::{kernels, random, random_ids};
use crate::collective::Solo;
use crate::engine::cuda::backend::CudaKernels;
use crate::engine::cuda::device::{DType, Device, Instruction};
use crate::engine::cuda::engine::CudaEngine;
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::{Heads, Kernels, Linear};
use crate::engine::{Engine, Precision, Window};
use crate::manifest::OptimizerConfig;
use crate::model::ModelConfig;
use crate::optim::{FakeQuant, Optimizer, StepPlan, SwaSum};

fn narrow_kernels<D: Device>(device: &Arc<D>) -> CudaKernels<D> {
    CudaKernels::new(Arc::clone(device), Precision::Bf16)
}

/// Normally distributed values, all of them bfloat16 numbers.
fn rounded(len: usize, name: &str) -> Vec<f32> {
    random(len, name).into_iter().map(|value| half::bf16::from_f32(value).to_f32()).collect()
}

/// Distance of two vectors in the 2-norm, relative to the second; NaN is infinitely far.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |value: f32| f64::from(value).powi(2);
    let apart: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    let distance = (apart / expected.iter().copied().map(square).sum::<f64>()).sqrt();
    if distance.is_nan() { f64::INFINITY } else { distance }
}

/// Values are rounded to eight bits twice or three times on their way: 2^-9 each time, at most.
fn attention_of_rows<D: Device>(device: &Arc<D>, rows: usize, heads: Heads) {
    let (queries, keys) = (rows * heads.seq_len * heads.heads, rows * heads.seq_len * heads.kv_heads);
    let [q, grad] = ["q", "grad"].map(|name| rounded(queries * heads.width, name));
    let [key, value] = ["k", "v"].map(|name| rounded(keys * heads.width, name));
    let run = |k: &CudaKernels<D>| {
        let [q, key, value, grad] = [&q, &key, &value, &grad].map(|values| k.store(values));
        let (mixed, lse) = k.attention(heads, [&q, &key, &value]);
        let [grad_q, grad_k, grad_v] = k.attention_grad(heads, [&q, &key, &value], [&mixed, &lse], &grad);
        let found = [mixed, lse, grad_q, grad_k, grad_v].map(|values| k.download(values));
        k.check().unwrap();
        found
    };
    let (found, expected) = (run(&narrow_kernels(device)), run(&kernels(device)));
    for (name, (found, expected)) in
        ["mixed", "lse", "grad_q", "grad_k", "grad_v"].iter().zip(found.iter().zip(&expected))
    {
        let distance = distance(found, expected);
        println!("{name}: {distance:e}");
        assert!(distance < 1e-2, "{name} is off by {distance:e}");
    }
    assert_eq!(found, run(&narrow_kernels(device)), "again");
}

/// The library's product and the one with its square, beside single precision.
fn products_of_rows<D: Device>(device: &Arc<D>, s: Linear) {
    const ONE_ROUNDING: f64 = 1.0 / 512.0;
    let (x, w) = (rounded(s.tokens * s.inputs, "x"), rounded(s.inputs * s.outputs, "w"));
    let linear = |k: &CudaKernels<D>| {
        let mut y = k.unset(s.tokens * s.outputs);
        k.linear(s, &k.store(&x), &k.store(&w), crate::engine::network::WriteMode::Overwrite, &mut y);
        k.download(y)
    };
    let (narrow, expected) = (narrow_kernels(device), linear(&kernels(device)));
    let found = linear(&narrow);
    let (squared, hidden) = narrow.squared_linear(s, &narrow.store(&x), &narrow.store(&w), 0.5, true);
    let [squared, hidden] = [squared, hidden.unwrap()].map(|values| narrow.download(values));
    narrow.check().unwrap();
    for (name, found) in [("the library's", &found), ("the engine's own", &hidden)] {
        let distance = distance(found, &expected);
        println!("{name}: {distance:e}");
        assert!(distance < ONE_ROUNDING, "{name} product is off by {distance:e}");
    }
    for (squared, hidden) in squared.iter().zip(&hidden) {
        let leaky = if *hidden < 0.0 { 0.5 * hidden } else { *hidden };
        assert!(
            (squared - leaky * leaky).abs() <= 2.0 * ONE_ROUNDING as f32 * leaky * leaky,
            "{hidden} gives {squared}"
        );
    }
}

/// Attention and a product by `wgmma` and by `mma.sync`: apart by what rounding the results to bfloat16 explains.
fn instructions_agree<D: Device>(device: &Arc<D>, rows: usize, heads: Heads, s: Linear) {
    const ONE_ROUNDING: f64 = 1.0 / 256.0;
    let queries = rows * heads.seq_len * heads.heads * heads.width;
    let keys = rows * heads.seq_len * heads.kv_heads * heads.width;
    let [q, key, value] = [("q", queries), ("k", keys), ("v", keys)].map(|(name, len)| rounded(len, name));
    let [x, w, grad] = [("x", s.tokens * s.inputs), ("w", s.inputs * s.outputs), ("grad", s.tokens * s.inputs)]
        .map(|(name, len)| rounded(len, name));
    let back = Linear { tokens: s.tokens, inputs: s.outputs, outputs: s.inputs };
    let [warps, warpgroups] = [Instruction::Mma, Instruction::Wgmma].map(|instruction| {
        let k = narrow_kernels(device).made_of(instruction);
        let (mixed, lse) = k.attention(heads, [&q, &key, &value].map(|values| k.store(values)).each_ref());
        let (squared, hidden) = k.squared_linear(s, &k.store(&x), &k.store(&w), 0.5, true);
        let hidden = hidden.unwrap();
        let slope = k.buffer_of(DType::Bf16, s.tokens * s.outputs);
        let [grad, w] = [&grad, &w].map(|values| k.store(values));
        k.fused_squared_grad(back, 0.5, [&grad, &w, &hidden, &slope].map(Buffer::view));
        let found = [mixed, lse, squared, hidden, slope].map(|values| k.download(values));
        k.check().unwrap();
        found
    });
    for (name, (one, other)) in ["mixed", "lse", "squared", "hidden", "slope"].iter().zip(warpgroups.iter().zip(&warps))
    {
        let distance = distance(one, other);
        println!("{name}: {distance:e}");
        assert!(distance < ONE_ROUNDING, "{name} by wgmma is {distance:e} from that by mma.sync");
    }
}

/// Likelihoods of the same windows in the same order, in reverse, and moved on by one: not a bit is another.
fn windows_score_alike<D: Device + 'static>(
    engine: &CudaEngine<D>,
    config: &ModelConfig,
    seq_len: usize,
    count: usize,
) {
    let tokens: Vec<u16> =
        random_ids(seq_len + 64 * count + 1, config.vocab_size, "text").iter().map(|&id| id as u16).collect();
    let window =
        |i: usize| Window { tokens: &tokens[64 * i..64 * i + seq_len + 1], first_scored: seq_len - seq_len.min(64) };
    let windows: Vec<_> = (0..count).map(window).collect();
    let scorer = engine.scorer(config, &weights(config)).unwrap();
    let first = scorer.nll(&windows).unwrap();
    assert!(first.iter().flatten().all(|nll| nll.is_finite()));
    assert!(first == scorer.nll(&windows).unwrap(), "a second time");
    let backward: Vec<_> = windows.iter().copied().rev().collect();
    assert!(first.iter().rev().eq(&scorer.nll(&backward).unwrap()), "in reverse order");
    assert!(first[1..] == scorer.nll(&windows[1..]).unwrap(), "moved on by one");
}

/// A vocabulary of which no whole number of tokens fills a piece of the logits, and channels that no vector divides.
fn logits_in_pieces<D: Device>(device: &Arc<D>, tokens: usize) {
    let s = Linear { tokens, inputs: 72, outputs: 1100 };
    let (x, head) = (rounded(s.tokens * s.inputs, "x"), rounded(s.inputs * s.outputs, "head"));
    let targets = random_ids(tokens, s.outputs, "targets");
    let run = |k: &CudaKernels<D>| {
        let (x, head, targets) = (k.store(&x), k.store(&head), k.ids(&targets, s.outputs));
        let nll = k.nll(s, &x, &head, 30.0, &targets);
        let nll = k.download(nll);
        k.check().unwrap();
        nll
    };
    let off = distance(&run(&narrow_kernels(device)), &run(&kernels(device)));
    assert!(off < 5e-3, "{off:e}");
}

/// After a step of training every product that ends in bfloat16 is made in one part.
fn only_single_precision_is_split<D: Device + 'static>(
    device: &Arc<D>,
    config: &ModelConfig,
    rows: usize,
    seq_len: usize,
) {
    let engine = CudaEngine::new(narrow_kernels(device));
    let optimizer = Optimizer::new(&OptimizerConfig::default(), config);
    let trainer = engine.device_trainer(config, &weights(config), &optimizer, &SwaSum::default(), &Solo).unwrap();
    let mut trainer = trainer.unwrap();
    trainer.micro_batch(&batch(config, rows, seq_len), FakeQuant::Off).unwrap();
    let plan =
        StepPlan { lr_multiplier: 1.0, muon_momentum: 0.95, fake_quant: FakeQuant::Off, swa_pick: false, phase: 0 };
    trainer.step(&plan, 1.0).unwrap();
    let Some(library) = device.products() else { return };
    assert!(library.cublaslt >= 130_000 && !library.products.is_empty());
    for product in &library.products {
        println!("{product:?}");
        let splits = product.algorithm.is_some_and(|algorithm| algorithm.splits());
        assert!(!splits || product.product.ends_with("to f32"), "{product:?}");
    }
}

mod on_the_processor {
    use super::*;
    use crate::engine::cuda::shim::{hopper_shim, shim};

    #[test]
    fn attention_of_some_rows() {
        let Some(device) = shim() else { return };
        attention_of_rows(&device, 2, Heads { seq_len: 130, heads: 2, kv_heads: 1, width: 64, first_query: 0 });
    }

    #[test]
    fn products_of_some_rows() {
        let Some(device) = shim() else { return };
        products_of_rows(&device, Linear { tokens: 130, inputs: 64, outputs: 96 });
    }

    #[test]
    fn either_instruction_at_a_small_size() {
        let Some(device) = hopper_shim() else { return };
        let heads = Heads { seq_len: 70, heads: 2, kv_heads: 1, width: 64, first_query: 0 };
        instructions_agree(&device, 2, heads, Linear { tokens: 130, inputs: 64, outputs: 96 });
    }

    #[test]
    fn some_windows_score_alike() {
        let Some(device) = shim() else { return };
        let [config, _] = super::super::network::configs();
        windows_score_alike(&super::super::network::narrow_engine(&device), &config, 20, 7);
    }

    #[test]
    fn logits_of_some_tokens() {
        let Some(device) = shim() else { return };
        logits_in_pieces(&device, 40);
    }

    #[test]
    fn there_is_no_library() {
        let Some(device) = shim() else { return };
        let [config, _] = super::super::network::configs();
        only_single_precision_is_split(&device, &config, 1, 8);
        assert_eq!(device.products(), None);
    }
}

mod on_a_gpu {
    use super::super::gpu;
    use super::*;
    use crate::engine::LibraryAlgorithm;
    use crate::engine::cuda::gemm::{Batch, GemmDesc};

    #[test]
    #[ignore = "needs a CUDA device"]
    fn attention_of_whole_rows() {
        attention_of_rows(&gpu(), 2, Heads { seq_len: 2048, heads: 8, kv_heads: 4, width: 64, first_query: 0 });
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn products_of_whole_groups() {
        products_of_rows(&gpu(), Linear { tokens: 65_536, inputs: 512, outputs: 1536 });
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn windows_score_alike_wherever_they_lie() {
        windows_score_alike(&CudaEngine::new(narrow_kernels(&gpu())), &ModelConfig::default(), 2048, 64);
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn logits_come_in_aligned_pieces() {
        // 60,928 tokens are a piece.
        logits_in_pieces(&gpu(), 65_536);
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn sums_are_split_only_in_single_precision() {
        only_single_precision_is_split(&gpu(), &ModelConfig::default(), 8, 2048);
    }

    /// Times are printed; that one of the others is faster is no failure.
    #[test]
    #[ignore = "needs a CUDA device"]
    fn the_first_algorithm_is_timed_beside_others() {
        for sides in [[65_536, 512, 512], [65_536, 256, 512], [65_536, 512, 1536], [98_304, 1536, 512]] {
            let times = candidates(sides);
            let (_, first) = *times.first().expect("an algorithm");
            for (algorithm, seconds) in &times {
                println!("{sides:?}: {:8.1} us, {:5.2} of the first, {algorithm:?}", 1e6 * seconds, seconds / first);
            }
        }
    }

    /// Every product of a step of a small network, with an algorithm or none.
    #[test]
    #[ignore = "needs a CUDA device"]
    fn the_library_says_what_it_chose() {
        let [config, _] = super::super::network::configs();
        only_single_precision_is_split(&gpu(), &config, 2, 8);
        let library = gpu().products().unwrap();
        let known = |name: &str| library.products.iter().find(|product| product.product == name).unwrap().algorithm;
        let algorithm = known("nt, 16 x 64 x 64, bf16 to bf16").unwrap();
        assert!(algorithm.id.is_some() && algorithm.tile.is_some() && algorithm.split_k == Some(1), "{algorithm:?}");
        let times = candidates([64, 32, 16]);
        assert!(times.iter().all(|&(_, seconds)| seconds > 0.0) && times[0].0.id.is_some(), "{times:?}");
    }

    /// Times of a product of m x k by k x n matrices by the library's choices.
    fn candidates([m, n, k_side]: [usize; 3]) -> Vec<(LibraryAlgorithm, f64)> {
        let gpu = gpu();
        let k = narrow_kernels(&gpu);
        let [a, b] = [m * k_side, n * k_side].map(|len| k.store(&rounded(len, "factor")));
        let out = k.unset(m * n);
        let [a, b, out] = [&a, &b, &out].map(Buffer::view);
        let gemm = GemmDesc {
            m,
            n,
            k: k_side,
            a_transposed: false,
            b_transposed: true,
            alpha: 1.0,
            beta: 0.0,
            a,
            b,
            c: out,
            out,
            batch: Batch::ONE,
        };
        gemm.check(k.shared.id()).unwrap();
        // SAFETY: the operands fit the product (checked above) and stay until it has been waited for.
        unsafe { gpu.time_candidates(&gemm) }.unwrap()
    }
}

mod on_a_hopper_gpu {
    use std::time::Instant;

    use super::super::hopper_gpu;
    use super::*;
    use crate::engine::cuda::backend::gemm_bf16::{Epilogue, GemmBf16, Plan};
    use crate::engine::cuda::gemm::Batch;

    const HEADS: Heads = Heads { seq_len: 2048, heads: 8, kv_heads: 4, width: 64, first_query: 0 };
    const LINEAR: Linear = Linear { tokens: 65_536, inputs: 512, outputs: 1536 };
    /// Windows of a group of that many tokens.
    const ROWS: usize = 32;

    /// Times are printed; that one of the others is faster is no failure.
    #[test]
    #[ignore = "needs a CUDA device of compute capability 9.0"]
    fn either_instruction_at_full_size() {
        let gpu = hopper_gpu();
        instructions_agree(&gpu, 8, HEADS, LINEAR);
        let Linear { tokens, inputs, outputs } = LINEAR;
        let k = narrow_kernels(&gpu);
        let seconds = |what: &str, flops: f64, out: &Buffer<_>, work: &dyn Fn()| {
            const RUNS: u32 = 20;
            // A little of the result is waited for.
            let wait = || drop(k.shared.read(out.view().slice(0..2).unwrap()));
            work();
            wait();
            let start = Instant::now();
            (0..RUNS).for_each(|_| work());
            wait();
            let seconds = start.elapsed().as_secs_f64() / f64::from(RUNS);
            println!("{what}: {:8.1} us, {:6.1} TFLOP/s", 1e6 * seconds, flops / seconds / 1e12);
        };
        let [x, w] = [tokens * inputs, inputs * outputs].map(|len| k.store(&rounded(len, "factor")));
        let [y, hidden] = [0, 1].map(|_| k.buffer_of(DType::Bf16, tokens * outputs));
        let product = GemmBf16 {
            m: tokens,
            n: outputs,
            k: inputs,
            a_transposed: false,
            b_transposed: true,
            alpha: 1.0,
            epilogue: Epilogue::Squared { slope: 0.0, hidden: Some(hidden.view()) },
            a: x.view(),
            b: w.view(),
            out: y.view(),
            batch: Batch::ONE,
        };
        let wide = product.plan(Instruction::Wgmma);
        let narrow = Plan { kernel: "wgmma_gemm_bf16_nt", tile: 128, ..wide };
        let alone = |plan: Plan| Plan { strip: 1, ..plan };
        for plan in [product.plan(Instruction::Mma), wide, alone(wide), narrow, alone(narrow)] {
            let flops = 2.0 * (tokens * inputs * outputs) as f64;
            let what = format!("{}, strips of {}", plan.kernel, plan.strip);
            seconds(&what, flops, &y, &|| k.gemm_with_plan(&product, &plan));
        }
        let values = |heads: usize| k.store(&rounded(ROWS * HEADS.seq_len * heads * HEADS.width, "values"));
        let [q, key, value] = [HEADS.heads, HEADS.kv_heads, HEADS.kv_heads].map(values);
        let pairs = (ROWS * HEADS.heads * HEADS.seq_len * (HEADS.seq_len + 1) / 2) as f64;
        for instruction in [Instruction::Mma, Instruction::Wgmma] {
            let k = narrow_kernels(&gpu).made_of(instruction);
            let flops = 4.0 * HEADS.width as f64 * pairs;
            seconds(&format!("attention by {instruction:?}"), flops, &y, &|| {
                drop(k.attention(HEADS, [&q, &key, &value]))
            });
        }
        k.check().unwrap();
    }
}
