//! Seeds that spoil a test: the same one twice, or only the best of many.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::BytesPerToken;
use crate::units::{BitsPerByte, Nats};

/// The result of one training run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedRun {
    /// Seed, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Final bits per byte.
    pub val_bpb: f64,
    /// Final loss in nats per token, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
}

impl SeedRun {
    /// A run known by its score alone.
    pub fn unnamed(val_bpb: f64) -> Self {
        SeedRun { seed: None, val_bpb, val_loss: None }
    }

    /// A run of one seed.
    pub fn of(seed: u64, val_bpb: f64) -> Self {
        SeedRun { seed: Some(seed), val_bpb, val_loss: None }
    }

    /// Bytes per token, where both numbers are stated.
    fn bytes_per_token(&self) -> Option<BytesPerToken> {
        BytesPerToken::from_claim(Nats(self.val_loss?), BitsPerByte(self.val_bpb))
    }
}

/// The fewest bytes per token of any run: they ask for the largest improvement.
pub fn fewest_bytes_per_token(runs: &[SeedRun]) -> Option<BytesPerToken> {
    let of = runs.iter().filter_map(SeedRun::bytes_per_token);
    of.min_by(|a, b| a.value().total_cmp(&b.value()))
}

/// Something about the seeds that a reader of p must know.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SeedWarning {
    /// One seed reported more than once: reruns of a seed share its noise, they are not independent.
    Repeated {
        /// The seed.
        seed: u64,
        /// How often it is reported.
        times: usize,
    },
    /// Two runs with the same value to the last digit, so one run under two names.
    SameValue {
        /// The value.
        val_bpb: f64,
        /// How many runs have it.
        times: usize,
    },
    /// More runs exist than are reported, and the reported ones are the best of them.
    SelectedBest {
        /// Runs reported.
        reported: usize,
        /// Runs there are.
        made: usize,
    },
    /// More runs exist than are reported; which ones were left out cannot be told.
    LeftOut {
        /// Runs reported.
        reported: usize,
        /// Runs there are.
        made: usize,
    },
}

impl fmt::Display for SeedWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SeedWarning::Repeated { seed, times } => {
                write!(f, "seed {seed} is reported {times} times; reruns of a seed are not independent runs")
            }
            SeedWarning::SameValue { val_bpb, times } => {
                write!(f, "{times} runs have the same val_bpb {val_bpb} to the last digit; one run counted again?")
            }
            SeedWarning::SelectedBest { reported, made } => {
                write!(
                    f,
                    "the {reported} reported runs are the best of {made}; p holds only for runs not picked by score"
                )
            }
            SeedWarning::LeftOut { reported, made } => {
                write!(
                    f,
                    "{made} runs were made and {reported} are reported; p holds only if none was left out for its score"
                )
            }
        }
    }
}

/// Repeated seeds and repeated values among the runs reported, in ascending order.
pub fn repetitions(runs: &[SeedRun]) -> Vec<SeedWarning> {
    let mut by_seed: BTreeMap<u64, usize> = BTreeMap::new();
    // Losses are positive, and the bits of positive floats sort as the floats do.
    let mut by_value: BTreeMap<u64, usize> = BTreeMap::new();
    for run in runs {
        if let Some(seed) = run.seed {
            *by_seed.entry(seed).or_default() += 1;
        }
        *by_value.entry(run.val_bpb.to_bits()).or_default() += 1;
    }
    let seeds = by_seed.iter().filter(|(_, times)| **times > 1);
    let values = by_value.iter().filter(|(_, times)| **times > 1);
    seeds
        .map(|(&seed, &times)| SeedWarning::Repeated { seed, times })
        .chain(values.map(|(&bits, &times)| SeedWarning::SameValue { val_bpb: f64::from_bits(bits), times }))
        .collect()
}

