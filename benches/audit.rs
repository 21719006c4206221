//! Megabytes of submissions audited per second, beside the ceiling that reading and hashing the same files sets.
//!
//! `cargo bench --bench audit -- FOLDER` audits every record folder below FOLDER, several times; without a folder it
//! takes the one that `GOLF_CORPUS_DIR` names. Needs no engine: `--no-default-features` builds it sooner.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use golf_harness::digest::ContentDigest;
use golf_harness::interrupt::Interrupt;
use golf_harness::progress::Progress;
use golf_harness::rules::audit::Options;
use golf_harness::rules::{InProcess, tree};
use rayon::prelude::*;

/// Timed repetitions after one that warms the file cache; the median counts.
const REPEATS: usize = 9;

fn main() -> anyhow::Result<()> {
    let named = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let folder = named.or_else(|| std::env::var("GOLF_CORPUS_DIR").ok());
    let Some(folder) = folder.map(PathBuf::from) else {
        println!("audit: no folder given, nothing measured");
        return Ok(());
    };
    let mut files = Vec::new();
    list(&folder, &mut files).with_context(|| format!("cannot list {}", folder.display()))?;
    let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let mut folders = 0;
    let (audit, ceiling) = alternate(
        || {
            let paths = std::slice::from_ref(&folder);
            let (options, interrupt) = (Options::default(), Interrupt::none());
            let audit = tree::paths(paths, &options, &InProcess, &interrupt, &Progress::hidden())?;
            folders = audit.map_or(0, |audit| audit.reports.len());
            Ok(())
        },
        || files.par_iter().try_for_each(|(path, _)| ContentDigest::of_file(path).map(|_| ())).map_err(Into::into),
    )?;
    let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
    println!(
        "{folders} folders, {} files, {:.1} MB, {} threads: audited in {audit:.3} s ({:.0} MB/s), read and hashed in \
         {ceiling:.3} s ({:.0} MB/s), ratio {:.2}",
        files.len(),
        bytes as f64 / 1e6,
        rayon::current_num_threads(),
        rate(audit),
        rate(ceiling),
        audit / ceiling,
    );
    Ok(())
}

/// Median seconds of two tasks run in turn, so that whatever else the machine does falls on both.
fn alternate(
    mut one: impl FnMut() -> anyhow::Result<()>,
    mut other: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<(f64, f64)> {
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..=REPEATS {
        for (task, times) in [&mut one as &mut dyn FnMut() -> _, &mut other].into_iter().zip(&mut times) {
            let start = Instant::now();
            task()?;
            if turn > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let [one, other] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[REPEATS / 2]
    });
    Ok((one, other))
}

/// Regular files below a folder, with their sizes.
fn list(folder: &Path, files: &mut Vec<(PathBuf, u64)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let data = entry.metadata()?;
        if data.is_dir() {
            list(&entry.path(), files)?;
        } else if data.is_file() {
            files.push((entry.path(), data.len()));
        }
    }
    Ok(())
}
