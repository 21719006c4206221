//! `verify`: judge a manifest, a record folder or a tree of them, and say why.

use std::io::Write;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use golf_harness::cli::{CommonArgs, ExitCode, run};
use golf_harness::report::{Audit, Detail, Json, JsonLines, Level, Reporter, Text};
use golf_harness::rules::audit::{self, Options};

/// Check a claim against its own files, logs and numbers
///
/// Reads manifests and record folders, runs every rule, prints what is wrong with the evidence.
/// Nothing from a submission is ever executed.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  verify manifests/pr-286.yaml          one manifest and the files it names
  verify records/track_10min_16mb/NAME  one record folder
  verify records/                       every record folder below
  verify --explain over_budget          what a rule says, and why

Exit codes: 0 nothing at or above --fail-on, 1 something is, 2 could not check, 130 interrupted"
)]
struct Args {
    /// Manifests, record folders, or trees of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Report format
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,

    /// Lowest level that makes the exit code 1
    #[arg(long, value_enum, default_value = "fail", value_name = "LEVEL")]
    fail_on: FailOn,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Jsonl,
}

#[derive(Clone, Copy, ValueEnum)]
enum FailOn {
    #[value(alias = "error")]
    Fail,
    Warning,
    Review,
    Unknown,
}

fn main() -> std::process::ExitCode {
    run(|| verify(&Args::parse()))
}

fn verify(args: &Args) -> anyhow::Result<ExitCode> {
    args.common.apply_color();
    let options = Options::default();
    let reports = args.paths.iter().map(|path| audit::manifest(path, &options)).collect::<Result<_, _>>()?;
    let audit = Audit::new(reports, Vec::new());
    let detail = match (args.common.quiet, args.common.verbose) {
        (true, _) => Detail::Brief,
        (false, 0) => Detail::Usual,
        (false, _) => Detail::Full,
    };
    let reporter: Box<dyn Reporter> = match args.format {
        _ if args.common.json => Box::new(Json),
        Format::Text => Box::new(Text(detail)),
        Format::Json => Box::new(Json),
        Format::Jsonl => Box::new(JsonLines(detail)),
    };
    let mut out = anstream::stdout().lock();
    reporter.write(&audit, &mut out)?;
    out.flush()?;
    let level = match args.fail_on {
        FailOn::Fail => Level::Fail,
        FailOn::Warning => Level::Warning,
        FailOn::Review => Level::Review,
        FailOn::Unknown => Level::Unknown,
    };
    Ok(audit.exit_code(level))
}
