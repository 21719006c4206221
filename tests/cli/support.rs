//! Helpers for running the binaries.

use std::path::PathBuf;

use assert_cmd::Command;

/// A command for one of this crate's binaries, with a plain environment: no color, no inherited recipe variables.
pub fn golf(binary: &str) -> Command {
    let mut command = Command::cargo_bin(binary).expect("the binary is built with the tests");
    command.env_clear().env("NO_COLOR", "1").env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// A file or folder the project ships under `fixtures/`.
pub fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// Text with what each pattern matches replaced, one pattern after the other.
pub fn filtered(text: &str, filters: &[(&str, &str)]) -> String {
    filters.iter().fold(text.to_string(), |text, (pattern, with)| {
        regex_lite::Regex::new(pattern).expect("a pattern").replace_all(&text, *with).into_owned()
    })
}
