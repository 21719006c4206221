//! Pages that are one file: the style is inside, and the page admits it, and nothing else, by its digest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::digest::ContentDigest;

/// How such a page begins behind its type: earlier ones are known by it.
pub const MARK: &str = "golf-harness page";

/// The style of all pages.
pub(super) const STYLE: &str =
    concat!(include_str!("assets/palette.css"), include_str!("assets/chart.css"), include_str!("assets/site.css"));

/// The part of it that a picture by itself needs.
#[cfg(feature = "engine")]
pub(super) const PICTURE_STYLE: &str = concat!(include_str!("assets/palette.css"), include_str!("assets/chart.css"));

/// The Content-Security-Policy: this style, no script, no resource.
pub(super) fn policy() -> String {
    let digest = STANDARD.encode(ContentDigest::of(STYLE.as_bytes()).sha256.as_bytes());
    format!("default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'")
}
