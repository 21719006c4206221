//! A few lines out of a file, for quotations.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::log::LineCutter;
use super::stream::{CHUNK, stream};

/// Longest line quoted, characters.
const MAX_CHARS: usize = 220;

/// The lines with these 1-based numbers, shortened, control characters made visible; those the file has.
///
/// Reads no further than the last of them, and at most `limit` bytes.
pub fn lines_of(path: &Path, wanted: &BTreeSet<u64>, limit: u64) -> io::Result<BTreeMap<u64, String>> {
    let mut found = BTreeMap::new();
    let Some(&last) = wanted.last() else { return Ok(found) };
    let mut cutter = LineCutter::new();
    let mut take = |number: u64, text: &str| {
        // Of a line that a progress bar wrote over, the last state is what an editor shows.
        if wanted.contains(&number) {
            found.insert(number, shown(text));
        }
    };
    stream(path, limit, &mut vec![0; CHUNK], &mut |bytes| {
        cutter.feed(bytes, &mut take);
        if cutter.number() > last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    // Nothing of a line behind the last one is wanted.
    cutter.finish(&mut take);
    Ok(found)
}

fn shown(text: &str) -> String {
    let end = text.char_indices().nth(MAX_CHARS).map_or(text.len(), |(at, _)| at);
    let rest = if end < text.len() { "…" } else { "" };
    format!("{}{rest}", crate::escape::visible(text[..end].trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_number_and_shortened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, format!("one\r\ntwo\n\n\tfour\u{1b}[31m\u{202e}\n{}\nlast", "x".repeat(1000))).unwrap();
        let wanted = BTreeSet::from([1, 3, 4, 5, 6, 9]);
        let lines = lines_of(&path, &wanted, u64::MAX).unwrap();
        let numbers: Vec<u64> = lines.keys().copied().collect();
        assert_eq!(numbers, [1, 4, 5, 6]);
        assert_eq!((lines[&1].as_str(), lines[&6].as_str()), ("one", "last"));
        assert_eq!(lines[&4], "\\tfour\\u{202e}");
        assert_eq!(lines[&5].chars().count(), MAX_CHARS + 1);
        // What lies behind the limit is not there.
        assert_eq!(lines_of(&path, &wanted, 7).unwrap().len(), 1);
    }
}
