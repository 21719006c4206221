//! `verify`: check a manifest, a record folder or a tree of them, and say why.

fn main() -> std::process::ExitCode {
    golf_harness::cli::main(golf_harness::cli::verify::run)
}
