//! `golf-harness doctor`: what this machine can do, and what is missing for which command.
//!
//! Files and settings are read; the one program that is started is the Python interpreter, which is asked what it would
//! find and imports nothing.

mod diagnosis;
mod machine;
mod needs;
mod text;

use std::path::PathBuf;

use clap::Parser;
pub use diagnosis::Diagnosis;

use super::output::print;
use super::{CommonArgs, ExitCode, version};

/// Say what this machine can do, and what is missing for which command
///
/// Nothing is changed, and nothing is started but the Python interpreter, which imports nothing.
///
/// Exit codes: 0 verify and pack can work here; 1 something they need is missing.
#[derive(Parser)]
#[command(
    version,
    long_version = version::long(),
    after_help = "\
Examples:
  golf-harness doctor
  golf-harness doctor --json"
)]
pub struct Args {
    /// The interpreter that `rerun` would use
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,

    #[command(flatten)]
    common: CommonArgs,
}

/// Looks, and says what it found.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.common.apply_color();
    let diagnosis = Diagnosis::of(machine::look(&args.python));
    print(&args.common, || &diagnosis, || text::text(&diagnosis, args.common.quiet))?;
    Ok(if diagnosis.basics_work() { ExitCode::Ok } else { ExitCode::CheckFailed })
}
