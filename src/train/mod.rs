//! Optimisers, schedules and the training loop.
//!
//! [`run`](fn@run) takes a manifest to a checkpoint. Below it: [`Trainer`] takes one step, [`Schedule`] decides its rate,
//! [`Optimizer`] applies it, [`Trace`] records it, [`TrainingState`] lets it be continued.

mod adamw;
mod agreement;
mod buckets;
mod clip;
mod clock;
mod error;
mod folder;
mod groups;
mod log;
mod matmul;
mod muon;
mod newton_schulz;
mod optimizer;
mod pace;
mod recipe;
mod replay_report;
mod resident_step;
mod run;
mod schedule;
mod session;
mod state;
mod swa;
mod trace;
mod trainer;
mod validation;

pub use adamw::AdamStep;
pub use clip::{clip_global_norm, global_norm};
pub use clock::{Clock, Stopwatch, SystemClock, TickingClock};
pub use error::{Diverged, TrainError};
pub use groups::{Group, Method, STEP_ORDER};
pub use muon::MuonStep;
pub(crate) use newton_schulz::COEFFICIENTS;
pub use newton_schulz::orthogonalise;
pub use optimizer::Optimizer;
pub(crate) use optimizer::{FIRST_MOMENT, MOMENTUM_BUFFER, SECOND_MOMENT};
pub use recipe::{Difference, Recipe};
pub use replay_report::{LossDifference, ReplayReport};
pub use run::{Start, TrainOutcome, TrainRequest, follow, run, run_in_process};
pub use schedule::{Schedule, StepPlan};
pub use session::Validation;
pub use state::{Counters, StateError, TrainingState};
pub use swa::SwaSum;
pub use trace::{Trace, TraceError, TraceStep};
pub use trainer::{StepReport, Trainer};

#[cfg(test)]
mod tests;
