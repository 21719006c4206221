//! Names of pages: readable, safe in a path and a URL, and never two alike.

use super::PAGES;
use crate::report::Report;

/// Longest readable part, characters.
const MAX_READABLE: usize = 60;
/// Hexadecimal digits of the subject's digest that tell pages apart.
const DIGEST_DIGITS: usize = 10;

/// Names of all subjects: their pages', and what is left of their paths without the folders that all share.
#[derive(Clone, Debug)]
pub struct Names {
    pages: Vec<String>,
    short: Vec<String>,
}

impl Names {
    /// The names of these reports, in order.
    pub fn of(reports: &[Report]) -> Self {
        let subjects: Vec<&str> = reports.iter().map(|report| report.subject.as_str()).collect();
        Names { pages: subjects.iter().map(|subject| page(subject)).collect(), short: without_common(&subjects) }
    }

    /// The page of a subject, as a path in the site.
    pub fn page(&self, index: usize) -> String {
        self.pages.get(index).map(|page| format!("{PAGES}/{page}")).unwrap_or_default()
    }

    /// The page of a subject, as seen from another's.
    pub fn beside(&self, index: usize) -> Option<&str> {
        self.pages.get(index).map(String::as_str)
    }

    /// What is left of a subject's path.
    pub fn short(&self, index: usize) -> &str {
        self.short.get(index).map_or("", String::as_str)
    }
}

fn page(subject: &str) -> String {
    let last = subject.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let readable: String = last.chars().map(safe).take(MAX_READABLE).collect();
    let digest = blake3::hash(subject.as_bytes()).to_hex();
    format!("{readable}-{}.html", &digest.as_str()[..DIGEST_DIGITS])
}

/// Paths without the folders that all of them begin with; of a single path its last part.
pub fn without_common(paths: &[&str]) -> Vec<String> {
    let parts =
        |path: &str| -> Vec<String> { path.trim_end_matches('/').split('/').map(str::to_string).collect::<Vec<_>>() };
    let all: Vec<Vec<String>> = paths.iter().map(|path| parts(path)).collect();
    // The last part is the subject's own.
    let mut common = all.iter().map(|parts| parts.len() - 1).min().unwrap_or(0);
    if let Some(first) = all.first() {
        for parts in &all {
            common = parts.iter().zip(first).take(common).take_while(|(a, b)| a == b).count();
        }
    }
    all.iter().map(|parts| parts[common..].join("/")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_apart_and_lead_nowhere_else() {
        let long = "x".repeat(500);
        let subjects = ["a/x", "b/x", "../../etc/passwd", "a/<b>\u{202e}", "", "/", long.as_str()];
        let pages: Vec<String> = subjects.iter().map(|subject| page(subject)).collect();
        for (i, page) in pages.iter().enumerate() {
            assert!(!pages[..i].contains(page), "{page}");
            assert!(page.len() < 90 && page.ends_with(".html"), "{page}");
            let is_safe = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            assert!(page.chars().all(is_safe) && page.matches('.').count() == 1, "{page}");
        }
    }

    #[test]
    fn what_all_paths_share_is_left_out() {
        assert_eq!(without_common(&["r/t/a", "r/t/b", "r/u/c/"]), ["t/a", "t/b", "u/c"]);
        assert_eq!(without_common(&["r/t/a"]), ["a"]);
        assert_eq!(without_common(&["a", "a/b"]), ["a", "a/b"]);
        assert!(without_common(&[]).is_empty());
    }
}
