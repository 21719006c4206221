//! A record claim set against a standing result.

use std::fmt;

use serde::Serialize;

use super::seeds::{self, SeedRun, SeedWarning};
use super::{
    Board, BoardEntry, BytesPerToken, Margin, MarginReading, RecordTerms, SampleError, Summary, TTest, TYPICAL_SEED_SD,
    seeds_needed, t_test,
};

/// What is known of the result to beat.
#[derive(Clone, Debug, PartialEq)]
pub enum Reference {
    /// Every run: Welch's test.
    Runs(Vec<SeedRun>),
    /// Published count, mean and sample standard deviation: Welch's test.
    Published(Summary),
    /// Published mean alone: one-sample test.
    Mean(f64),
}

/// Which test was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Two samples, unequal variances.
    Welch,
    /// One sample against a published mean.
    OneSample,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Comparison::Welch => "Welch's one-sided test",
            Comparison::OneSample => "one-sided test against the published mean",
        })
    }
}

/// The test at one margin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MarginTest {
    /// Improvement asked for.
    pub margin: Margin,
    /// The same in bits per byte.
    pub margin_bpb: f64,
    /// Improvement seen, in the margin's unit.
    pub improvement: f64,
    /// Whether the mean improves by at least the margin.
    pub met: bool,
    /// The test of "better by more than the margin"; absent for a single run.
    pub test: Option<TTest>,
}

/// Why no verdict on significance is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// Nothing to compare.
    #[error("no run of the claim has a final val_bpb")]
    NoRuns,
    /// One run.
    #[error("one run has no spread, so no p can be given")]
    OneRun,
    /// The same seed more than once.
    #[error("a seed is reported more than once, so the runs are not independent")]
    RepeatedSeeds,
    /// Identical values.
    #[error("all runs have the same value: one run repeated")]
    NoSpread,
    /// Nats per token cannot be told from bits per byte.
    #[error("bytes per token are unknown (no val_loss beside val_bpb), so 0.005 nats cannot be turned into bpb")]
    NoBytesPerToken,
    /// Infinite, negative or not a number.
    #[error("a value is not a finite, non-negative number")]
    NotFinite,
}

/// The outcome, strongest statement first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum GateVerdict {
    /// Better by the margin, and p < 0.01 that it is.
    Record,
    /// The mean is better by the margin; chance is not excluded.
    NotSignificant,
    /// The mean is better, by less than the margin.
    BelowMargin,
    /// The mean is not better.
    NotBetter,
    /// The mean is better but nothing can be said about chance.
    Refused {
        /// Why.
        reason: RefusalReason,
    },
}

/// Numbers and verdict of one comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateReport {
    /// Runs of the claim.
    pub runs: usize,
    /// Their mean, bits per byte.
    pub mean: f64,
    /// Their sample standard deviation; absent for one run.
    pub sd: Option<f64>,
    /// Runs of the reference, where known.
    pub reference_runs: Option<usize>,
    /// Mean of the reference, bits per byte.
    pub reference_mean: f64,
    /// Sample standard deviation of the reference, where known.
    pub reference_sd: Option<f64>,
    /// Reference mean minus the claim's mean, bits per byte.
    pub improvement_bpb: f64,
    /// Which test.
    pub comparison: Comparison,
    /// Margin 0: what the maintainers computed from PR #1902 on.
    pub plain: Option<TTest>,
    /// 0.005 under each reading; nats per token, the first, decides. Empty without bytes per token.
    pub margins: Vec<MarginTest>,
    /// Outcome on nats per token.
    pub outcome: GateVerdict,
    /// Runs at which p < 0.01 would be reached with this mean and spread (one run: with the usual spread), if any.
    pub seeds_needed: Option<usize>,
    /// Repeated or selected seeds.
    pub warnings: Vec<SeedWarning>,
}

