//! Hyper-parameters as a log states them before its first step.

use std::collections::BTreeMap;

use crate::path_safety::join_inside;
use crate::regular_file;
use crate::submission::text::decode;
use crate::submission::{LogFile, RecordFolder};

/// A log's beginning up to here is read: scripts print their own source first.
const MAX_HEAD_BYTES: u64 = 2 << 20;
/// Most settings kept.
const MAX_SETTINGS: usize = 1024;

/// What one log states: value and line by name in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Path of the log in the folder.
    pub file: String,
    /// Values by name.
    pub values: BTreeMap<String, (String, u64)>,
}

/// Settings of every log that states some, in the order of paths.
pub fn of_folder(folder: &RecordFolder) -> Vec<LogSettings> {
    folder.logs.iter().filter_map(|log| of_log(folder, log)).filter(|settings| !settings.values.is_empty()).collect()
}

fn of_log(folder: &RecordFolder, log: &LogFile) -> Option<LogSettings> {
    let path = join_inside(&folder.root, std::path::Path::new(&log.path)).ok()?;
    let head = regular_file::read_head(&path, MAX_HEAD_BYTES).ok()?;
    Some(LogSettings { file: log.path.clone(), values: parse(&decode(&head).0) })
}

/// Settings in the text of a log.
///
/// Read are the block below `Hyperparameters:`, lines that hold nothing but `key:value` pairs, and `Namespace(...)`.
fn parse(text: &str) -> BTreeMap<String, (String, u64)> {
    let mut found = BTreeMap::new();
    let mut in_block = false;
    let source_ends = source_listing(text);
    for (number, line) in text.lines().enumerate().skip(source_ends) {
        let line_number = number as u64 + 1;
        let trimmed = line.trim();
        if trimmed.starts_with("step:") || trimmed.starts_with("step ") || found.len() >= MAX_SETTINGS {
            break;
        }
        let mut keep = |key: &str, value: &str| {
            found.entry(key.to_ascii_lowercase()).or_insert((unquoted(value).to_string(), line_number));
        };
        if trimmed.eq_ignore_ascii_case("hyperparameters:") || trimmed.eq_ignore_ascii_case("config:") {
            in_block = true;
            continue;
        }
        if in_block
            && line.starts_with([' ', '\t'])
            && let Some((key, value)) = trimmed.split_once(':').filter(|(key, _)| is_key(key))
        {
            keep(key, value.trim());
            continue;
        }
        in_block &= trimmed.is_empty() || line.starts_with([' ', '\t']);
        if let Some(inside) = trimmed.split_once("Namespace(").and_then(|(_, rest)| rest.strip_suffix(')')) {
            for part in inside.split(", ") {
                if let Some((key, value)) = part.split_once('=').filter(|(key, _)| is_key(key)) {
                    keep(key, value);
                }
            }
            continue;
        }
        let pairs: Option<Vec<(&str, &str)>> = trimmed.split_whitespace().map(pair).collect();
        for (key, value) in pairs.unwrap_or_default() {
            keep(key, value);
        }
    }
    found
}

/// Lines of a source listing that ends with a ruler of `=`.
fn source_listing(text: &str) -> usize {
    let ruler = |line: &str| line.len() >= 60 && line.bytes().all(|byte| byte == b'=');
    let Some(at) = text.lines().position(|line| ruler(line.trim())) else { return 0 };
    let is_source = text.lines().take(at).any(|line| line.starts_with("import ") || line.starts_with("from "));
    if is_source { at + 1 } else { 0 }
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

fn unquoted(value: &str) -> &str {
    value.trim_matches(|c| matches!(c, '\'' | '"'))
}

/// Whether two spellings of a value mean the same: `0.10` and `0.1`, `True` and `1`.
pub fn same_value(a: &str, b: &str) -> bool {
    let number = |text: &str| match text.trim() {
        "True" | "true" => Some(1.0),
        "False" | "false" => Some(0.0),
        text => text.parse::<f64>().ok(),
    };
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a.trim() == b.trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String, u64)> {
        parse(text).into_iter().map(|(key, (value, line))| (key, value, line)).collect()
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
        let text = format!("import os\nlr=3\nseed:5\n{}\nseed:7\n", "=".repeat(100));
        assert_eq!(read(&text), owned(&[("seed", "7", 5)]));
    }

    #[test]
    fn values_are_compared_by_what_they_mean() {
        for (a, b, same) in [
            ("0.10", "0.1", true),
            ("True", "1", true),
            ("1e-8", "1e-08", true),
            ("a", "a ", true),
            ("0", "", false),
            ("1", "2", false),
            ("4,5", "4,5", true),
        ] {
            assert_eq!(same_value(a, b), same, "{a} {b}");
        }
    }
}
