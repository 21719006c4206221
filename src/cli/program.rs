//! `golf-harness`: every command in one program, with the flags, help and exit codes it has on its own.

use clap::{CommandFactory, Parser, Subcommand};

use super::{ExitCode, doctor, pack, publish, rerun, verify};
#[cfg(feature = "engine")]
use super::{reproduce, score, train};

/// Reproducibility harness and artifact verifier for Parameter Golf
#[derive(Parser)]
#[command(
    name = "golf-harness",
    version,
    long_version = super::version::long(),
    after_help = "\
Examples:
  golf-harness verify fixtures/submissions/good
  golf-harness rerun fixtures/submissions/runnable --plan
  golf-harness doctor

`golf-harness COMMAND --help` has more. Exit codes of every command: 0 ok, 1 a check failed, 2 could not check, 130
interrupted."
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Verify(verify::Args),
    Pack(pack::Args),
    Rerun(Box<rerun::Args>),
    #[cfg(feature = "engine")]
    Train(train::Args),
    #[cfg(feature = "engine")]
    Score(Box<score::Args>),
    #[cfg(feature = "engine")]
    Reproduce(reproduce::Args),
    /// Not in this build: train the model a manifest describes
    #[cfg(not(feature = "engine"))]
    Train(Absent),
    /// Not in this build: score a model on the validation split
    #[cfg(not(feature = "engine"))]
    Score(Absent),
    /// Not in this build: train, pack, score and verify what a manifest describes
    #[cfg(not(feature = "engine"))]
    Reproduce(Absent),
    Doctor(doctor::Args),
    /// Print the completions of a shell
    #[command(after_help = publish::COMPLETIONS_HELP)]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one a command, into a folder
    #[command(after_help = publish::MAN_HELP)]
    Man {
        /// The folder; it is made if it is not there
        #[arg(value_name = "DIR")]
        folder: std::path::PathBuf,
    },
}

/// Whatever is given to a command that this build does not have: the answer is the same.
#[cfg(not(feature = "engine"))]
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
struct Absent {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<std::ffi::OsString>,
}

/// Runs the command that is named.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Verify(args) => verify::run(args),
        Command::Pack(args) => pack::run(args),
        Command::Rerun(args) => rerun::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Completions { shell } => publish::completions(*shell, Args::command()),
        Command::Man { folder } => publish::man(folder, Args::command()),
        #[cfg(feature = "engine")]
        Command::Train(args) => train::run(args),
        #[cfg(feature = "engine")]
        Command::Score(args) => score::run(args),
        #[cfg(feature = "engine")]
        Command::Reproduce(args) => reproduce::run(args),
        #[cfg(not(feature = "engine"))]
        Command::Train(absent) => absent.answer("train"),
        #[cfg(not(feature = "engine"))]
        Command::Score(absent) => absent.answer("score"),
        #[cfg(not(feature = "engine"))]
        Command::Reproduce(absent) => absent.answer("reproduce"),
    }
}

#[cfg(not(feature = "engine"))]
impl Absent {
    fn answer(&self, name: &str) -> anyhow::Result<ExitCode> {
        anyhow::bail!(
            "`{name}` multiplies matrices, and this build has no numeric engines (feature `engine`); `verify`, `pack` and \
             `rerun` are all it has. With them: `cargo build --release --bin golf-harness`, without --no-default-features"
        )
    }
}
