//! What all binaries share: exit codes, common flags, progress bars, the error printer.

mod common;
#[cfg(feature = "engine")]
mod device;
mod exit;
mod fit;
mod progress;
#[cfg(feature = "engine")]
mod ranks;
mod recipe;
mod threads;

pub use common::{ColorChoice, CommonArgs};
#[cfg(feature = "engine")]
pub use device::DeviceArgs;
pub use exit::{ExitCode, Interrupted, run};
pub use fit::FitArgs;
pub use progress::Progress;
#[cfg(feature = "engine")]
pub use ranks::{Company, RanksArgs};
pub use recipe::RecipeArgs;
pub use threads::use_threads;
