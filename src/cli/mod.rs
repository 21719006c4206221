//! The commands, and what they share: exit codes, common flags, progress bars, the error printer.
//!
//! A command is a module with its `Args`, which clap parses, and its `run`, so that any program can offer it.

mod common;
mod config;
#[cfg(feature = "engine")]
mod device;
pub mod doctor;
pub mod documents;
mod exit;
mod fit;
mod output;
mod outputs;
pub mod pack;
mod places;
#[cfg(feature = "engine")]
mod plot;
mod previous;
pub mod program;
mod progress;
mod publish;
#[cfg(feature = "engine")]
mod ranks;
mod recipe;
#[cfg(feature = "engine")]
pub mod reproduce;
pub mod rerun;
#[cfg(feature = "engine")]
pub mod score;
mod signal;
mod site;
mod threads;
#[cfg(feature = "engine")]
pub mod train;
mod usage;
mod values;
pub mod verify;
pub mod version;

pub use common::{ColorChoice, CommonArgs};
pub use config::ConfigArgs;
#[cfg(feature = "engine")]
pub use device::DeviceArgs;
pub use exit::{ExitCode, main, run};
pub use fit::FitArgs;
pub use progress::progress_bar;
#[cfg(feature = "engine")]
pub use ranks::{LaunchMode, RanksArgs};
pub use recipe::{Changes, DataArgs, RecipeArgs, Scope};
pub use signal::interrupt_on_signal;
pub use threads::use_threads;
