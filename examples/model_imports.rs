//! What the pickles in model files would import, without importing it: paths on standard input, a line of JSON each.
//!
//! `ci/torch_differential.py` compares it with what `torch.load` looks up.

use std::io::{BufRead, Write};
use std::path::Path;

use golf_harness::artifact::foreign::{ForeignError, list_within};
use serde_json::json;

/// As much as `verify` lets a file expand to.
const MAX_BYTES: u64 = golf_harness::artifact::foreign::MAX_EXPANDED_BYTES;

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for path in std::io::stdin().lock().lines() {
        let path = path?;
        let bytes = std::fs::read(&path)?;
        let answer = match list_within(&bytes, Path::new(&path), MAX_BYTES) {
            Ok(listing) => json!({ "opened": listing.imports }),
            Err(error @ (ForeignError::Import { .. } | ForeignError::Ambiguous { .. })) => {
                json!({ "refused": error.to_string() })
            }
            Err(error) => json!({ "unknown": error.to_string() }),
        };
        writeln!(out, "{answer}")?;
    }
    Ok(())
}
