//! The script a log prints against the script the folder ships.

use std::collections::BTreeMap;

use super::DEFAULT;
use super::carriers::parts;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::LogFile;
use crate::submission::code::{Python, packed};
use crate::submission::log::Listing;

pub(super) const RULES: &[Rule] = &[Rule {
    id: RuleId("log_source_differs_from_file"),
    statement: "The source a log prints is not that of the shipped script.",
    reference: "challenge README, file list 4: train_gpt.py is the script of the runs; the script prints itself into its log since the launch commit (a15093ada, 2026-03-18). Custom (#2124, 2026-05-01): all runs from what is submitted",
    evidence: EvidenceKind::Logs,
    why: "The run was made with another script than the one submitted. Both are unpacked and compared line by line, without blank lines and indentation; below 98 % of equal lines it is a warning, below 99.9 % a note. False alarms: a script that was renamed, or shipped minified and run in plain.",
    example: "train_seed42.log:1: 57 of 1,432 lines stand in no shipped script, the first of them `TTT_EPOCHS = 5`",
    check: Check::Folder(differs),
    ..DEFAULT
}];

/// Shorter listings are fragments.
const FEWEST_LINES: usize = 20;
/// Scripts below this share of equal lines are not the same.
const SAME: f64 = 0.98;
/// From this share on a difference is a setting or a comment.
const EQUAL: f64 = 0.999;

/// The lines of a script, without blank ones and white space around them, unpacked where it is packed.
struct Lines {
    list: Vec<String>,
    counts: BTreeMap<String, usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let inner = Python::parse(text).ok().and_then(|python| packed::open(&python, || ())).and_then(Result::ok);
        let text = inner.as_ref().map_or(text, |packed| packed.source.as_str());
        let list: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
        let mut counts = BTreeMap::new();
        for line in &list {
            *counts.entry(line.clone()).or_default() += 1;
        }
        Lines { list, counts }
    }

    /// Lines both have, as often as both have them.
    fn common(&self, other: &Lines) -> usize {
        let shared = |(line, count): (&String, &usize)| other.counts.get(line).copied().unwrap_or_default().min(*count);
        self.counts.iter().map(shared).sum()
    }

    /// The first line that the other has less often.
    fn first_beyond(&self, other: &Lines) -> Option<&str> {
        let mut left = other.counts.clone();
        let is_beyond = |line: &&String| match left.get_mut(line.as_str()) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        };
        self.list.iter().find(is_beyond).map(String::as_str)
    }
}

/// A listing against the shipped script it is most like.
struct Comparison<'a> {
    share: f64,
    file: &'a str,
    differing: usize,
    lines: usize,
    first: Option<String>,
}

fn compare<'a>(listing: &Listing, scripts: &'a [(String, Lines)]) -> Option<Comparison<'a>> {
    let printed = Lines::of(&listing.text);
    if printed.list.len() < FEWEST_LINES {
        return None;
    }
    let is_whole = listing.has_head && listing.has_end;
    let compared = scripts.iter().map(|(path, shipped)| {
        let common = printed.common(shipped);
        // A cut listing need not hold all of the script.
        let of = if is_whole { printed.list.len().max(shipped.list.len()) } else { printed.list.len() };
        let beyond = || printed.first_beyond(shipped).map(|line| format!("printed only: {line}"));
        let missing = || shipped.first_beyond(&printed).map(|line| format!("shipped only: {line}"));
        let first = if common < of { beyond().or_else(missing) } else { None };
        Comparison { share: common as f64 / of.max(1) as f64, file: path, differing: of - common, lines: of, first }
    });
    compared.max_by(|a, b| a.share.total_cmp(&b.share))
}

fn differs(case: &FolderCase) -> Outcome {
    let is_listed = case.folder.logs.iter().any(|log| !log.listings.is_empty());
    if !is_listed {
        return Outcome::NotApplicable;
    }
    let scripts: Vec<(String, Lines)> = case
        .folder
        .code
        .iter()
        .filter(|code| code.path.ends_with(".py"))
        .filter_map(|code| Some((code.path.clone(), Lines::of(code.text.as_deref()?))))
        .collect();
    if scripts.is_empty() {
        return Outcome::unknown("there is no script to compare with");
    }
    let parts = parts(case.folder);
    let mut compared = 0;
    let mut violations = Vec::new();
    for log in &case.folder.logs {
        let found: Vec<_> =
            log.listings.iter().filter_map(|listing| Some((listing, compare(listing, &scripts)?))).collect();
        compared += found.len();
        let Some((listing, worst)) = found.into_iter().min_by(|a, b| a.1.share.total_cmp(&b.1.share)) else { continue };
        if worst.share >= EQUAL {
            continue;
        }
        let carries = parts.iter().any(|part| std::ptr::eq(part.log, log) && part.carries);
        violations.push(violation(log, listing, &worst, carries));
    }
    match compared {
        0 => Outcome::unknown("no log prints enough of its source"),
        _ => Outcome::from_violations(violations),
    }
}

fn violation(log: &LogFile, listing: &Listing, worst: &Comparison, carries: bool) -> Violation {
    let whose = if carries { "" } else { "; this log does not carry the claim" };
    let message = format!(
        "{}: {} of {} lines ({:.1} %) differ from {}{whose}",
        log.path,
        worst.differing,
        worst.lines,
        100.0 * (1.0 - worst.share),
        worst.file
    );
    let mut evidence = Evidence::at(&log.path, listing.first);
    if let Some(first) = &worst.first {
        evidence = evidence.found(first);
    }
    let severity = if worst.share < SAME && carries { Severity::Warning } else { Severity::Note };
    Violation::new(message, vec![evidence]).graded(severity)
}
