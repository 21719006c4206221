//! The affordable check: a few windows instead of all, and how much they tell.
//!
//! [`Strata`] divides the windows, [`draw`](fn@draw) takes some of each with a seed, [`estimate`](fn@estimate) makes the
//! total of all windows of them, helped by variables that are known for every window ([`Auxiliary`]). [`looks`] and
//! [`critical_values`] are for samples that grow until a [`Claim`] is accepted or rejected. What comes out is a
//! [`SampleReport`]; parts of several machines merge into the same one. docs/sample.md has the formulas.

mod auxiliary;
mod boundaries;
mod claim;
mod document;
mod draw;
mod estimate;
#[cfg(feature = "engine")]
mod job;
mod ngram;
mod part;
mod population;
mod report;
mod schedule;
mod settings;
mod strata;
mod text;

pub use auxiliary::Auxiliary;
pub use boundaries::{alpha_of, critical_values, information, looks};
pub use claim::{Claim, ClaimSource, Decision, Interval};
pub use document::SampleScoring;
pub use draw::draw;
pub use estimate::{AUXILIARIES, Estimate, Estimates, Observed, estimate};
#[cfg(feature = "engine")]
pub use job::{SampleOutcome, SampleRequest, TestTerms};
#[cfg(all(test, feature = "engine"))]
pub(super) use ngram::mix;
pub use ngram::window_nats;
pub use part::{SAMPLE_PART_SCHEMA, SamplePart, WindowRecord, merge};
pub use population::{Population, Simulated};
pub use report::{Look, Numbers, Outlook, SampleReport, Speed, Test};
pub use schedule::Schedule;
pub use settings::{ALPHA, DEFAULT_FIRST_BATCH, MIN_SAMPLE, SampleSettings};
pub use strata::Strata;
