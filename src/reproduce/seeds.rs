//! What several seeds of one recipe come to: mean, spread, and how they stand against the claim and the board.

use std::fmt::Write;
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::Reproduction;
use crate::atomic_write::{self, WriteError};
use crate::escape::visible;
use crate::manifest::{Manifest, Track};
use crate::stats::seeds::fewest_bytes_per_token;
use crate::stats::{self, Board, MarginReading, PValue, RecordTerms, SeedRun, Summary, t_test};
use crate::units::group_digits;

/// Name and version of the document.
pub const SEEDS_SCHEMA: &str = "golf-harness/seed-summary/v1";
/// How the challenge's pull requests are named as a source.
const CHALLENGE: &str = "openai/parameter-golf#";

/// Results of seeds, side by side.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SeedsSummary {
    /// Always `golf-harness/seed-summary/v1`.
    #[schemars(extend("const" = SEEDS_SCHEMA))]
    pub schema: &'static str,
    /// The recipe.
    pub name: String,
    /// One a seed, in the order they were asked for.
    pub seeds: Vec<SeedLine>,
    /// Mean of `val_bpb`, bits per byte.
    pub mean: f64,
    /// Sample standard deviation; none of one seed.
    pub sd: Option<f64>,
    /// The claim's headline as it is written.
    pub claimed: Option<String>,
    /// Mean minus claim, bits per byte.
    pub difference: Option<f64>,
    /// Two-sided p of the one-sample test of the seeds against the claimed mean, where it can be made.
    pub p: Option<f64>,
    /// Against the record that stood on the claim's day, for claims of the challenge's record track: the verdict.
    pub board: Option<String>,
    /// One-sided p of "better by the margin", where that test can be made.
    pub board_p: Option<f64>,
}

/// What a seed came to.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SeedLine {
    /// The seed.
    pub seed: u64,
    /// Of what was packed, sliding windows, bits per byte.
    pub val_bpb: f64,
    /// The same in nats per token.
    pub val_loss: f64,
    /// Code and model, bytes.
    pub total_bytes: Option<u64>,
    /// Steps of training.
    pub steps: Option<u64>,
    /// Seconds of training.
    pub train_seconds: Option<f64>,
}

impl SeedsSummary {
    /// The summary of finished seeds of one recipe; nothing unless there are two.
    pub fn of(runs: &[Box<Reproduction>]) -> Option<Self> {
        let manifest = &runs.first()?.manifest;
        let seeds: Option<Vec<SeedLine>> = runs.iter().map(|run| SeedLine::of(run)).collect();
        Some(Self::from_lines(manifest, seeds.filter(|seeds| seeds.len() > 1)?))
    }

    fn from_lines(manifest: &Manifest, seeds: Vec<SeedLine>) -> Self {
        let values: Vec<f64> = seeds.iter().map(|line| line.val_bpb).collect();
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let summary = Summary::of(&values).ok();
        let claim = manifest.claim.metrics.val_bpb.as_ref();
        let p = summary.as_ref().zip(claim).and_then(|(summary, claim)| {
            let test = t_test::one_sample(summary, claim.value(), 0.0).ok()?;
            Some((2.0 * t_test::upper_tail(test.t.abs(), test.df).0).min(1.0))
        });
        let (board, board_p) = against_board(manifest, &seeds).unzip();
        SeedsSummary {
            schema: SEEDS_SCHEMA,
            name: manifest.name.clone(),
            seeds,
            mean,
            sd: summary.map(|summary| summary.sd()),
            claimed: claim.map(|claim| claim.text().to_string()),
            difference: claim.map(|claim| mean - claim.value()),
            p,
            board,
            board_p: board_p.flatten(),
        }
    }

    /// The table for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = self.write_text(&mut out);
        out
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let dash = || "-".to_string();
        let count = |value: Option<u64>| value.map_or_else(dash, |value| group_digits(i128::from(value)));
        writeln!(
            out,
            "{:<12}{:>10}{:>11}{:>14}{:>9}{:>11}",
            "seed", "val_bpb", "val_loss", "total bytes", "steps", "train"
        )?;
        for line in &self.seeds {
            let (bytes, steps) = (count(line.total_bytes), count(line.steps));
            let train = line.train_seconds.map_or_else(dash, |seconds| format!("{seconds:.1} s"));
            let SeedLine { seed, val_bpb, val_loss, .. } = line;
            writeln!(out, "{seed:<12}{val_bpb:>10.6}{val_loss:>11.6}{bytes:>14}{steps:>9}{train:>11}")?;
        }
        writeln!(out, "{:<12}{:>10.6}", "mean", self.mean)?;
        if let Some(sd) = self.sd {
            writeln!(out, "{:<12}{sd:>10.6}   sample standard deviation", "spread")?;
        }
        if let (Some(claimed), Some(difference)) = (&self.claimed, self.difference) {
            let p = self.p.map_or_else(
                || "no test: the seeds do not vary".to_string(),
                |p| format!("two-sided p {} (one-sample t-test)", PValue(p)),
            );
            writeln!(out, "{:<12}{claimed:>10}   the mean differs by {difference:+.6}; {p}", "claimed")?;
        }
        if let Some(verdict) = &self.board {
            writeln!(out, "{:<12}{verdict}", "board")?;
        }
        Ok(())
    }

    /// Writes the document.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        let mut json =
            serde_json::to_string_pretty(self).map_err(|error| WriteError::new(path, std::io::Error::other(error)))?;
        json.push('\n');
        atomic_write::write(path, json.as_bytes())
    }
}

