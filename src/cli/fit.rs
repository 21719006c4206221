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
    /// Damage is the measured increase of the loss on training tokens. Replaces the manifest's classes and scale
    /// search; --class and --scale-search pin theirs. Reading training data for this counts as training time under
    /// the challenge's rules.
    #[arg(long, value_name = "BYTES", value_parser = at_least::<1>)]
    pub fit: Option<u64>,

    /// Shard to measure on; validation data is refused [default: the manifest's last training shard]
    #[arg(long, value_name = "SHARD", requires = "fit")]
    pub calibration: Option<PathBuf>,

    /// Tokens to measure on
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = at_least::<1>)]
    pub calibration_tokens: u64,

    /// Choose per tensor, or per layer (attention, MLP) with a third of the measurements
    #[arg(long, value_name = "WHAT", default_value = "tensor", value_parser = ["tensor", "layer"])]
    pub fit_by: String,
}

#[cfg(feature = "engine")]
impl FitArgs {
    /// The search these flags ask for, once the manifest is loaded. `pins_classes` and `pins_scales`: whether flags
    /// decided these; otherwise what the manifest says of them is searched anew.
    pub fn job(
        &self,
        budget: u64,
        mut job: crate::artifact::pack_job::PackJob,
        folder: PathBuf,
        pins_classes: bool,
        pins_scales: bool,
    ) -> crate::fit::FitJob {
        use crate::fit::{FitJob, Grouping};
        use crate::quant::ScaleSearch;

        let quantization = &mut job.manifest.quantization;
        if !pins_classes {
            quantization.classes.clear();
        }
        let searches = match quantization.scale_search {
            search if pins_scales => vec![search],
            // A clip quantile is a way to choose scales, too.
            _ if quantization.low_bit_clip_quantile != 1.0 => vec![ScaleSearch::Max],
            _ => vec![ScaleSearch::Max, ScaleSearch::Mse],
        };
        FitJob {
            job,
            folder,
            budget: crate::units::Bytes(budget),
            calibration: self.calibration.clone(),
            calibration_tokens: self.calibration_tokens,
            grouping: if self.fit_by == "layer" { Grouping::Layer } else { Grouping::Tensor },
            searches,
        }
    }
}
