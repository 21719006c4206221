//! `rerun`: run a submission's own script again, under supervision.

fn main() -> std::process::ExitCode {
    golf_harness::cli::main(golf_harness::cli::rerun::run)
}
