//! The canonical form of a manifest, and the digest that identifies it.

use super::Manifest;
use crate::digest::{ContentDigest, Digest};

/// The manifest as YAML in declaration order, defaults written out (save those of settings younger than the
/// first manifests: these keep their identity).
///
/// Maps inside are `BTreeMap`s and numbers print shortest-round-trip, so the same manifest gives the
/// same bytes on every machine.
pub fn canonical_yaml(manifest: &Manifest) -> String {
    // Serializing plain structs into a String cannot fail: no maps with non-string keys, no I/O.
    serde_yaml::to_string(manifest).unwrap_or_default()
}

/// SHA-256 of the canonical form without results and environment: what was to be done, not what came out.
pub fn identity(manifest: &Manifest) -> Digest {
    let mut claim = manifest.clone();
    claim.results = Default::default();
    claim.environment = None;
    ContentDigest::of(canonical_yaml(&claim).as_bytes()).sha256
}
