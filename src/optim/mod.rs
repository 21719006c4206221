//! What changes weights: Muon and AdamW over groups of parameters, SGD, gradient clipping, weight averaging, fake quantization.

mod adamw;
mod clip;
mod ema;
mod fake_quant;
mod groups;
mod matmul;
mod muon;
mod newton_schulz;
mod optimizer;
mod sgd;
mod step_plan;
mod swa;

pub use adamw::AdamStep;
pub use clip::{clip_global_norm, global_norm};
pub use ema::move_average;
pub use fake_quant::{FakeQuant, fake_quant_limit, fake_quantize_rows};
pub use groups::{Group, Method, STEP_ORDER};
pub use muon::MuonStep;
pub(crate) use newton_schulz::COEFFICIENTS;
pub use newton_schulz::orthogonalize;
pub(crate) use optimizer::{FIRST_MOMENT, MOMENTUM_BUFFER, SECOND_MOMENT};
pub use optimizer::{MatrixShare, Optimizer};
pub use sgd::Sgd;
pub use step_plan::StepPlan;
pub use swa::SwaSum;
