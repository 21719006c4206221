//! Tokens per second of each engine beside the ceiling that matrix products set.
//!
//! `cargo bench --bench engines -- [small|full|gpu|shapes] [kernels|dfdx] [scoring|training] [bf16|avx2] [json] [group=N] [skew=X]` prints one line
//! per measurement; without arguments everything but `gpu`, the full size on a CUDA device with the batches of the
//! challenge's runs, and `shapes`, which times the products of one layer one by one.
//! `bf16` scores in bfloat16, and on a CUDA device trains in it, `avx2` without wider vectors and without AMX; `group=N`
//! scores windows of N tokens at once on a CUDA device. Ids are as unevenly spread as those of real text, or by another
//! power of a uniform number: `skew=1` for ids that are equally frequent.
//! Numbers of one run can be compared with one another; those of different runs only where nothing else ran.
//! `ci/speed/compare.py` alternates these measurements with PyTorch's.
#![allow(clippy::expect_used, reason = "a benchmark that cannot run stops")]

use std::time::Instant;

use golf_harness::collective::Solo;
use golf_harness::data::TokenBatch;
use golf_harness::engine::{DeviceChoice, EngineDevice, EngineKind, GraphLaunches, Isa, Precision, Window, use_isa};
use golf_harness::manifest::{MICRO_BATCHES_PER_STEP, OptimizerConfig};
use golf_harness::model::{ModelConfig, init};
use golf_harness::optim::{FakeQuant, Optimizer, StepPlan, SwaSum};
use golf_harness::random::RandomStream;
use rayon::prelude::*;

/// Timed repetitions; the median counts.
const REPEATS: usize = 3;

/// A step at a rate that keeps the weights where they are.
const PLAN: StepPlan =
    StepPlan { lr_multiplier: 1e-6, muon_momentum: 0.95, fake_quant: FakeQuant::Off, swa_pick: false, phase: 0 };

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
    device: DeviceChoice,
}

fn cases() -> [Case; 3] {
    let small = ModelConfig { num_layers: 4, model_dim: 128, num_heads: 4, num_kv_heads: 2, ..Default::default() };
    [
        Case {
            name: "small",
            config: small,
            seq_len: 128,
            rows: 64,
            windows: 64,
            stride: 32,
            device: DeviceChoice::Cpu,
        },
        Case {
            name: "full",
            config: ModelConfig::default(),
            seq_len: 2048,
            rows: 2,
            windows: 2,
            stride: 64,
            device: DeviceChoice::Cpu,
        },
        Case {
            name: "gpu",
            config: ModelConfig::default(),
            seq_len: 2048,
            // A micro-batch of the recipe, an eighth of 786,432 tokens.
            rows: 48,
            windows: 256,
            stride: 64,
            device: DeviceChoice::Cuda(0),
        },
    ]
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let among = |names: &[&str], name: &str| {
        words.iter().any(|word| word == name) || !words.iter().any(|word| names.contains(&word.as_str()))
    };
    let json = words.iter().any(|word| word == "json");
    let group = words.iter().find_map(|word| word.strip_prefix("group=")).map(|tokens| {
        tokens.parse::<usize>().ok().filter(|&tokens| tokens > 0).expect("group=N with a number of tokens")
    });
    let skew = words.iter().find_map(|word| word.strip_prefix("skew=")).map_or(SKEW, |power| {
        power.parse::<f64>().ok().filter(|power| power.is_finite() && *power > 0.0).expect("skew=X with a power")
    });
    if words.iter().any(|word| word == "shapes") {
        return shapes();
    }
    let precision = if words.iter().any(|word| word == "bf16") { Precision::Bf16 } else { Precision::F32 };
    if words.iter().any(|word| word == "avx2") {
        use_isa(Isa::Avx2).expect("a processor with AVX2");
    }
    let asked = |case: &&Case| {
        let is_named = words.iter().any(|word| word == case.name);
        is_named || case.name != "gpu" && among(&["small", "full", "gpu"], case.name)
    };
    for case in cases().iter().filter(asked) {
        for (kind, engine) in [(EngineKind::Kernels, "kernels"), (EngineKind::Dfdx, "dfdx")] {
            for task in ["scoring", "training"] {
                let runs_there = case.device == DeviceChoice::Cpu || kind == EngineKind::Kernels;
                let is_scoring = (kind, task) == (EngineKind::Kernels, "scoring");
                let runs_there =
                    runs_there && (precision == Precision::F32 || is_scoring || case.device != DeviceChoice::Cpu);
                if runs_there && among(&["kernels", "dfdx"], engine) && among(&["scoring", "training"], task) {
                    measure(case, kind, task, precision, Shown { json, group, skew });
                }
            }
        }
    }
}