impl SeedLine {
    fn of(run: &Reproduction) -> Option<Self> {
        let score = run.headline()?;
        let training = run.manifest.results.training.as_ref();
        Some(SeedLine {
            seed: run.manifest.schedule.seed,
            val_bpb: score.val_bpb.0,
            val_loss: score.val_loss.0,
            total_bytes: run.budget().map(|budget| budget.total.0),
            steps: training.map(|training| training.steps),
            train_seconds: training.map(|training| training.train_time_ms.0 / 1000.0),
        })
    }
}

/// Verdict and p against the shipped board, for a claim of the challenge's record track.
fn against_board(manifest: &Manifest, seeds: &[SeedLine]) -> Option<(String, Option<f64>)> {
    let claim = &manifest.claim;
    let pr = claim.source.as_deref()?.strip_prefix(CHALLENGE)?.parse().ok()?;
    if claim.track != Track::TenMinutes {
        return None;
    }
    let board = Board::shipped().ok()?;
    let runs: Vec<SeedRun> = seeds
        .iter()
        .map(|line| SeedRun { seed: Some(line.seed), val_bpb: line.val_bpb, val_loss: Some(line.val_loss) })
        .collect();
    let ratio = fewest_bytes_per_token(&runs);
    let day = (claim.date.as_deref(), Some(pr));
    let (entry, verdict) = stats::against_board(&board, day, (&runs, &runs), ratio, &RecordTerms::default())?;
    let label = visible(&entry.label());
    match verdict {
        Err(reason) => Some((format!("{label}: not decided: {reason}"), None)),
        Ok(report) => {
            let is_deciding = |reading| reading == MarginReading::NatsPerToken;
            let deciding = report.margins.iter().find(|test| is_deciding(test.margin.reading));
            let p = deciding.and_then(|margin| margin.test).map(|test| test.p.0);
            Some((format!("{label}: {}", report.verdict_text()), p))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(claim: &str, values: &[f64]) -> SeedsSummary {
        let text = format!("schema: golf-harness/manifest/v1\nname: x\n{claim}\n");
        let manifest = crate::manifest::parse(&text, Path::new("x.yaml")).unwrap();
        let line = |(seed, val_bpb): (u64, &f64)| SeedLine {
            seed,
            val_bpb: *val_bpb,
            val_loss: val_bpb * 1.7,
            total_bytes: Some(15_000_000),
            steps: None,
            train_seconds: Some(599.9),
        };
        SeedsSummary::from_lines(&manifest, (1..).zip(values).map(line).collect())
    }

    #[test]
    fn mean_spread_and_p_are_those_of_the_textbook() {
        let found = summary("claim: { metrics: { val_bpb: \"1.16\" } }", &[1.1, 1.2, 1.3]);
        assert!((found.mean - 1.2).abs() < 1e-12 && (found.sd.unwrap() - 0.1).abs() < 1e-12);
        // t = 0.04 / (0.1 / sqrt 3) = 0.69282; with two degrees of freedom F(t) = 1/2 + t / (2 sqrt(2 + t^2)).
        let t = 0.04 / (0.1 / 3f64.sqrt());
        let p = 1.0 - t / (2.0 + t * t).sqrt();
        assert!((found.p.unwrap() - p).abs() < 1e-9, "{:?} {p}", found.p);
        assert_eq!(found.board, None);
        insta::assert_snapshot!(found.text(), @r"
        seed           val_bpb   val_loss   total bytes    steps      train
        1             1.100000   1.870000    15,000,000        -    599.9 s
        2             1.200000   2.040000    15,000,000        -    599.9 s
        3             1.300000   2.210000    15,000,000        -    599.9 s
        mean          1.200000
        spread        0.100000   sample standard deviation
        claimed           1.16   the mean differs by +0.040000; two-sided p 0.5601 (one-sample t-test)
        ");
    }

    #[test]
    fn a_claim_of_the_challenge_stands_against_the_board_and_no_other_does() {
        let claim = |source: &str| {
            format!(
                "claim: {{ source: \"{source}\", date: \"2026-03-20\", track: 10min_16mb, metrics: {{ val_bpb: \"1.16\" }} }}"
            )
        };
        let values = [0.5, 0.51, 0.52];
        let found = summary(&claim("openai/parameter-golf#286"), &values);
        assert!(found.board.unwrap().contains("PR #") && found.board_p.unwrap() < 0.01);
        assert_eq!(summary(&claim("elsewhere#286"), &values).board, None);
    }

    #[test]
    fn seeds_that_do_not_vary_have_no_p() {
        let found = summary("claim: { metrics: { val_bpb: \"1.16\" } }", &[1.1, 1.1]);
        assert_eq!((found.sd, found.p), (Some(0.0), None));
        assert!(found.text().contains("do not vary"));
    }
}
