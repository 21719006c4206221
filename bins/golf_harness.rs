//! `golf-harness`: every command in one program.

fn main() -> std::process::ExitCode {
    // Started by itself, it stands between the supervisor of `rerun` and the script.
    golf_harness::rerun::serve().unwrap_or_else(|| golf_harness::cli::main(golf_harness::cli::program::run))
}
