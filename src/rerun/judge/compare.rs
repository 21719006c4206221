//! Do two sets of runs agree?

use schemars::JsonSchema;
use serde::Serialize;

use super::claim::Claim;
use crate::rerun::record::SeedRecord;
use crate::stats::{Summary, TYPICAL_SEED_SD, t_test};

/// Standard deviations that two honest runs may be apart.
const SPREADS: f64 = 3.0;
/// Below this, two-sided, claimed and rerun seeds are taken to differ.
const ALPHA: f64 = 0.01;

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// Within what is allowed.
    Agrees,
    /// Beyond what is allowed.
    Differs,
    /// Nothing is claimed.
    NotClaimed,
    /// The run has no result.
    NoResult,
}

impl Agreement {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Agreement::Agrees => "agrees",
            Agreement::Differs => "DIFFERS",
            Agreement::NotClaimed => "not claimed",
            Agreement::NoResult => "NO RESULT",
        }
    }
}

/// One number beside another.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Row {
    /// The seed; none for the mean.
    pub seed: Option<u64>,
    /// Claimed, bits per byte.
    pub claimed: Option<f64>,
    /// Rerun, bits per byte.
    pub rerun: Option<f64>,
    /// Rerun minus claimed.
    pub difference: Option<f64>,
    /// How far apart they may be.
    pub allowed: f64,
    /// What it comes to.
    pub agreement: Agreement,
}

impl Row {
    pub(super) fn of(seed: Option<u64>, claimed: Option<(f64, f64)>, rerun: Option<f64>, allowed: f64) -> Self {
        let difference = claimed.zip(rerun).map(|((claimed, _), rerun)| rerun - claimed);
        let agreement = match (rerun, claimed, difference) {
            (None, ..) => Agreement::NoResult,
            (_, Some((_, rounding)), Some(difference)) if difference.abs() <= allowed + rounding * (1.0 + 1e-9) => {
                Agreement::Agrees
            }
            (_, Some(_), _) => Agreement::Differs,
            (_, None, _) => Agreement::NotClaimed,
        };
        Row { seed, claimed: claimed.map(|(value, _)| value), rerun, difference, allowed, agreement }
    }
}

/// Welch's test between claimed and rerun seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Welch {
    /// Positive where the rerun is better.
    pub t: f64,
    /// Degrees of freedom.
    pub df: f64,
    /// Two-sided.
    pub p: f64,
}

/// All numbers beside one another.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Comparison {
    /// By seed.
    pub seeds: Vec<Row>,
    /// The headline beside the mean of the rerun seeds.
    pub mean: Row,
    /// Standard deviation between seeds that the allowed distances rest on.
    pub spread: f64,
    /// Where the spread comes from.
    pub spread_of: String,
    /// Between the seeds claimed and the seeds rerun, where both have a spread.
    pub welch: Option<Welch>,
    /// The seeds differ by Welch's test and by more than is allowed for the mean.
    pub differs_by_test: bool,
}

/// Sets a claim beside what was rerun. `tolerance` is allowed for a seed in any case, if it is stated.
pub fn compare(claim: &Claim, records: &[SeedRecord], tolerance: Option<f64>) -> Comparison {
    let claimed: Vec<f64> = claim.seeds.iter().map(|claimed| claimed.value.val_bpb).collect();
    let rerun: Vec<f64> = records.iter().filter_map(|record| Some(record.result()?.val_bpb)).collect();
    let own = Summary::of(&claimed).ok().filter(|summary| summary.sd() > 0.0);
    let (spread, spread_of) = match &own {
        Some(summary) => (summary.sd(), format!("the {} seeds claimed", summary.n())),
        None => (TYPICAL_SEED_SD, "seeds of the challenge's records".to_string()),
    };
    // The difference of two runs varies by the root of two more than one run.
    let allowed = tolerance.unwrap_or(SPREADS * std::f64::consts::SQRT_2 * spread);
    let seeds: Vec<Row> = records
        .iter()
        .map(|record| {
            let claimed = claim.of_seed(record.seed).map(|value| (value.val_bpb, value.rounding));
            Row::of(Some(record.seed), claimed, record.result().map(|result| result.val_bpb), allowed)
        })
        .collect();
    let n = |list: &[f64]| list.len().max(1) as f64;
    let of_mean = tolerance.unwrap_or(SPREADS * spread * (1.0 / n(&claimed) + 1.0 / n(&rerun)).sqrt());
    let all_there = !rerun.is_empty() && rerun.len() == records.len();
    let mean_rerun = all_there.then(|| rerun.iter().sum::<f64>() / n(&rerun));
    let mean = Row::of(None, claim.mean.as_ref().map(|value| (value.val_bpb, value.rounding)), mean_rerun, of_mean);
    let welch = Summary::of(&rerun).ok().zip(Summary::of(&claimed).ok()).and_then(|(ours, theirs)| {
        let test = t_test::welch(&ours, &theirs, 0.0).ok()?;
        let p = 2.0 * t_test::upper_tail(test.t.abs(), test.df).0;
        Some((Welch { t: test.t, df: test.df, p: p.min(1.0) }, (ours.mean() - theirs.mean()).abs()))
    });
    let differs_by_test = welch.is_some_and(|(welch, distance)| welch.p < ALPHA && distance > of_mean);
    Comparison { seeds, mean, spread, spread_of, welch: welch.map(|(welch, _)| welch), differs_by_test }
}

impl Comparison {
    /// Whether a number speaks against the claim.
    pub fn differs(&self) -> bool {
        self.differs_by_test || self.rows().any(|row| row.agreement == Agreement::Differs)
    }

    /// Whether at least one number was compared, and none that is claimed lacks a result.
    pub fn agrees(&self) -> bool {
        let mut compared = self.rows().filter(|row| row.claimed.is_some()).peekable();
        compared.peek().is_some() && compared.all(|row| row.agreement == Agreement::Agrees) && !self.differs()
    }

    /// All rows, the mean last.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.seeds.iter().chain([&self.mean])
    }
}
