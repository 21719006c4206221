//! SIGINT and SIGTERM.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context;

use super::ExitCode;
use crate::atomic_write;
use crate::interrupt::{Interrupt, Interrupted};

/// Time between a signal and the end of the process for work that stops by itself at a safe point, and saves its state.
const GRACE: Duration = Duration::from_millis(1500);
/// How much longer files may take that are written together.
const PATIENCE: Duration = Duration::from_millis(300);

/// The process's one flag.
static FLAG: OnceLock<Interrupt> = OnceLock::new();

/// A flag raised by the first SIGINT or SIGTERM. A second one ends the process at once with exit code 130; so does the
/// first, two seconds later, wherever the work is then. Files appear whole or not at all, so nothing is half-written.
pub fn interrupt_on_signal() -> anyhow::Result<Interrupt> {
    if let Some(interrupt) = FLAG.get() {
        return Ok(interrupt.clone());
    }
    let interrupt = FLAG.get_or_init(Interrupt::none).clone();
    let flag = interrupt.clone();
    let raise = move || {
        if flag.raise() {
            end();
        }
        // This thread is the handler's own: it must stay free for the second signal.
        std::thread::spawn(|| {
            std::thread::sleep(GRACE);
            end();
        });
    };
    ctrlc::set_handler(raise).context("cannot listen for Ctrl-C")?;
    Ok(interrupt)
}

/// A file that grows past a limit (`ulimit -f`) is an error where it is written, and no end of the process.
#[cfg(target_os = "linux")]
pub fn outlive_full_files() {
    // SAFETY: no handler of ours is installed or replaced, and ignoring a signal runs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Elsewhere the signal ends the process, which leaves nothing half-written either.
#[cfg(not(target_os = "linux"))]
pub fn outlive_full_files() {}

/// Ends the process in the middle of its work.
fn end() -> ! {
    atomic_write::clear_for_exit(PATIENCE);
    // If stderr is gone there is nobody left to tell. A lock on it may be held for good: the standard one is not used.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), b"error: interrupted; files written before are whole\n");
    std::process::exit(ExitCode::Interrupted.into())
}

/// What interruptible work came to: once a signal came, an error is the interrupt, however the work describes it.
pub fn unless_interrupted<T, E>(outcome: Result<T, E>, interrupt: &Interrupt) -> anyhow::Result<T>
where
    anyhow::Error: From<E>,
{
    outcome.map_err(|error| if interrupt.is_raised() { Interrupted.into() } else { error.into() })
}
