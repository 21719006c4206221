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
mod signal;
mod threads;
mod values;

pub use common::{ColorChoice, CommonArgs};
#[cfg(feature = "engine")]
pub use device::DeviceArgs;
pub use exit::{ExitCode, run};
pub use fit::FitArgs;
pub use progress::progress_bar;
#[cfg(feature = "engine")]
pub use ranks::{Company, RanksArgs};
pub use recipe::RecipeArgs;
pub use signal::interrupt_on_signal;
pub use threads::use_threads;