/// Judges a claim: better than the reference by 0.005 nats per token at p < 0.01?
///
/// `runs` are the claim's reported runs, `known` all runs there is evidence of (at least those), `made` how many were
/// made if somebody says so. Everything is compared in bits per byte, which alone is common to all tokenizers.
pub fn compare(
    runs: &[SeedRun],
    known: &[SeedRun],
    made: usize,
    reference: &Reference,
    bytes_per_token: Option<BytesPerToken>,
    terms: &RecordTerms,
) -> Result<GateReport, RefusalReason> {
    let values: Vec<f64> = runs.iter().map(|run| run.val_bpb).collect();
    if values.is_empty() {
        return Err(RefusalReason::NoRuns);
    }
    if values.iter().any(|value| !value.is_finite() || *value < 0.0) {
        return Err(RefusalReason::NotFinite);
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let summary = Summary::of(&values).ok();
    let standing = Holder::of(reference)?;
    let improvement_bpb = standing.mean - mean;

    let mut warnings = seeds::repetitions(runs);
    warnings.extend(seeds::selection(runs, known, made));
    let repeated = warnings.iter().any(|w| matches!(w, SeedWarning::Repeated { .. } | SeedWarning::SameValue { .. }));

    // A test on dependent runs would print a p that means nothing, so none is made.
    let test_at = |margin| match (&summary, repeated) {
        (Some(summary), false) => standing.test(summary, margin),
        _ => Err(SampleError::TooFewRuns(values.len())),
    };
    let margins: Vec<MarginTest> = bytes_per_token.map_or_else(Vec::new, |ratio| {
        READINGS
            .map(|reading| {
                let margin = Margin::of(terms, reading);
                let margin_bpb = margin.in_bpb(ratio);
                let met = improvement_bpb >= margin_bpb;
                let improvement = margin.difference(improvement_bpb, ratio);
                MarginTest { margin, margin_bpb, improvement, met, test: test_at(margin_bpb).ok() }
            })
            .to_vec()
    });
    let outcome = outcome(improvement_bpb, margins.first(), values.len(), repeated, terms.alpha);
    let spread = summary.map_or(TYPICAL_SEED_SD, |summary| summary.sd());
    let seeds_needed = margins.first().and_then(|deciding| {
        seeds_needed(mean, spread, standing.sample.as_ref().ok_or(standing.mean), deciding.margin_bpb, terms.alpha)
    });
    Ok(GateReport {
        runs: values.len(),
        mean,
        sd: summary.map(|summary| summary.sd()),
        reference_runs: standing.sample.map(|sample| sample.n()),
        reference_mean: standing.mean,
        reference_sd: standing.sample.map(|sample| sample.sd()),
        improvement_bpb,
        comparison: if standing.sample.is_some() { Comparison::Welch } else { Comparison::OneSample },
        plain: test_at(0.0).ok(),
        margins,
        outcome,
        seeds_needed,
        warnings,
    })
}

/// Sets runs against the record that stood on a board on a claim's day; none if there is none from before.
///
/// `known` are all runs there is evidence of. Without bytes per token of the claim's own, the record's are taken.
pub fn against_board<'a>(
    board: &'a Board,
    (date, own_pr): (Option<&str>, Option<u64>),
    (runs, known): (&[SeedRun], &[SeedRun]),
    bytes_per_token: Option<BytesPerToken>,
    terms: &RecordTerms,
) -> Option<(&'a BoardEntry, Result<GateReport, RefusalReason>)> {
    let standing = board.standing(date, own_pr)?;
    let bytes_per_token = bytes_per_token.or_else(|| standing.bytes_per_token());
    Some((standing, compare(runs, known, 0, &standing.reference(), bytes_per_token, terms)))
}

/// The readings reported, the deciding one first.
const READINGS: [MarginReading; 3] =
    [MarginReading::NatsPerToken, MarginReading::NatsPerByte, MarginReading::BitsPerByte];

fn outcome(
    improvement_bpb: f64,
    deciding: Option<&MarginTest>,
    runs: usize,
    repeated: bool,
    alpha: f64,
) -> GateVerdict {
    if improvement_bpb <= 0.0 {
        return GateVerdict::NotBetter;
    }
    let Some(deciding) = deciding else { return GateVerdict::Refused { reason: RefusalReason::NoBytesPerToken } };
    if !deciding.met {
        return GateVerdict::BelowMargin;
    }
    let refused = |reason| GateVerdict::Refused { reason };
    match deciding.test {
        _ if repeated => refused(RefusalReason::RepeatedSeeds),
        _ if runs < 2 => refused(RefusalReason::OneRun),
        None => refused(RefusalReason::NoSpread),
        Some(test) if test.p.0 < alpha => GateVerdict::Record,
        Some(_) => GateVerdict::NotSignificant,
    }
}

