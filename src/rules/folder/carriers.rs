//! Which of a folder's logs carry the claim, and which were kept for history, comparison or support.
//!
//! A claim is judged on the runs that hold its numbers; what is wrong in others is at most a warning.

use std::collections::{BTreeMap, BTreeSet};

use super::runs::{Run, mean_by_seed, same_number, seed_in_name};
use crate::digest::Digest;
use crate::manifest::ClaimedNumber;
use crate::report::{Evidence, Severity};
use crate::rules::{FolderCase, Outcome, Violation};
use crate::submission::log::{Metric, RunLines};
use crate::submission::{LogFile, RecordFolder};

/// One run of one log.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The log.
    pub log: &'a LogFile,
    /// Its lines.
    pub lines: RunLines,
    /// The seed it states, else the one in the log's name.
    pub seed: Option<u64>,
    /// The value it ends with.
    pub last: Option<&'a Metric>,
    /// Whether the claim rests on it.
    pub carries: bool,
}

impl<'a> Part<'a> {
    fn run(&self) -> Option<Run<'a>> {
        Some(Run { log: self.log, last: self.last?, seed: self.seed })
    }
}

/// All runs of all logs, each content once.
pub struct Parts<'a> {
    list: Vec<Part<'a>>,
    /// Of each, the name of its family: runs that differ in the seed only, by the names of their logs.
    families: Vec<String>,
    /// Of each, whether its name or the README says that it is kept for something else.
    set_aside: Vec<bool>,
    /// Places in `list` by the log's digest.
    by_content: BTreeMap<Digest, Vec<usize>>,
}

impl<'a> std::ops::Deref for Parts<'a> {
    type Target = [Part<'a>];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl<'a> Parts<'a> {
    /// The runs that nobody set aside, each with the name of its family.
    pub fn by_family(&self) -> impl Iterator<Item = (&str, &Part<'a>)> {
        let all = self.families.iter().zip(&self.list).zip(&self.set_aside);
        all.filter(|(_, is_set_aside)| !**is_set_aside).map(|((family, part), _)| (family.as_str(), part))
    }

    /// Whether the claim rests on what stands on this line.
    pub fn carry(&self, log: &LogFile, line: u64) -> bool {
        // A copy of another log is judged as that one is.
        let copies = self.by_content.get(&log.digest.sha256).into_iter().flatten();
        let mut parts = copies.filter_map(|&index| self.list.get(index));
        parts.find(|part| part.lines.contains(line)).is_none_or(|part| part.carries)
    }
}

/// All runs of all logs, each content once, and which of them carry the claim.
pub fn parts(folder: &RecordFolder) -> Parts<'_> {
    let mut chosen: BTreeMap<Digest, &LogFile> = BTreeMap::new();
    for log in &folder.logs {
        // Of equal logs the one that is called after its seed stands with its relatives.
        let known = chosen.entry(log.digest.sha256).or_insert(log);
        if seed_in_name(&known.path).is_none() && seed_in_name(&log.path).is_some() {
            *known = log;
        }
    }
    let is_chosen = |log: &&LogFile| chosen.get(&log.digest.sha256).is_some_and(|chosen| std::ptr::eq(*chosen, *log));
    let mut list: Vec<Part> = folder.logs.iter().filter(is_chosen).flat_map(parts_of).collect();
    let families = family_names(&list);
    let said = said_to_be_other(folder);
    let set_aside: Vec<bool> = list.iter().map(|part| is_named_other(&said, &part.log.path)).collect();
    let carries = carrying(folder, &list, &families, &set_aside);
    let mut by_content: BTreeMap<Digest, Vec<usize>> = BTreeMap::new();
    for (index, (part, carries)) in list.iter_mut().zip(carries).enumerate() {
        part.carries = carries;
        by_content.entry(part.log.digest.sha256).or_default().push(index);
    }
    Parts { list, families, set_aside, by_content }
}

/// The runs with a result that carry the claim.
pub fn carrying_runs(folder: &RecordFolder) -> Vec<Run<'_>> {
    parts(folder).iter().filter(|part| part.carries).filter_map(Part::run).collect()
}

/// One violation with all its places for what is wrong in the runs that carry the claim, and one, a warning at most,
/// for what is wrong in others.
pub fn one_failure(case: &FolderCase, violations: Vec<Violation>) -> Outcome {
    let parts = parts(case.folder);
    let logs: BTreeMap<&str, &LogFile> = case.folder.logs.iter().map(|log| (log.path.as_str(), log)).collect();
    let is_place_of_claim = |evidence: &Evidence| {
        let log = logs.get(evidence.path.as_str());
        log.is_none_or(|log| parts.carry(log, evidence.line.unwrap_or(1)))
    };
    let (of_claim, others): (Vec<_>, Vec<_>) =
        violations.into_iter().partition(|violation| violation.evidence.iter().any(is_place_of_claim));
    let others = joined(others).map(|violation| {
        let message = format!("{}; not in a log that carries the claim", violation.message);
        Violation { message, ..violation }.graded(Severity::Warning)
    });
    Outcome::from_violations(joined(of_claim).into_iter().chain(others).collect())
}

