//! Exit codes, a public table: 0 ok, 1 a check failed, 2 could not check, 130 interrupted.

use std::io::Write;

use super::signal::{interrupt_on_signal, outlive_full_files};
use super::usage::{apply_color, parse};
use crate::escape::visible;
use crate::interrupt::Interrupted;
use crate::report::Conclusion;
use crate::worker;

/// How a binary ends. "Could not check" is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Everything asked for was done, and every check passed.
    Ok,
    /// The work was done and a check failed: over budget, digest mismatch, claim not reproduced.
    CheckFailed,
    /// The work could not be done: usage, I/O, damaged or missing input.
    CouldNotCheck,
    /// Stopped by SIGINT or SIGTERM, with nothing half-written.
    Interrupted,
}

impl From<Conclusion> for ExitCode {
    fn from(conclusion: Conclusion) -> ExitCode {
        match conclusion {
            Conclusion::Passed => ExitCode::Ok,
            Conclusion::Failed => ExitCode::CheckFailed,
            Conclusion::Unchecked => ExitCode::CouldNotCheck,
        }
    }
}

impl From<ExitCode> for i32 {
    fn from(code: ExitCode) -> i32 {
        match code {
            ExitCode::Ok => 0,
            ExitCode::CheckFailed => 1,
            ExitCode::CouldNotCheck => 2,
            ExitCode::Interrupted => 130,
        }
    }
}

/// A binary: parses its arguments and runs its command. See [`run`] for how it ends.
pub fn main<A: clap::Parser>(command: impl FnOnce(&A) -> anyhow::Result<ExitCode>) -> std::process::ExitCode {
    // A worker has no flags, and prints nothing.
    if worker::is_asked_for() {
        return worker::serve();
    }
    outlive_full_files();
    apply_color(std::env::args_os().map(|word| word.to_string_lossy().into_owned()));
    let args = match parse::<A>(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            // If nobody reads it, there is nobody to tell.
            let _ = error.print();
            return std::process::ExitCode::from(error.exit_code() as u8);
        }
    };
    // From the start, so that a signal ends every command with the same code.
    run(|| interrupt_on_signal().and_then(|_| command(&args)))
}

/// Runs a binary's body, prints an error with its causes on stderr, and returns the process's exit code.
pub fn run(body: impl FnOnce() -> anyhow::Result<ExitCode>) -> std::process::ExitCode {
    let code = match caught(body) {
        Ok(code) => code,
        Err(error) => {
            let mut stderr = anstream::stderr().lock();
            let style = anstyle::AnsiColor::Red.on_default().bold();
            // If stderr is gone there is nobody left to tell.
            let mut said = error.to_string();
            let _ = writeln!(stderr, "{style}error{style:#}: {}", visible_lines(&said));
            for cause in error.chain().skip(1).map(ToString::to_string) {
                // Most messages already end with their cause.
                if !said.contains(&cause) {
                    let _ = writeln!(stderr, "  caused by: {}", visible_lines(&cause));
                    said = cause;
                }
            }
            if error.is::<Interrupted>() { ExitCode::Interrupted } else { ExitCode::CouldNotCheck }
        }
    };
    std::process::ExitCode::from(i32::from(code) as u8)
}

/// Messages quote names and texts of strangers, and some have several lines.
fn visible_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// What a defect of this program comes to: not checked, like everything that got in the way.
fn caught(body: impl FnOnce() -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    // The body is gone when it ends this way: nothing sees what it left.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("a defect of this program, described above: nothing was concluded")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_lines_and_nothing_that_a_stranger_put_into_them() {
        let said = visible_lines("cannot read \u{1b}[2J\n::error file=a::b\n  at line 3");
        assert_eq!(said, "cannot read \\u{1b}[2J\n:\\u{3a}error file=a::b\n  at line 3");
    }

    #[test]
    fn a_panic_is_an_error_and_no_exit_code_of_its_own() {
        let error = caught(|| panic!("on purpose")).unwrap_err();
        assert!(error.to_string().contains("defect"), "{error}");
        assert_eq!(caught(|| Ok(ExitCode::CheckFailed)).unwrap(), ExitCode::CheckFailed);
    }
}