/// The reference, reduced to what the tests take.
struct Holder {
    mean: f64,
    sample: Option<Summary>,
}

impl Holder {
    fn of(reference: &Reference) -> Result<Self, RefusalReason> {
        let mean_alone = |mean: f64| {
            if mean.is_finite() { Ok(Holder { mean, sample: None }) } else { Err(RefusalReason::NotFinite) }
        };
        match reference {
            Reference::Mean(mean) => mean_alone(*mean),
            Reference::Published(summary) => Ok(Holder { mean: summary.mean(), sample: Some(*summary) }),
            Reference::Runs(runs) => {
                let values: Vec<f64> = runs.iter().map(|run| run.val_bpb).collect();
                match (Summary::of(&values), values.as_slice()) {
                    (Ok(summary), _) => Ok(Holder { mean: summary.mean(), sample: Some(summary) }),
                    (Err(_), [only]) => mean_alone(*only),
                    (Err(SampleError::NotFinite(_)), _) => Err(RefusalReason::NotFinite),
                    (Err(_), _) => Err(RefusalReason::NoRuns),
                }
            }
        }
    }

    fn test(&self, candidate: &Summary, margin: f64) -> Result<TTest, SampleError> {
        match &self.sample {
            Some(reference) => t_test::welch(candidate, reference, margin),
            None => t_test::one_sample(candidate, self.mean, margin),
        }
    }
}

impl GateReport {
    /// The verdict with what speaks against it, in one line.
    pub fn verdict_with_warnings(&self) -> String {
        self.warnings.iter().fold(self.verdict_text(), |text, warning| format!("{text}; {warning}"))
    }

    /// The tests one by one: margin 0, then the margin under each reading.
    pub fn test_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(TTest { t, df, p }) = self.plain {
            lines.push(format!("{}, margin 0: t {t:.2}, df {df:.2}, p {p}", self.comparison));
        }
        for test in &self.margins {
            let Margin { reading, amount } = test.margin;
            let p = test.test.map_or(String::new(), |t| format!(", p {}", t.p));
            let (needed, seen) = (test.margin_bpb, test.improvement);
            lines.push(format!("{amount} {reading} = {needed:.5} bpb: improvement {seen:+.5} {reading}{p}"));
        }
        lines
    }

    /// One sentence with the numbers that decide.
    pub fn verdict_text(&self) -> String {
        let change = if self.improvement_bpb > 0.0 { "better" } else { "worse" };
        let against = format!(
            "mean {:.5} bpb over {} is {:.5} {change} than {:.5}",
            self.mean,
            runs(self.runs),
            self.improvement_bpb.abs(),
            self.reference_mean,
        );
        let deciding = self.margins.first();
        let nats = deciding.map_or(String::new(), |m| {
            format!(" ({:+.4} nats per token, {:.3} asked for)", m.improvement, m.margin.amount)
        });
        let p = deciding.and_then(|m| m.test).map_or(String::new(), |t| format!("; p = {} at that margin", t.p));
        let more = match self.seeds_needed {
            Some(n) if n > self.runs && self.sd.is_some() => format!("; {n} runs with this spread would show it"),
            Some(n) if n > self.runs => format!("; {n} runs with the usual spread of {TYPICAL_SEED_SD} would show it"),
            _ => String::new(),
        };
        match self.outcome {
            GateVerdict::Record => format!("record: {against}{nats}{p}"),
            GateVerdict::NotSignificant => format!("not shown: {against}{nats}{p}{more}"),
            GateVerdict::BelowMargin => format!("no record, improvement too small: {against}{nats}"),
            GateVerdict::NotBetter => format!("no record: {against}{nats}"),
            GateVerdict::Refused { reason } => format!("not decided, {reason}: {against}{nats}{more}"),
        }
    }
}

/// "1 run", "3 runs".
fn runs(n: usize) -> String {
    if n == 1 { "1 run".to_string() } else { format!("{n} runs") }
}

#[cfg(test)]
mod tests;
