//! Windows, negative log-likelihoods, bits per byte.
//!
//! [`WindowPlan`] says which predictions each window scores, [`Evaluation`] runs windows through an engine and
//! adds up a [`Score`] that is exact ([`ExactSum`]): any batch size, thread count or division over machines gives
//! the same bits. [`plain`] is the short way to what training logs. [`probe`](mod@probe) tries to catch the scorer
//! cheating.

mod coverage;
mod exact_sum;
#[cfg(all(test, feature = "engine"))]
mod fake;
#[cfg(feature = "engine")]
mod plain;
#[cfg(feature = "engine")]
pub mod probe;
#[cfg(feature = "engine")]
mod score;
mod window;

pub use coverage::Coverage;
pub use exact_sum::{ExactSum, NotFinite, ParseExactSumError};
#[cfg(feature = "engine")]
pub use plain::plain;
#[cfg(feature = "engine")]
pub use score::{Evaluation, NllSink, Score, ScoreError};
pub use window::{PlanError, WindowPlan, WindowSpan, Windowing};
