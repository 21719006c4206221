//! Where the shipped reference files are. Shared with the library's own tests.

use std::path::{Path, PathBuf};

/// The shipped reference files: of the repository that this was built from, or on another machine of the one it runs in.
pub fn shipped() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = if built.is_dir() { built } else { Path::new(".") };
    root.join("fixtures/reference")
}