/// One fault in several logs.
fn joined(violations: Vec<Violation>) -> Option<Violation> {
    let more = violations.len().saturating_sub(1);
    let joined = violations.into_iter().reduce(|mut first, next| {
        first.evidence.extend(next.evidence);
        first
    })?;
    let logs = if more == 1 { "log" } else { "logs" };
    let message = if more > 0 { format!("{}; and {more} more {logs}", joined.message) } else { joined.message.clone() };
    Some(Violation { message, ..joined })
}

/// The runs of one log by itself.
pub fn parts_of(log: &LogFile) -> Vec<Part<'_>> {
    let runs = log.runs();
    let is_single = runs.len() == 1;
    let part = |lines: RunLines| {
        let stated = log.seeds.iter().find(|seed| lines.contains(seed.line)).map(|seed| seed.value);
        let last = log.finals().rfind(|metric| lines.contains(metric.line));
        let by_name = || if is_single { seed_in_name(&log.path) } else { None };
        Part { log, lines, seed: stated.or_else(by_name), last, carries: true }
    };
    runs.into_iter().map(part).collect()
}

/// How well a family of runs supports the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Support {
    /// Its numbers are not those of the claim.
    None,
    /// The claim is one of its final values.
    SomeFinal,
    /// The claim is what one of its runs ends with.
    OneRun,
    /// The claim is the mean over its seeds.
    Mean,
}

fn carrying(folder: &RecordFolder, parts: &[Part], names: &[String], named_other: &[bool]) -> Vec<bool> {
    let others = |is_other: &[bool]| -> Vec<bool> {
        let none_left = is_other.iter().all(|is| *is);
        is_other.iter().map(|is| none_left || !is).collect()
    };
    let Some(claim) = folder.submission.as_ref().and_then(|json| json.bpb()).map(|claim| claim.number) else {
        return others(named_other);
    };
    let mut families: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        families.entry(name).or_default().push(index);
    }
    let support_of = |members: &[usize]| {
        let group: Vec<Part> = members.iter().filter_map(|&index| parts.get(index).copied()).collect();
        support(&group, &claim)
    };
    let ranked: Vec<(Support, bool, &Vec<usize>)> = families
        .values()
        .map(|members| (support_of(members), members.iter().all(|&index| named_other[index]), members))
        .collect();
    let best = ranked.iter().map(|(support, is_other, _)| (*support, !is_other)).max();
    let plain: Vec<usize> = (0..parts.len()).filter(|&index| !named_other[index]).collect();
    let Some((best, is_plain)) = best.filter(|(support, _)| *support != Support::None) else {
        return others(named_other);
    };
    if best != Support::Mean && support_of(&plain) == Support::Mean {
        return others(named_other);
    }
    let mut carries = vec![false; parts.len()];
    for (support, is_other, members) in ranked {
        if support == best && is_other != is_plain {
            members.iter().for_each(|&index| carries[index] = true);
        }
    }
    add_training(parts, named_other, &mut carries);
    carries
}

/// Where the runs that hold the claim only evaluate, those that trained carry it too.
fn add_training(parts: &[Part], named_other: &[bool], carries: &mut [bool]) {
    let trains = |part: &Part| part.log.trains;
    if parts.iter().zip(&*carries).any(|(part, carries)| *carries && trains(part)) {
        return;
    }
    let seeds: Vec<u64> = parts.iter().zip(&*carries).filter(|(_, c)| **c).filter_map(|(part, _)| part.seed).collect();
    let parameters = |part: &Part| part.log.parameters.first().map(|noted| noted.value);
    let known: Vec<u64> =
        parts.iter().zip(&*carries).filter(|(_, c)| **c).filter_map(|(part, _)| parameters(part)).collect();
    for (index, part) in parts.iter().enumerate() {
        // The same model has the same number of parameters.
        if parameters(part).is_some_and(|count| !known.is_empty() && !known.contains(&count)) {
            continue;
        }
        let is_of_seed = seeds.is_empty() || part.seed.is_none_or(|seed| seeds.contains(&seed));
        carries[index] |= trains(part) && !named_other[index] && is_of_seed;
    }
}

fn support(group: &[Part], claim: &ClaimedNumber) -> Support {
    let runs: Vec<Run> = group.iter().filter_map(Part::run).collect();
    let decimals = runs.iter().map(|run| run.last.decimals).min().unwrap_or(8).max(4);
    let is_claim = |value: f64| same_number(claim, value, decimals);
    let mean = mean_by_seed(&runs).filter(|(_, n)| *n >= 2);
    if mean.is_some_and(|(mean, _)| is_claim(mean)) || label_means(group).into_iter().any(is_claim) {
        return Support::Mean;
    }
    if runs.iter().any(|run| same_number(claim, run.last.bpb, run.last.decimals)) {
        return Support::OneRun;
    }
    let finals = group.iter().flat_map(|part| part.log.finals().filter(|metric| part.lines.contains(metric.line)));
    let mut same = finals.filter(|metric| same_number(claim, metric.bpb, metric.decimals));
    if same.next().is_some() { Support::SomeFinal } else { Support::None }
}