/// Compares the runs reported with all the runs there are evidence of (logs, ablation tables, the author's words).
///
/// `made` may count runs without a known score.
pub fn selection(reported: &[SeedRun], known: &[SeedRun], made: usize) -> Option<SeedWarning> {
    let made = made.max(known.len());
    if made <= reported.len() || reported.is_empty() {
        return None;
    }
    let worst_reported = reported.iter().map(|run| run.val_bpb).fold(f64::NEG_INFINITY, f64::max);
    let is_reported = |run: &&SeedRun| reported.iter().any(|r| r.val_bpb == run.val_bpb && r.seed == run.seed);
    let left_out: Vec<&SeedRun> = known.iter().filter(|run| !is_reported(run)).collect();
    let reported = reported.len();
    let all_left_out_known = left_out.len() == made - reported;
    if all_left_out_known && left_out.iter().all(|run| run.val_bpb >= worst_reported) {
        return Some(SeedWarning::SelectedBest { reported, made });
    }
    Some(SeedWarning::LeftOut { reported, made })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_twice_is_named() {
        let runs = [SeedRun::of(1337, 1.1), SeedRun::of(42, 1.2), SeedRun::of(1337, 1.11)];
        assert_eq!(repetitions(&runs), [SeedWarning::Repeated { seed: 1337, times: 2 }]);
        assert!(repetitions(&[SeedRun::of(1, 1.1), SeedRun::of(2, 1.2), SeedRun::unnamed(1.3)]).is_empty());
    }

    #[test]
    fn warnings_speak_in_sentences() {
        let warnings = [
            SeedWarning::Repeated { seed: 7, times: 2 },
            SeedWarning::SameValue { val_bpb: 1.5, times: 3 },
            SeedWarning::SelectedBest { reported: 3, made: 5 },
            SeedWarning::LeftOut { reported: 3, made: 5 },
        ];
        assert_eq!(
            warnings.map(|warning| warning.to_string()),
            [
                "seed 7 is reported 2 times; reruns of a seed are not independent runs",
                "3 runs have the same val_bpb 1.5 to the last digit; one run counted again?",
                "the 3 reported runs are the best of 5; p holds only for runs not picked by score",
                "5 runs were made and 3 are reported; p holds only if none was left out for its score"
            ]
        );
    }

    #[test]
    fn runs_as_good_as_the_worst_reported_were_not_worth_picking() {
        let runs = |values: &[f64]| -> Vec<SeedRun> {
            values.iter().enumerate().map(|(i, value)| SeedRun::of(i as u64, *value)).collect()
        };
        // Left out with the very value of the worst reported: still the best.
        let all = runs(&[1.0, 1.1, 1.1]);
        assert_eq!(selection(&all[..2], &all, 0), Some(SeedWarning::SelectedBest { reported: 2, made: 3 }));
        // Another seed with a reported value is another run; the same seed with another value, too.
        let other = [all[0], all[1], SeedRun::of(1, 1.05)];
        assert_eq!(selection(&all[..2], &other, 0), Some(SeedWarning::LeftOut { reported: 2, made: 3 }));
        assert_eq!(selection(&[], &all, 3), None);
        assert_eq!(selection(&all, &all[..1], 3), None);
        assert_eq!(selection(&all[..1], &[], 2), Some(SeedWarning::LeftOut { reported: 1, made: 2 }));
        assert_eq!(SeedRun::unnamed(1.5), SeedRun { seed: None, val_bpb: 1.5, val_loss: None });
    }

    #[test]
    fn one_log_under_two_seeds_is_named() {
        let runs = [SeedRun::of(1, 1.100_1), SeedRun::of(2, 1.100_1)];
        assert_eq!(repetitions(&runs), [SeedWarning::SameValue { val_bpb: 1.100_1, times: 2 }]);
    }

    #[test]
    fn the_best_of_seven_is_called_so() {
        let all: Vec<SeedRun> = (0..7).map(|i| SeedRun::of(i, 1.0 + i as f64 * 1e-3)).collect();
        assert_eq!(selection(&all[..5], &all, 7), Some(SeedWarning::SelectedBest { reported: 5, made: 7 }));
        // The last five of the same seven were not picked for being good.
        assert_eq!(selection(&all[2..], &all, 7), Some(SeedWarning::LeftOut { reported: 5, made: 7 }));
        // "7 runs were made" with no scores of the other two.
        assert_eq!(selection(&all[..5], &all[..5], 7), Some(SeedWarning::LeftOut { reported: 5, made: 7 }));
        assert_eq!(selection(&all, &all, 7), None);
    }
}
