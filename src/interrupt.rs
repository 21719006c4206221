//! Ctrl-C as a flag that long loops look at between two units of work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by the signal handler and whoever works; cloning shares the flag.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// A flag nobody has raised and no signal is connected to.
    pub fn none() -> Self {
        Self::default()
    }

    /// Raised by the first SIGINT or SIGTERM. A second one ends the process at once with exit code 130.
    ///
    /// Call once, from a binary: a process has one signal handler.
    pub fn on_signal() -> Result<Self, ctrlc::Error> {
        let interrupt = Self::default();
        let flag = interrupt.clone();
        ctrlc::set_handler(move || {
            if flag.0.swap(true, Ordering::SeqCst) {
                std::process::exit(crate::cli::ExitCode::Interrupted.into());
            }
        })?;
        Ok(interrupt)
    }

    /// Raises the flag, as the signal does.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether work should stop at the next safe point.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
