//! Optimisers, schedules and the training loop.

mod adamw;
mod clip;
mod groups;
mod matmul;
mod muon;
mod newton_schulz;
mod schedule;
mod swa;

pub use adamw::AdamStep;
pub use clip::{clip_global_norm, global_norm};
pub use groups::{Group, Method, STEP_ORDER};
pub use muon::MuonStep;
pub use newton_schulz::orthogonalise;
pub use schedule::{Schedule, StepPlan};
pub use swa::SwaSum;
