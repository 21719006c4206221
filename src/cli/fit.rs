//! Flags of `pack --fit`.

use std::path::PathBuf;

use clap::Args;

use super::values::at_least;

/// The search for settings that fit a budget.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Fit")]
pub struct FitArgs {
    /// Find the classes (and scales) with the least damage that fit BYTES, code and model together
    ///
    /// Damage is the measured increase of the loss on training tokens. Replaces the manifest's classes, rules and scale
    /// search; --class, --rule and --scale-search pin theirs. Reading training data for this counts as training time under
    /// the challenge's rules.
    #[arg(long, value_name = "BYTES", value_parser = at_least::<1>)]
    pub fit: Option<u64>,

    /// Shard to measure on; validation data is refused [default: the manifest's last training shard]
    #[arg(long, value_name = "SHARD", requires = "fit")]
    pub calibration: Option<PathBuf>,

    /// Tokens to measure on
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = at_least::<1>)]
    pub calibration_tokens: u64,

    /// Ways to choose scales and rounding, each searched: max, percentiles, mse, or what --rule takes, such as
    /// clip_search/gptq; repeatable [default: max and mse]
    #[arg(long = "fit-way", value_name = "WAY", requires = "fit", conflicts_with = "scale_search")]
    pub ways: Vec<String>,

    /// Choose per tensor, or per layer (attention, MLP) with a third of the measurements
    #[arg(long, value_name = "WHAT", default_value = "tensor", value_parser = ["tensor", "layer"])]
    pub fit_by: String,
}

#[cfg(feature = "engine")]
impl FitArgs {
    /// The search these flags ask for, once the manifest is loaded. What `pinned` names was decided by flags; otherwise
    /// what the manifest says of it is searched anew.
    pub fn job(
        &self,
        budget: u64,
        mut job: crate::artifact::pack_job::PackJob,
        folder: PathBuf,
        pinned: Pinned,
    ) -> Result<crate::fit::FitJob, crate::quant::ParseQuantizerError> {
        use crate::fit::{FitJob, Grouping, Way};
        use crate::quant::ScaleSearch;

        let quantization = &mut job.manifest.quantization;
        // The budget of the fit is the one that counts.
        quantization.prune_to = None;
        if !pinned.classes {
            quantization.classes.clear();
        }
        if !pinned.rules {
            quantization.rules.clear();
        }
        let ways: Vec<Way> = self.ways.iter().map(|way| way.parse()).collect::<Result<_, _>>()?;
        let ways = match quantization.scale_search {
            _ if !ways.is_empty() => {
                quantization.low_bit_clip_quantile = 1.0;
                quantization.scale_search = ScaleSearch::Max;
                ways
            }
            search if pinned.scales => vec![Way::Search(search)],
            // A clip quantile is a way to choose scales, too.
            _ if quantization.low_bit_clip_quantile != 1.0 => vec![Way::Search(ScaleSearch::Max)],
            _ => vec![Way::Search(ScaleSearch::Max), Way::Search(ScaleSearch::Mse)],
        };
        Ok(FitJob {
            job,
            folder,
            budget: crate::units::Bytes(budget),
            calibration: self.calibration.clone(),
            calibration_tokens: self.calibration_tokens,
            grouping: if self.fit_by == "layer" { Grouping::Layer } else { Grouping::Tensor },
            ways,
        })
    }
}

/// What flags have decided.
#[cfg(feature = "engine")]
#[derive(Clone, Copy, Debug)]
pub struct Pinned {
    /// `--class`.
    pub classes: bool,
    /// `--rule`.
    pub rules: bool,
    /// `--scale-search`.
    pub scales: bool,
}
