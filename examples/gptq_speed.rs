//! Time and memory of GPTQ on the matrices of a whole network of the leaderboard (PR #1394: eleven blocks of 512
//! channels, four times as many hidden ones, a tied table of 8,192 tokens), with weights and Hessians made up:
//! `cargo run --release --no-default-features --example gptq_speed`. `RAYON_NUM_THREADS` sets the cores.

use std::time::Instant;

use golf_harness::quant::{Gptq, WeightMatrix, deviation_scales};

/// Blocks of the network.
const BLOCKS: usize = 11;
/// Largest symbol of the int6 matrices, and of the int8 table.
const LIMITS: [i8; 2] = [31, 127];
/// Inputs, by their channels, with the rows of the matrices that take each: queries, keys and values; the attention's
/// output; the hidden layer; back from it.
const INPUTS: [(usize, &[usize]); 4] = [(512, &[512, 256, 256]), (512, &[512]), (512, &[2048]), (2048, &[512])];
/// Rows and columns of the tied table.
const TABLE: (usize, usize) = (8192, 512);

fn main() -> anyhow::Result<()> {
    println!("{} threads", rayon::current_num_threads());
    println!("{:<44} {:>9} {:>9}", "", "factor", "rounding");
    let mut searched = [0.0; 2];
    let mut once = [0.0; 2];
    for (columns, matrices) in INPUTS {
        let hessian = correlated(columns);
        let start = Instant::now();
        let gptq = Gptq::new(&hessian, columns)?;
        let factor = start.elapsed().as_secs_f64();
        let [mut search, mut single] = [0.0; 2];
        for &rows in matrices {
            let values = scattered(rows * columns);
            let weights = WeightMatrix::new(&values, columns)?;
            let start = Instant::now();
            gptq.clip_search(weights, LIMITS[0])?;
            search += start.elapsed().as_secs_f64();
            let start = Instant::now();
            gptq.round(weights, deviation_scales(weights, 12.85, LIMITS[0])?, LIMITS[0])?;
            single += start.elapsed().as_secs_f64();
        }
        let name = format!("{matrices:?} x {columns}");
        println!("{:<44} {factor:>8.3}s {search:>8.3}s", format!("{name}, five clips"));
        println!("{:<44} {factor:>8.3}s {single:>8.3}s", format!("{name}, once"));
        for (total, rounding) in [(&mut searched, search), (&mut once, single)] {
            total[0] += factor * BLOCKS as f64;
            total[1] += rounding * BLOCKS as f64;
        }
    }
    let (rows, columns) = TABLE;
    let start = Instant::now();
    let gptq = Gptq::new(&correlated(columns), columns)?;
    let factor = start.elapsed().as_secs_f64();
    let values = scattered(rows * columns);
    let weights = WeightMatrix::new(&values, columns)?;
    let start = Instant::now();
    gptq.round(weights, deviation_scales(weights, 20.0, LIMITS[1])?, LIMITS[1])?;
    let rounding = start.elapsed().as_secs_f64();
    println!("{:<44} {factor:>8.3}s {rounding:>8.3}s", format!("table {rows} x {columns}, once"));
    println!("{BLOCKS} blocks, five clips: {:.1} s", searched[0] + searched[1]);
    println!("{BLOCKS} blocks and the table, once: {:.1} s", once[0] + once[1] + factor + rounding);
    if let Some(peak) = peak_memory() {
        println!("peak memory: {peak}");
    }
    Ok(())
}

/// Correlations `8 / (8 + |i - j|)` between channels of different sizes: positive definite (convex and falling, by
/// Polya's criterion) with a dense inverse.
fn correlated(n: usize) -> Vec<f32> {
    let size = |i: usize| 1.0 + (i * 7 % 11) as f32 / 4.0;
    (0..n * n).map(|k| (k / n, k % n)).map(|(i, j)| 8.0 / (8.0 + i.abs_diff(j) as f32) * size(i) * size(j)).collect()
}

/// Weights around zero without any pattern: fractional parts of multiples of the golden ratio.
fn scattered(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i as f64 * 0.618_033_988_75).fract() * 4.0 - 2.0) as f32).collect()
}

/// What Linux says was the most memory in use.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().to_string())
}
