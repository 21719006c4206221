//! A folder's logs seen as runs: one final value, one seed each.

use super::carriers::parts;
use crate::manifest::ClaimedNumber;
use crate::submission::log::{Metric, SizeKind};
use crate::submission::{LogFile, RecordFolder};

/// A log that reports a result.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The log.
    pub log: &'a LogFile,
    /// The value it ends with.
    pub last: &'a Metric,
    /// Seed by its text, else by its name.
    pub seed: Option<u64>,
}

/// Runs with a final value, each content once.
pub fn runs(folder: &RecordFolder) -> Vec<Run<'_>> {
    parts(folder).iter().filter_map(|part| Some(Run { log: part.log, last: part.last?, seed: part.seed })).collect()
}

/// The seed a log was run with: what it states, else what its name says.
pub fn seed(log: &LogFile) -> Option<u64> {
    log.seed().or_else(|| seed_in_name(&log.path))
}

/// `train_seed42.log`, `seed_1337.txt`, `11L_w0_s1337_eval.out`.
pub fn seed_in_name(path: &str) -> Option<u64> {
    let file = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let digits = |text: &str| {
        let text = text.trim_start_matches(['_', '-']);
        let len = text.bytes().take_while(u8::is_ascii_digit).count();
        text[..len].parse::<u64>().ok()
    };
    if let Some(at) = file.find("seed") {
        return digits(&file[at + 4..]);
    }
    let at = file.find("_s").filter(|at| file.as_bytes().get(at + 2).is_some_and(u8::is_ascii_digit))?;
    digits(&file[at + 2..])
}

/// Different seeds of the runs, sorted.
pub fn seeds(runs: &[Run]) -> Vec<u64> {
    let mut seeds: Vec<u64> = runs.iter().filter_map(|run| run.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    seeds
}

/// Whether the runs are one experiment with different seeds: no seed twice, and every log ends with the same evaluation.
pub fn is_seed_sweep(runs: &[Run]) -> bool {
    runs.len() >= 2 && runs.iter().all(|run| run.seed.is_some()) && seeds(runs).len() == runs.len() && end_alike(runs)
}

/// Whether every log ends with the same evaluation.
pub fn end_alike(runs: &[Run]) -> bool {
    runs.windows(2).all(|pair| pair[0].last.label == pair[1].last.label)
}

/// Mean of the runs' final values, one a seed (the last run of a seed counts).
pub fn mean_by_seed(runs: &[Run]) -> Option<(f64, usize)> {
    let mut by_seed: std::collections::BTreeMap<Option<u64>, f64> = std::collections::BTreeMap::new();
    for run in runs {
        by_seed.insert(run.seed, run.last.bpb);
    }
    let n = by_seed.len();
    (n > 0).then(|| (by_seed.values().sum::<f64>() / n as f64, n))
}

/// Whether a claimed number and a logged one are the same number printed with different numbers of digits.
pub fn same_number(claimed: &ClaimedNumber, logged: f64, logged_decimals: u32) -> bool {
    let logged_rounding = 10f64.powi(-(logged_decimals.min(30) as i32));
    (claimed.value() - logged).abs() <= (2.0 * claimed.rounding()).max(logged_rounding) * (1.0 + 1e-9)
}

/// Sizes of one kind in the runs that carry the claim, sorted, each once; in all runs if those print none.
pub fn carried_sizes(folder: &RecordFolder, kind: SizeKind) -> Vec<u64> {
    let parts = parts(folder);
    let of = |log: &LogFile| {
        let carried = log.sizes_of(kind).filter(|size| parts.carry(log, size.line));
        carried.map(|size| size.bytes).collect::<Vec<_>>()
    };
    let mut found: Vec<u64> = folder.logs.iter().flat_map(of).collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() { sizes(folder, kind) } else { found }
}

/// Sizes of one kind over all logs, sorted, each once.
pub fn sizes(folder: &RecordFolder, kind: SizeKind) -> Vec<u64> {
    let mut sizes: Vec<u64> = folder.logs.iter().flat_map(|log| log.sizes_of(kind)).map(|size| size.bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_from_file_names() {
        for (name, seed) in [
            ("train_seed42.log", Some(42)),
            ("logs/seed_1337.txt", Some(1337)),
            ("a/11L_w03_s100_eval.out", Some(100)),
            ("train_seed1337_stdout.log", Some(1337)),
            ("train.log", None),
            ("train_seeds.log", None),
        ] {
            assert_eq!(seed_in_name(name), seed, "{name}");
        }
    }

    #[test]
    fn rounding_and_truncation_are_no_difference() {
        let claim = |text| ClaimedNumber::parse(text).unwrap();
        assert!(same_number(&claim("1.1628"), 1.162_826_70, 8));
        assert!(same_number(&claim("1.16282670"), 1.1628, 4));
        assert!(!same_number(&claim("1.1628"), 1.1637, 4));
    }
}