/// The power of a uniform number that spreads ids as text does: the most frequent of 1,024 stands at 2.4 % of the places, as in FineWeb with the
/// sp1024 tokenizer (2,000 to 2,600 of 98,304).
const SKEW: f64 = 1.85;

/// An id from a uniform value in [0, 1), by that power of it.
fn skewed(uniform: f64, power: f64) -> u16 {
    (1024.0 * uniform.powf(power)) as u16
}

/// How a measurement is made and shown.
#[derive(Clone, Copy)]
struct Shown {
    json: bool,
    /// Tokens of windows scored at once, where not the engine's own.
    group: Option<usize>,
    /// How unevenly ids are spread.
    skew: f64,
}

fn measure(case: &Case, kind: EngineKind, task: &str, precision: Precision, Shown { json, group, skew }: Shown) {
    let weights = init(&case.config, 1);
    let mut stream = RandomStream::new(1, "bench tokens");
    let mut tokens = |n: usize| -> Vec<u16> { (0..n).map(|_| skewed(stream.uniform(), skew)).collect() };
    let windows: Vec<_> = (0..case.windows).map(|_| tokens(case.seq_len + 1)).collect();
    let windows: Vec<_> =
        windows.iter().map(|tokens| Window { tokens, first_scored: case.seq_len - case.stride }).collect();
    let (inputs, targets) = (tokens(case.rows * case.seq_len), tokens(case.rows * case.seq_len));
    let batch = TokenBatch { inputs, targets, seq_len: case.seq_len };

    let ceiling = ceiling(case.config.model_dim, case.config.mlp_hidden());
    let device = match EngineDevice::open(case.device) {
        Ok(device) => device,
        Err(reason) => {
            eprintln!("{}: {reason}", case.device);
            std::process::exit(2);
        }
    };
    let own_groups = || device.engine(kind, precision).expect("a kind that runs there");
    let engine = group.and_then(|tokens| device.engine_in_groups(precision, tokens)).unwrap_or_else(own_groups);
    let ((seconds, cpu), rows) = if task == "scoring" {
        let scorer = engine.scorer(&case.config, &weights).expect("valid weights");
        (median(|| scorer.nll(&windows).expect("valid windows").len()), case.windows)
    } else {
        let optimizer = Optimizer::new(&OptimizerConfig::default(), &case.config);
        let trainer = engine
            .device_trainer(&case.config, &weights, &optimizer, &SwaSum::default(), &Solo)
            .expect("valid weights");
        match trainer {
            // A whole step of the recipe, its update included: a micro-batch alone is not waited for.
            Some(mut trainer) => {
                let step = || {
                    for _ in 0..MICRO_BATCHES_PER_STEP {
                        trainer.micro_batch(&batch, FakeQuant::Off).expect("valid batch");
                    }
                    trainer.step(&PLAN, 1.0 / MICRO_BATCHES_PER_STEP as f32).expect("a step").losses.len()
                };
                (median(step), case.rows * MICRO_BATCHES_PER_STEP as usize)
            }
            None => {
                let train = || {
                    let result = engine.loss_and_gradients(&case.config, &weights, &batch, FakeQuant::Off);
                    result.expect("valid batch").gradients.num_elements()
                };
                (median(train), case.rows)
            }
        }
    };
    let per_cpu = (rows * case.seq_len) as f64 / cpu;
    let (windows, tokens) = (rows as f64 / seconds, (rows * case.seq_len) as f64 / seconds);
    let (gflops, peak, threads) = (ceiling / 1e9, peak_mib(), rayon::current_num_threads());
    let GraphLaunches { recorded, single, refused } = GraphLaunches::so_far();
    if json {
        let library = serde_json::to_string(&device.library_products()).expect("JSON");
        println!(
            "{{\"engine\": \"{kind}\", \"task\": \"{task}\", \"seconds\": {seconds}, \"cpu_seconds\": {cpu}, \"windows_per_s\": {windows}, \
             \"tokens_per_s\": {tokens}, \"peak_mib\": {peak}, \"gemm_gflops\": {gflops}, \"threads\": {threads}, \
             \"graphs\": {{\"recorded\": {recorded}, \"single\": {single}, \"refused\": {refused}}}, \"library\": {library}}}"
        );
    } else {
        let name = case.name;
        println!(
            "{name} {kind:>8} {task:>8}: {tokens:8.0} tokens/s, {windows:7.2} windows/s, {per_cpu:6.0} tokens per CPU second, peak {peak:5.0} MiB \
             ({threads} threads; matrix products {gflops:.0} GFLOP/s)"
        );
    }
}

