//! What git writes into the `.git` of the repository that a folder is.
//!
//! A script could read weights from there as from anywhere, so only what has git's names and begins as git's files do is
//! taken for git's.

use std::path::Path;

use crate::regular_file;

/// Files of git that are text are shorter, or nobody minds whether they are looked at.
const MAX_TEXT_BYTES: u64 = 1 << 16;

/// Whether the file at a path below the folder is git's own. Below other names, `.git` is a folder like any other.
pub(super) fn is_gits_own(name: &str, path: &Path, bytes: u64) -> bool {
    let Some(inner) = name.strip_prefix(".git/") else { return false };
    let parts: Vec<&str> = inner.split('/').collect();
    // Submodules have folders of the same kind.
    let parts = match parts.as_slice() {
        ["modules", rest @ ..] => {
            let own = rest.iter().position(|part| TOP.contains(part)).unwrap_or(rest.len());
            rest.get(own..).unwrap_or_default()
        }
        parts => parts,
    };
    let begins = |magic: &[u8]| regular_file::read_head(path, magic.len() as u64).is_ok_and(|head| head == magic);
    match parts {
        ["objects", start, rest] if is_hex(start, 2..=2) => is_hex(rest, 38..=62) && begins(b"x"),
        ["objects", "pack", file] => magic_of_pack(file).is_some_and(begins) || (is_note(file) && bytes == 0),
        ["objects", "info", "commit-graph"] => begins(b"CGPH"),
        ["objects", "info", "commit-graphs", ..] => begins(b"CGPH") || bytes <= MAX_TEXT_BYTES,
        ["index"] => begins(b"DIRC"),
        [top, ..] if TOP.contains(top) => bytes <= MAX_TEXT_BYTES && *top != "objects" || is_info(parts, bytes),
        _ => false,
    }
}

/// Names at the top of a `.git`.
const TOP: [&str; 12] = [
    "branches",
    "hooks",
    "index",
    "info",
    "logs",
    "modules",
    "objects",
    "refs",
    "worktrees",
    "HEAD",
    "config",
    "packed-refs",
];

fn is_info(parts: &[&str], bytes: u64) -> bool {
    matches!(parts, ["objects", "info", _]) && bytes <= MAX_TEXT_BYTES
}

/// Packs that are to stay or that come from a promise.
fn is_note(file: &str) -> bool {
    file.starts_with("pack-") && [".keep", ".promisor"].iter().any(|end| file.ends_with(end))
}

/// How a file beside packed objects begins.
fn magic_of_pack(file: &str) -> Option<&'static [u8]> {
    if file == "multi-pack-index" {
        return Some(b"MIDX");
    }
    let (name, ending) = file.strip_prefix("pack-")?.split_once('.')?;
    let magic: &[u8] = match ending {
        "pack" => b"PACK",
        "idx" => b"\xfftOc",
        "rev" => b"RIDX",
        "bitmap" => b"BITM",
        "mtimes" => b"MTME",
        _ => return None,
    };
    is_hex(name, 40..=64).then_some(magic)
}

fn is_hex(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
