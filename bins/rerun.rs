//! `rerun`: run a submission's own script again, under supervision.

fn main() -> std::process::ExitCode {
    // Started by itself, it stands between the supervisor and the script.
    golf_harness::rerun::serve().unwrap_or_else(|| golf_harness::cli::main(golf_harness::cli::rerun::run))
}
