//! `score --sample` and `score --until-decided`: flags to a request, an estimate to text.

use anyhow::bail;
use clap::Args;

use crate::cli::output::print;
use crate::cli::values::{at_least, number};
use crate::cli::{CommonArgs, ExitCode};
use crate::eval::ScoreJob;
use crate::eval::sample::{
    Claim, ClaimSource, DEFAULT_FIRST_BATCH, Decision, MIN_SAMPLE, SampleReport, SampleRequest, SampleSettings,
    TestTerms,
};
use crate::manifest::ClaimedNumber;

/// Flags of a sample.
#[derive(Clone, Debug, Args)]
pub struct SampleArgs {
    /// Score a random sample of N windows and estimate val_loss and val_bpb with a 95 % interval; 30 or more
    #[arg(
        long,
        value_name = "N",
        value_parser = at_least::<MIN_SAMPLE>,
        conflicts_with_all = ["probe", "nll_out"],
    )]
    sample: Option<u64>,

    /// Seed of the draw: one that whoever made the model could not know [default: 0]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// Claimed val_bpb to hold the interval against [default: the manifest's]
    #[arg(long, value_name = "BPB", value_parser = claimed, conflicts_with = "until_decided")]
    claim: Option<ClaimedNumber>,

    /// Go on in growing batches until this val_bpb is accepted or rejected, each wrongly at most 5 % of the time;
    /// --sample is the first batch [default: 128]
    #[arg(
        long,
        value_name = "BPB",
        value_parser = claimed,
        conflicts_with_all = ["probe", "nll_out", "shard"],
    )]
    until_decided: Option<ClaimedNumber>,

    /// How far from the claim val_bpb may lie to be accepted [default: what a record must be better by, 0.005 nats]
    #[arg(long, value_name = "BPB", value_parser = number, requires = "until_decided")]
    within: Option<f64>,

    /// Print the estimate as Markdown
    #[arg(long, conflicts_with_all = ["json", "quiet"])]
    markdown: bool,
}

fn claimed(text: &str) -> Result<ClaimedNumber, String> {
    let number = ClaimedNumber::parse(text).map_err(|error| error.to_string())?;
    if number.value() < 0.0 { Err("must be 0 or more".into()) } else { Ok(number) }
}

impl SampleArgs {
    /// Whether a sample is asked for at all.
    pub fn is_wanted(&self) -> bool {
        self.sample.is_some() || self.until_decided.is_some()
    }

    /// Refuses what only a sample understands.
    pub fn check(&self) -> anyhow::Result<()> {
        let given = [("--seed", self.seed.is_some()), ("--claim", self.claim.is_some()), ("--markdown", self.markdown)];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) if !self.is_wanted() => bail!("{flag} is for --sample or --until-decided"),
            _ => Ok(()),
        }
    }

    /// What to draw, and what to hold it against.
    pub fn request(&self, job: &ScoreJob) -> SampleRequest {
        let size = self.sample.unwrap_or(DEFAULT_FIRST_BATCH);
        let flag = self.until_decided.as_ref().or(self.claim.as_ref());
        let flag = flag.map(|number| Claim { val_bpb: number.clone(), source: ClaimSource::Flag });
        let stated = job.effective.manifest.claim.metrics.val_bpb.clone();
        let stated = stated.map(|val_bpb| Claim { val_bpb, source: ClaimSource::Manifest });
        SampleRequest {
            sample: SampleSettings::new(self.seed.unwrap_or(0), size),
            claim: flag.or(stated),
            test: self.until_decided.as_ref().map(|_| TestTerms { within: self.within }),
        }
    }

    /// Prints an estimate. A claim that it speaks against is a check that failed.
    pub fn print(&self, report: &SampleReport, common: &CommonArgs) -> anyhow::Result<ExitCode> {
        if self.markdown {
            print(common, || report.document(), || report.markdown())?;
            return Ok(exit_code(report));
        }
        print_report(report, common)
    }
}

/// Prints an estimate for people or programs.
pub fn print_report(report: &SampleReport, common: &CommonArgs) -> anyhow::Result<ExitCode> {
    let text = || if common.quiet { report.summary() } else { report.to_string() };
    print(common, || report.document(), text)?;
    Ok(exit_code(report))
}

fn exit_code(report: &SampleReport) -> ExitCode {
    let speaks_against = match &report.test {
        Some(test) => test.decision() == Decision::Rejected,
        None => report.admits_claim() == Some(false),
    };
    if speaks_against { ExitCode::CheckFailed } else { ExitCode::Ok }
}
