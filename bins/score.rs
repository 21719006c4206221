//! `score`: from weights to bits per byte, the same bits everywhere.

fn main() -> std::process::ExitCode {
    golf_harness::cli::main(golf_harness::cli::score::run)
}
