//! The schedule and the training loop.
//!
//! [`run`](fn@run) takes a manifest to a checkpoint. Below it: [`Trainer`] takes one step, [`Schedule`] decides its rate,
//! [`Optimizer`](crate::optim::Optimizer) applies it, [`Trace`] records it, [`TrainingState`] lets it be continued.

mod agreement;
mod begin;
mod buckets;
mod clock;
mod error;
mod folder;
mod inputs;
mod log;
mod pace;
mod recipe;
mod replay_report;
mod resident_step;
mod run;
mod schedule;
mod session;
mod state;
mod trace;
mod trainer;
mod validation;

pub use clock::{Clock, Stopwatch, SystemClock, TickingClock};
pub use error::{Diverged, TrainError};
pub use recipe::{Difference, Recipe};
pub use replay_report::{LossDifference, ReplayReport};
pub use run::{Start, TrainOutcome, TrainRequest, Training, run, run_in_process, run_worker};
pub use schedule::Schedule;
pub use session::Validation;
pub use state::{Counters, StateError, TrainingState, made_by, maker};
pub use trace::{Trace, TraceError, TraceStep};
pub use trainer::{StepReport, Trainer};

#[cfg(test)]
mod tests;
