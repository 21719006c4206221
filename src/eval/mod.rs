//! Windows, negative log-likelihoods, bits per byte.
//!
//! [`WindowPlan`] says which predictions each window scores, [`Evaluation`] runs windows through an engine and
//! adds up a [`Score`] that is exact ([`ExactSum`]): any batch size, thread count or division over machines gives
//! the same bits. [`non_overlapping`](fn@non_overlapping) is the short way to what training logs. [`probe`](mod@probe) tries to catch the scorer
//! cheating. [`sample`] scores a few windows instead of all; [`ttt`] has the weights
//! learn from what was scored. [`ScoreJob`] does it all between files and gives a [`Report`]; [`merge`] makes one of the parts of several
//! machines.

mod coverage;
mod division;
mod document;
mod exact_sum;
mod log;
mod part;
mod report;
pub mod sample;
mod score;
mod settings;
mod shard;
pub mod ttt;
mod window;

#[cfg(feature = "engine")]
mod engines;
#[cfg(feature = "engine")]
mod error;
#[cfg(feature = "engine")]
mod evaluate;
#[cfg(all(test, feature = "engine"))]
mod fake;
#[cfg(feature = "engine")]
mod inputs;
#[cfg(feature = "engine")]
mod loss_profile;
#[cfg(feature = "engine")]
mod non_overlapping;
#[cfg(feature = "engine")]
mod passes;
#[cfg(feature = "engine")]
pub mod probe;
#[cfg(feature = "engine")]
mod record;
#[cfg(feature = "engine")]
mod score_job;
#[cfg(feature = "engine")]
mod scoring_data;

pub use coverage::Coverage;
pub use document::Scoring;
pub use exact_sum::{ExactSum, NotFinite, ParseExactSumError};
pub use log::log_lines;
pub use part::{
    MergeError, PART_SCHEMA, PartError, PartPass, PartRecord, Parts, merge, read_part, read_parts, write_part,
    write_sample_part,
};
pub use report::{Agreement, Gap, Pass, Report, RunSettings};
pub use score::Score;
pub use settings::{Input, InputRole, Miscount, ScoreSettings, SidecarCount, Subset, Weights};
pub use shard::{ParseShardError, Shard};
pub use window::{PlanError, TailRule, WindowPlan, WindowSpan, Windowing};

#[cfg(feature = "engine")]
pub use engines::EngineChoice;
#[cfg(feature = "engine")]
pub use error::{NotRecordable, ScoreJobError};
#[cfg(feature = "engine")]
pub use evaluate::{Evaluation, NllSink, ScoreError};
#[cfg(feature = "engine")]
pub(crate) use inputs::data_inputs;
#[cfg(feature = "engine")]
pub use inputs::{ScoreInputs, WeightsFile};
#[cfg(feature = "engine")]
pub use loss_profile::{DocumentLoss, LossProfile, LossSum};
#[cfg(feature = "engine")]
pub use non_overlapping::{non_overlapping, non_overlapping_part};
#[cfg(feature = "engine")]
pub use score_job::{Losses, Outcome, Probed, ScoreJob};
#[cfg(feature = "engine")]
pub use scoring_data::ScoringData;
