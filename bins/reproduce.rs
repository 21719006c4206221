//! `reproduce`: a claim from its manifest, end to end.

fn main() -> std::process::ExitCode {
    golf_harness::cli::main(golf_harness::cli::reproduce::run)
}
