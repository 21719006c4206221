//! A few lines out of a file, for quotations.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;

use super::log::LineCutter;

/// Longest line quoted, characters.
const MAX_CHARS: usize = 220;
/// Bytes read at a time.
const CHUNK: usize = 128 * 1024;

/// The lines with these 1-based numbers, shortened, control characters made visible; those the file has.
///
/// Reads no further than the last of them, and at most `limit` bytes.
pub fn lines_of(path: &Path, wanted: &BTreeSet<u64>, limit: u64) -> io::Result<BTreeMap<u64, String>> {
    let mut found = BTreeMap::new();
    let Some(&last) = wanted.last() else { return Ok(found) };
    let mut reader = crate::regular_file::open(path)?.take(limit);
    let mut cutter = LineCutter::new();
    let mut buffer = vec![0; CHUNK];
    let mut reached = 0;
    let mut take = |number: u64, text: &str| {
        reached = number;
        // Of a line that a progress bar wrote over, the last state is what an editor shows.
        if wanted.contains(&number) {
            found.insert(number, shown(text));
        }
    };
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => cutter.feed(&buffer[..n], &mut take),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if cutter.number() > last {
            return Ok(found);
        }
    }
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
