//! `pack`: from checkpoint to the bytes that count.

fn main() -> std::process::ExitCode {
    golf_harness::cli::main(golf_harness::cli::pack::run)
}
