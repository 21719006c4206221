//! `--threads`: how many cores to use. No published byte or number depends on it.

use anyhow::Context;

/// Most threads accepted: more would only be a typing error.
const MAX_THREADS: usize = 1024;

/// Sets the size of the global thread pool; `None` uses every core. Call once, first.
pub fn use_threads(threads: Option<usize>) -> anyhow::Result<()> {
    let Some(threads) = threads else { return Ok(()) };
    anyhow::ensure!((1..=MAX_THREADS).contains(&threads), "--threads {threads} is outside 1..={MAX_THREADS}");
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start threads")
}