/// Means over at least two runs of the last value under each label.
fn label_means(group: &[Part]) -> Vec<f64> {
    let mut by_label: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for part in group {
        let mut last: BTreeMap<&str, f64> = BTreeMap::new();
        for metric in part.log.finals().filter(|metric| part.lines.contains(metric.line)) {
            last.insert(metric.label.as_str(), metric.bpb);
        }
        last.into_iter().for_each(|(label, bpb)| by_label.entry(label).or_default().push(bpb));
    }
    by_label.values().filter(|values| values.len() > 1).map(|v| v.iter().sum::<f64>() / v.len() as f64).collect()
}

/// Runs that differ in the seed only, by the name of their log.
///
/// Logs whose names differ in digits are one family if each states a seed of its own (`train0.log`, `train1.log`);
/// otherwise digits that are not the seed, a time or an identifier tell versions apart (`log_seed42_v1.1.txt`).
fn family_names(parts: &[Part]) -> Vec<String> {
    let wide: Vec<String> = parts.iter().map(|part| masked(&part.log.path, |_| true)).collect();
    let mut relatives: BTreeMap<&str, (usize, BTreeSet<u64>)> = BTreeMap::new();
    // Where the last run of a log with a seed and a result begins.
    let mut last_of: BTreeMap<(&str, Option<u64>), u64> = BTreeMap::new();
    for (part, name) in parts.iter().zip(&wide) {
        let (count, seeds) = relatives.entry(name).or_default();
        *count += 1;
        seeds.extend(part.seed);
        if part.last.is_some() {
            last_of.insert((&part.log.path, part.seed), part.lines.first);
        }
    }
    let name = |part: &Part, wide: &String| {
        if relatives.get(wide.as_str()).is_some_and(|(count, seeds)| *count == seeds.len()) {
            return wide.clone();
        }
        let named = seed_in_name(&part.log.path).or(part.seed);
        let is_seed = |digits: &str| named.is_some() && digits.parse().ok() == named;
        let name = masked(&part.log.path, |digits| is_seed(digits) || digits.len() >= IDENTIFIER_DIGITS);
        // A later run of a log with the same seed replaces an earlier one.
        let last = last_of.get(&(part.log.path.as_str(), part.seed));
        let is_replaced = last.is_some_and(|last| *last > part.lines.first);
        if is_replaced { format!("{name}:{}", part.lines.first) } else { name }
    };
    parts.iter().zip(&wide).map(|(part, wide)| name(part, wide)).collect()
}

/// Dates, times and numbers of jobs have as many digits.
const IDENTIFIER_DIGITS: usize = 6;

/// A path in small letters, with `#` for the numbers asked for.
fn masked(path: &str, is_masked: impl Fn(&str) -> bool) -> String {
    let mut name = String::new();
    let mut digits = String::new();
    for c in path.to_ascii_lowercase().chars().map(Some).chain([None]) {
        if let Some(c) = c.filter(char::is_ascii_digit) {
            digits.push(c);
            continue;
        }
        if !digits.is_empty() {
            name.push_str(if is_masked(&digits) { "#" } else { &digits });
            digits.clear();
        }
        name.extend(c);
    }
    name
}

/// Words in names of logs that are not those of the submitted runs.
const OTHER_NAMES: &[&str] = &[
    "old",
    "superseded",
    "deprecated",
    "ablation",
    "ablations",
    "baseline",
    "prev",
    "previous",
    "compare",
    "comparison",
    "control",
    "debug",
    "smoke",
    "failed",
    "invalid",
    "archive",
    "archived",
    "supporting",
    "sweep",
    "probe",
    "diagnostic",
    "first_try",
    "reference",
    "buggy",
    "aborted",
];
/// Words with which READMEs speak of such logs.
const OTHER_WORDS: &[&str] = &[
    "history",
    "historical",
    "superseded",
    "invalid",
    "earlier run",
    "ablation",
    "kept for",
    "for comparison",
    "baseline",
    "diagnostic",
    "not the submitted",
    "supporting",
    "previous run",
    "for reference",
    "outdated",
    "withdrawn",
];

/// Lines of the README, in small letters, that speak of such logs.
fn said_to_be_other(folder: &RecordFolder) -> Vec<String> {
    let Some(readme) = &folder.readme else { return Vec::new() };
    let lines =
        readme.text.lines().filter(|line| line.contains(".log") || line.contains(".txt") || line.contains(".out"));
    let lower = lines.map(str::to_lowercase);
    lower.filter(|line| OTHER_WORDS.iter().any(|word| line.contains(word))).take(MAX_LINES).collect()
}

/// More lines of a README are not looked at.
const MAX_LINES: usize = 200;

fn is_named_other(said: &[String], path: &str) -> bool {
    let lower = path.to_lowercase();
    let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    if words.any(|word| OTHER_NAMES.contains(&word)) || lower.contains("first_try") {
        return true;
    }
    let file = lower.rsplit('/').next().unwrap_or(&lower);
    said.iter().any(|line| line.contains(file))
}
