//! Windows, negative log-likelihoods, bits per byte.
//!
//! A token's likelihood depends on its window alone, and sums are exact, so a score has the same bits for any
//! thread count, batch size or split over machines.

mod exact_sum;
mod tally;
mod window;

#[cfg(feature = "engine")]
mod run;

pub use exact_sum::{ExactSum, ParseExactSumError};
pub use tally::Tally;
pub use window::{GeometryError, Span, WindowKind, WindowPlan};

#[cfg(feature = "engine")]
pub use run::{Evaluation, RunError, plain};
