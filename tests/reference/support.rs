//! Where reference files are.

use std::path::PathBuf;

/// The shipped reference folder and, when `GOLF_GOLDEN_DIR` is set, that one too.
pub fn reference_folders() -> Vec<PathBuf> {
    let shipped = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/reference");
    let extra = std::env::var_os("GOLF_GOLDEN_DIR").map(PathBuf::from);
    std::iter::once(shipped).chain(extra).collect()
}

/// A port may lie as far from the reference as the reference's own precisions lie apart, times this: each is one draw
/// of the same rounding noise.
#[cfg(feature = "engine")]
pub const SPREAD_FACTOR: f64 = 3.0;
