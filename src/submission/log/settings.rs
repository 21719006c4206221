//! Hyper-parameters as a log states them before its first step.
//!
//! Read are the block below `Hyperparameters:`, lines that hold nothing but `key:value` pairs, and `Namespace(...)`.

use std::collections::BTreeMap;

use super::file::Noted;

/// Most settings kept.
const MAX_SETTINGS: usize = 1024;
/// Longest value kept, bytes; no setting is longer.
const MAX_VALUE: usize = 1024;

/// Values by name in lower case; the first of a name counts.
pub(super) type Settings = BTreeMap<String, Noted<String>>;

/// Where in a log the reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SettingsReader {
    /// Before the first step.
    #[default]
    Reading,
    /// In the lines below a heading.
    Block,
    /// Training has begun: what comes is no setting.
    Over,
}

impl SettingsReader {
    /// The next line that is no source code.
    pub fn take(&mut self, number: u64, line: &str, settings: &mut Settings) {
        let trimmed = line.trim();
        if trimmed.starts_with("step:") || trimmed.starts_with("step ") || settings.len() >= MAX_SETTINGS {
            *self = SettingsReader::Over;
        }
        if *self == SettingsReader::Over {
            return;
        }
        let mut keep = |key: &str, value: &str| {
            let value = value.trim_matches(['\'', '"']);
            if value.len() <= MAX_VALUE {
                let noted = || Noted { line: number, value: value.to_string() };
                settings.entry(key.to_ascii_lowercase()).or_insert_with(noted);
            }
        };
        if trimmed.eq_ignore_ascii_case("hyperparameters:") || trimmed.eq_ignore_ascii_case("config:") {
            *self = SettingsReader::Block;
            return;
        }
        let is_indented = line.starts_with([' ', '\t']);
        if *self == SettingsReader::Block
            && is_indented
            && let Some((key, value)) = trimmed.split_once(':').filter(|(key, _)| is_key(key))
        {
            keep(key, value.trim());
            return;
        }
        if !trimmed.is_empty() && !is_indented {
            *self = SettingsReader::Reading;
        }
        if let Some(inside) = trimmed.split_once("Namespace(").and_then(|(_, rest)| rest.strip_suffix(')')) {
            let parts = inside.split(", ").filter_map(|part| part.split_once('='));
            parts.filter(|(key, _)| is_key(key)).for_each(|(key, value)| keep(key, value));
            return;
        }
        let pairs: Option<Vec<(&str, &str)>> = trimmed.split_whitespace().map(pair).collect();
        pairs.unwrap_or_default().into_iter().for_each(|(key, value)| keep(key, value));
    }
}

/// `key:value` or `key=value` without blanks.
fn pair(word: &str) -> Option<(&str, &str)> {
    let word = word.trim_end_matches(',');
    let at = word.find([':', '='])?;
    let (key, value) = (&word[..at], &word[at + 1..]);
    (is_key(key) && !value.is_empty()).then_some((key, value))
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use crate::submission::log::LogScanner;

    fn read(text: &str) -> Vec<(String, String, u64)> {
        let mut scanner = LogScanner::new("train.log".into());
        scanner.feed(text.as_bytes());
        let settings = scanner.finish(false).settings;
        settings.into_iter().map(|(key, noted)| (key, noted.value, noted.line)).collect()
    }

    fn owned(expected: &[(&str, &str, u64)]) -> Vec<(String, String, u64)> {
        expected.iter().map(|(key, value, line)| (key.to_string(), value.to_string(), *line)).collect()
    }

    #[test]
    fn dumps_of_every_kind() {
        let block = "***\nHyperparameters:\n  adam_eps: 1e-08\n  path: a: b\n  empty: \n=====\nstep:1 loss:2\nlate:1\n";
        assert_eq!(read(block), owned(&[("adam_eps", "1e-08", 3), ("empty", "", 5), ("path", "a: b", 4)]));
        let lines = "tie:True lr:0.05\nval_loader:shards pattern=x tokens:3\nseed:1337\nnot all: pairs here\n";
        assert_eq!(
            read(lines),
            owned(&[
                ("lr", "0.05", 1),
                ("pattern", "x", 2),
                ("seed", "1337", 3),
                ("tie", "True", 1),
                ("tokens", "3", 2),
                ("val_loader", "shards", 2)
            ])
        );
        assert_eq!(read("Namespace(lr=0.1, name='x')"), owned(&[("lr", "0.1", 1), ("name", "x", 1)]));
    }

    #[test]
    fn the_source_in_front_of_a_log_states_nothing() {
        let text = format!("import os\nlr=3\nseed=5\n{}\nseed:7\n", "=".repeat(100));
        assert_eq!(read(&text), owned(&[("seed", "7", 5)]));
        let unruled = "import os\nclass H:\n    lr=3\nif __name__ == '__main__':\n    main(seed=5)\nseed:7\n";
        assert_eq!(read(unruled), owned(&[("seed", "7", 6)]));
    }
}
