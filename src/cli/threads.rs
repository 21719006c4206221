//! `--threads`: how many cores to use. No published byte or number depends on it.

use std::sync::{Arc, Mutex};

use anyhow::Context;

/// Most threads accepted: more would only be a typing error.
const MAX_THREADS: usize = 1024;

/// Sets the size of the global thread pool; `None` uses every core, or this thread alone where the system allows no
/// others. Call once, first.
pub fn use_threads(threads: Option<usize>) -> anyhow::Result<()> {
    let Some(threads) = threads else {
        // The global pool can be made once only, and without threads it is a panic later.
        return if are_threads_to_be_had() { Ok(()) } else { alone().context("cannot work on one thread") };
    };
    anyhow::ensure!((1..=MAX_THREADS).contains(&threads), "--threads {threads} is outside 1..={MAX_THREADS}");
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start threads")
}

/// Whether the system lets this process have a thread for each core, all at a time.
fn are_threads_to_be_had() -> bool {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let gate = Arc::new(Mutex::new(()));
    let Ok(closed) = gate.lock() else { return false };
    let waiting = |gate: Arc<Mutex<()>>| std::thread::Builder::new().spawn(move || drop(gate.lock().map(drop)));
    let started: Vec<_> = (0..cores).map(|_| waiting(Arc::clone(&gate))).collect();
    drop(closed);
    let joined: Vec<bool> =
        started.into_iter().map(|thread| thread.is_ok_and(|thread| thread.join().is_ok())).collect();
    !joined.contains(&false)
}

fn alone() -> Result<(), rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global()
}
