//! How often the intervals of `score --sample` hold the true value, how often `score --until-decided` is wrong, and what
//! the control variates are worth: draws from an evaluation of which every likelihood is known.
//!
//! `cargo bench --bench sample --no-default-features -- NLL SHARD TOKENIZER SEQ_LEN STRIDE`, where NLL is what
//! `score --sliding --nll-out` wrote for the tokens of SHARD. Without arguments it takes the losses that
//! `fixtures/sample/` ships.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use golf_harness::data::{Shard, Tokenizer};
use golf_harness::eval::WindowPlan;
use golf_harness::eval::sample::{
    ALPHA, DEFAULT_FIRST_BATCH, Decision, Estimate, MIN_SAMPLE, Population, SampleSettings, Schedule,
};
use golf_harness::manifest::ClaimedNumber;
use rayon::prelude::*;

/// Draws of each kind.
const DRAWS: u64 = 2000;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let fixture = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let population = match &args[..] {
        [] => {
            let (nll, shard) = (fixture("sample/smoke_val.nll.f32"), fixture("smoke/smoke_val_000000.bin"));
            open(&nll, &shard, &fixture("smoke/tokenizer.model"), 128, 64)?
        }
        [nll, shard, tokenizer, seq_len, stride] => {
            let paths = [nll, shard, tokenizer].map(PathBuf::from);
            open(&paths[0], &paths[1], &paths[2], seq_len.parse()?, stride.parse()?)?
        }
        _ => bail!("give NLL SHARD TOKENIZER SEQ_LEN STRIDE, or nothing"),
    };
    println!("{} windows, val_bpb {:.6}", population.windows(), population.bpb(population.total()));
    intervals(&population)?;
    tests(&population)
}

fn open(nll: &Path, shard: &Path, tokenizer: &Path, seq_len: u64, stride: u64) -> anyhow::Result<Population> {
    let bytes = std::fs::read(nll).with_context(|| format!("cannot read {}", nll.display()))?;
    let nll: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let tokens = Shard::open(shard)?.read_all()?;
    let plan = WindowPlan::sliding(tokens.len() as u64, seq_len, stride)?;
    let table = Tokenizer::read(tokenizer)?.0.byte_table();
    Population::new(plan, &tokens, &table, &nll)
        .with_context(|| format!("{} likelihoods, where the windows score {}", nll.len(), plan.scored()))
}

/// Coverage, width and gain for samples of several sizes.
fn intervals(population: &Population) -> anyhow::Result<()> {
    let truth = population.total();
    println!("\nsample  covered plain, with control variates   +- bpb plain, with   windows saved  bias/se");
    let sizes = std::iter::successors(Some(MIN_SAMPLE), |size| Some(size * 2));
    for size in sizes.take_while(|&size| size < population.windows()) {
        let draw = |seed| population.estimate(&SampleSettings::new(seed, size)).context("too small a sample");
        let found = (0..DRAWS).into_par_iter().map(draw).collect::<anyhow::Result<Vec<_>>>()?;
        let share = |of: &dyn Fn(&Estimate) -> bool, plain| {
            let hits = found.iter().filter(|one| of(if plain { &one.plain } else { &one.regression })).count();
            100.0 * hits as f64 / DRAWS as f64
        };
        let mean = |of: &dyn Fn(usize) -> f64| (0..found.len()).map(of).sum::<f64>() / DRAWS as f64;
        let covers = |estimate: &Estimate| (estimate.total - truth).abs() <= estimate.half_width(ALPHA);
        let squares = |plain: bool| {
            mean(&|i| (if plain { found[i].plain.total } else { found[i].regression.total } - truth).powi(2))
        };
        println!(
            "{size:>6}  {:>13.2} %  {:>19.2} %   {:>10.5}  {:>7.5}   {:>13.2}  {:>7.3}",
            share(&covers, true),
            share(&covers, false),
            population.bpb(mean(&|i| found[i].plain.half_width(ALPHA))),
            population.bpb(mean(&|i| found[i].regression.half_width(ALPHA))),
            squares(true) / squares(false),
            mean(&|i| found[i].regression.total - truth) / squares(false).sqrt(),
        );
    }
    Ok(())
}

/// Decisions on claims that are right, just right, just wrong, and wrong.
fn tests(population: &Population) -> anyhow::Result<()> {
    let truth = population.bpb(population.total());
    let schedule = Schedule::new(DEFAULT_FIRST_BATCH, population.windows());
    println!("\nmargin   claim off by   accepted  rejected   mean windows   all intervals held");
    let reference = population.estimate(&SampleSettings::new(0, DEFAULT_FIRST_BATCH)).context("too small a sample")?;
    let unit = population.bpb(reference.regression.variance.sqrt());
    let margin = 2.0 * unit;
    for off in [0.0, 0.5, 0.999, 1.001, 1.5, 2.0, 4.0] {
        // Sixteen digits: nothing is added for rounding.
        let claim = ClaimedNumber::parse(&format!("{:.16}", truth + off * margin))?;
        let run = |seed| population.test(seed, &schedule, &claim, margin).context("too small a sample");
        let found = (0..DRAWS).into_par_iter().map(run).collect::<anyhow::Result<Vec<_>>>()?;
        let share =
            |is: &dyn Fn(usize) -> bool| 100.0 * (0..found.len()).filter(|&i| is(i)).count() as f64 / DRAWS as f64;
        let windows = found.iter().map(|one| one.windows as f64).sum::<f64>() / DRAWS as f64;
        println!(
            "{margin:.5}  {off:>6} margins  {:>7.2} %  {:>7.2} %   {windows:>12.0}   {:>8.2} %",
            share(&|i| found[i].decision == Decision::Accepted),
            share(&|i| found[i].decision == Decision::Rejected),
            share(&|i| found[i].covered),
        );
    }
    Ok(())
}
