//! `train`: from a manifest to a checkpoint, a log and a schedule trace.

fn main() -> std::process::ExitCode {
    golf_harness::cli::main(golf_harness::cli::train::run)
}