/// Seconds of the median run, after one that does not count; and processor seconds of all threads a run.
fn median(mut run: impl FnMut() -> usize) -> (f64, f64) {
    std::hint::black_box(run());
    let mut times = [0.0; REPEATS];
    let cpu = all_threads();
    for time in &mut times {
        let start = Instant::now();
        std::hint::black_box(run());
        *time = start.elapsed().as_secs_f64();
    }
    times.sort_by(f64::total_cmp);
    (times[REPEATS / 2], (all_threads() - cpu) / REPEATS as f64)
}

/// Processor seconds of every thread so far.
fn all_threads() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads.map(|thread| cpu_seconds(&thread.path().join("schedstat").to_string_lossy())).sum()
}

/// Most memory this process has had, in MiB; 0 where the system does not tell.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Seconds a thread or process has been on a processor, from the system's account of it.
///
/// Unlike the clock on the wall it leaves out the time other processes took.
fn cpu_seconds(account: &str) -> f64 {
    let text = std::fs::read_to_string(account).unwrap_or_default();
    text.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

/// A matrix of a slice's values.
#[derive(Clone, Copy)]
struct View<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// Rows that begin `stride` values apart; columns that do, where it is negative.
    fn new(values: &'a [f32], rows: usize, columns: usize, stride: isize) -> Self {
        let step = stride.unsigned_abs();
        let (row_stride, column_stride) = if stride > 0 { (step, 1) } else { (1, step) };
        assert!((rows - 1) * row_stride + (columns - 1) * column_stride < values.len(), "a view within its values");
        View { values, rows, columns, row_stride, column_stride }
    }
}

