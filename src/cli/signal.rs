//! SIGINT and SIGTERM.

use anyhow::Context;

use super::ExitCode;
use crate::interrupt::{Interrupt, Interrupted};

/// A flag raised by the first SIGINT or SIGTERM. A second one ends the process at once with exit code 130.
///
/// Call once: a process has one signal handler.
pub fn interrupt_on_signal() -> anyhow::Result<Interrupt> {
    let interrupt = Interrupt::none();
    let flag = interrupt.clone();
    let raise = move || {
        if flag.raise() {
            std::process::exit(ExitCode::Interrupted.into());
        }
    };
    ctrlc::set_handler(raise).context("cannot listen for Ctrl-C")?;
    Ok(interrupt)
}

/// What interruptible work came to: once a signal came, an error is the interrupt, however the work describes it.
pub fn unless_interrupted<T, E>(outcome: Result<T, E>, interrupt: &Interrupt) -> anyhow::Result<T>
where
    anyhow::Error: From<E>,
{
    outcome.map_err(|error| if interrupt.is_raised() { Interrupted.into() } else { error.into() })
}