/// `out = a b` on one thread with the blocked kernels of the kernels engine, rows of `out` `stride` values apart.
#[cfg(target_arch = "x86_64")]
fn multiply(a: View<'_>, b: View<'_>, out: &mut [f32], stride: usize) {
    use std::ptr::null;

    use private_gemm_x86::{Accum, DType, DstKind, IType, InstrSet, gemm};
    assert!(a.columns == b.rows && b.columns <= stride && (a.rows - 1) * stride + b.columns <= out.len());
    assert!(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"), "a processor with AVX2 and FMA");
    let instructions = if is_x86_feature_detected!("avx512f") { InstrSet::Avx512 } else { InstrSet::Avx256 };
    // SAFETY: the views lie within their values and the result within `out` (checked where they are made, and above);
    // `out` is borrowed exclusively; the processor has the instructions.
    unsafe {
        gemm(
            DType::F32,
            IType::U64,
            instructions,
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr().cast(),
            stride as isize,
            1,
            null(),
            null(),
            DstKind::Full,
            Accum::Replace,
            a.values.as_ptr().cast(),
            a.row_stride as isize,
            a.column_stride as isize,
            false,
            null(),
            0,
            b.values.as_ptr().cast(),
            b.row_stride as isize,
            b.column_stride as isize,
            false,
            (&raw const FACTOR).cast(),
            1,
        );
    }
}

#[cfg(target_arch = "x86_64")]
static FACTOR: f32 = 1.0;

#[cfg(not(target_arch = "x86_64"))]
fn multiply(_: View<'_>, _: View<'_>, _: &mut [f32], _: usize) {
    unimplemented!("the blocked kernels are those of x86-64");
}

/// Floating-point operations a second of `[1024, inputs] x [inputs, outputs]` on every thread at once.
fn ceiling(inputs: usize, outputs: usize) -> f64 {
    const TOKENS: usize = 1024;
    let (threads, repeats) = (rayon::current_num_threads(), 20);
    let start = Instant::now();
    (0..threads).into_par_iter().for_each(|_| {
        let (a, b) = (vec![0.5; TOKENS * inputs], vec![0.25; inputs * outputs]);
        let a = View::new(&a, TOKENS, inputs, inputs as isize);
        let b = View::new(&b, inputs, outputs, outputs as isize);
        let mut c = vec![0.0; TOKENS * outputs];
        (0..repeats).for_each(|_| multiply(a, b, &mut c, outputs));
        std::hint::black_box(c);
    });
    (2 * TOKENS * inputs * outputs * repeats * threads) as f64 / start.elapsed().as_secs_f64()
}

/// The products of one layer, on one thread, with their operands laid out as the kernels engine has them.
fn shapes() {
    const T: usize = 2048;
    // Name, rows, inner side, columns, row strides of a and b (negative: read transposed) and out.
    let cases: [(&str, usize, usize, usize, isize, isize, usize); 12] = [
        ("x W^T   512 -> 1536", T, 512, 1536, 512, -512, 1536),
        ("x W^T  1536 ->  512", T, 1536, 512, 1536, -1536, 512),
        ("x W^T   512 ->  512", T, 512, 512, 512, -512, 512),
        ("x W^T   512 ->  256", T, 512, 256, 512, -512, 256),
        ("g W    1536 ->  512", T, 1536, 512, 1536, 512, 512),
        ("g^T x  1536 x   512", 1536, T, 512, -1536, 512, 512),
        ("q k^T    64 x  1024", 64, 64, 1024, 512, -256, 1024),
        ("p v      64 x  1024", 64, 1024, 64, 1024, 256, 512),
        ("p^T g  1024 x    64", 1024, 64, 64, -1024, 512, 256),
        ("q k^T   128 x  1024", 128, 64, 1024, 512, -256, 1024),
        ("p v     128 x  1024", 128, 1024, 64, 1024, 256, 512),
        ("p^T g  1024 x   128", 1024, 128, 64, -1024, 512, 256),
    ];
    let (a, b, mut out) = (vec![0.5f32; T * 1536], vec![0.25f32; T * 1536], vec![0.0f32; T * 1536]);
    for (name, m, k, n, a_stride, b_stride, out_stride) in cases {
        let (a, b) = (View::new(&a, m, k, a_stride), View::new(&b, k, n, b_stride));
        let repeats = (2_000_000_000 / (2 * m * k * n)).max(1);
        let mut rates: Vec<f64> = (0..5)
            .map(|_| {
                let start = cpu_seconds("/proc/thread-self/schedstat");
                (0..repeats).for_each(|_| multiply(a, b, &mut out, out_stride));
                (2 * m * k * n * repeats) as f64 / (cpu_seconds("/proc/thread-self/schedstat") - start) / 1e9
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        println!("{name}: {:6.1} GFLOP per CPU second (best {:.1})", rates[2], rates[4]);
    }
}
