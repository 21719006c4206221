//! Logs as evidence: readable, complete, about the run they are said to be about.

use super::carriers::one_failure;
use super::runs::seed_in_name;
use super::{DEFAULT, FILE_LIST};
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::LogFile;
use crate::submission::log::{MetricKind, Noted};
use crate::submission::text::Encoding;

const LOGS: Rule = Rule { evidence: EvidenceKind::Logs, reference: FILE_LIST, ..DEFAULT };

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("log_encoding_not_utf8"),
        statement: "A log is not plain UTF-8.",
        severity: Severity::Note,
        why: "Most tools that read logs find nothing in it. PowerShell's `>` writes UTF-16.",
        example: "train.log starting with FF FE",
        check: Check::Folder(encoding),
        ..LOGS
    },
    Rule {
        id: RuleId("log_is_placeholder"),
        statement: "A log is empty or says nothing.",
        why: "It is there for its name only.",
        example: "a train.log of 0 bytes",
        check: Check::Folder(placeholder),
        ..LOGS
    },
    Rule {
        id: RuleId("log_without_metrics"),
        statement: "A log holds no loss and no bits per byte.",
        why: "It supports no claim.",
        example: "2,000 bytes of launch messages",
        check: Check::Folder(without_metrics),
        ..LOGS
    },
    Rule {
        id: RuleId("log_without_final_metric"),
        statement: "A log stops before its final number.",
        reference: "custom (#2071): the number claimed must stand in the log",
        why: "The number claimed was not printed by this run.",
        example: "the last line is step:4600/20000",
        check: Check::Folder(without_final),
        ..LOGS
    },
    Rule {
        id: RuleId("log_has_error_trace"),
        statement: "A log holds a Python traceback or a fatal error.",
        why: "The run, or a part of it, failed.",
        example: "Traceback (most recent call last):",
        check: Check::Folder(|case| noted(case, |log| &log.errors, "holds an error")),
        ..LOGS
    },
    Rule {
        id: RuleId("log_has_nan"),
        statement: "A log holds a loss that is not a number.",
        why: "Training diverged.",
        example: "val_loss:nan val_bpb:nan",
        check: Check::Folder(|case| noted(case, |log| &log.nans, "holds a loss that is not a number")),
        ..LOGS
    },
    Rule {
        id: RuleId("log_seed_differs_from_filename"),
        statement: "A log states another seed than its name.",
        reference: "challenge README, rule 1: runs with different seeds",
        severity: Severity::Fail,
        why: "One run may be shown as another.",
        example: "train_seed0.log: seed: 1337",
        check: Check::Folder(other_seed),
        ..LOGS
    },
    Rule {
        id: RuleId("duplicate_log_files"),
        statement: "Two logs are the same file.",
        reference: "challenge README, rule 1: runs with different seeds",
        why: "One run counted twice.",
        example: "train.log and train_seed1337.log with the same SHA-256",
        check: Check::Folder(duplicates),
        ..LOGS
    },
    Rule {
        id: RuleId("calibration_on_validation_data"),
        statement: "A log says that quantization was calibrated on validation data.",
        reference: "ruling on #728: calibration on validation data breaks the order of prediction",
        severity: Severity::Review,
        why: "The weights then depend on the text they are scored on.",
        example: "gptq:using validation data for calibration",
        check: Check::Folder(|case| noted(case, |log| &log.calibration, "calibrates on validation data")),
        ..LOGS
    },
];

fn encoding(case: &FolderCase) -> Outcome {
    each(case, "log(s) not plain UTF-8 (read here all the same)", |log| {
        let odd = log.encoding != Encoding::Utf8;
        odd.then(|| Evidence::file(&log.path).found(log.encoding.word()).expected("utf-8"))
    })
}

/// What is wrong with logs, one by one. Without a log there is nothing to speak of.
fn each<'a, E>(case: &'a FolderCase, what: &str, wrong: impl Fn(&'a LogFile) -> E) -> Outcome
where
    E: IntoIterator<Item = Evidence>,
{
    match case.folder.logs.as_slice() {
        [] => Outcome::NotApplicable,
        logs => many(logs.iter().flat_map(wrong).collect(), what),
    }
}

fn many(evidence: Vec<Evidence>, what: &str) -> Outcome {
    if evidence.is_empty() {
        return Outcome::HOLDS;
    }
    let files: std::collections::BTreeSet<&str> = evidence.iter().map(|e| e.path.as_str()).collect();
    Outcome::violated(format!("{} {what}", files.len()), evidence)
}

fn noted(case: &FolderCase, list: fn(&LogFile) -> &Vec<Noted<String>>, what: &str) -> Outcome {
    each(case, &format!("log(s): {what}"), |log| {
        list(log).iter().take(3).map(move |noted| Evidence::at(&log.path, noted.line).found(&noted.value))
    })
}

/// Smaller logs without a single number are placeholders; larger ones lack metrics.
const SMALL_LOG: u64 = 800;

fn says_nothing(log: &LogFile) -> bool {
    log.metrics.is_empty() && !log.trains && log.digest.bytes.0 < SMALL_LOG
}

fn placeholder(case: &FolderCase) -> Outcome {
    each(case, "log(s) that say nothing", |log| {
        says_nothing(log).then(|| Evidence::file(&log.path).found(format!("{} bytes", log.digest.bytes)))
    })
}

/// Logs of training or evaluation by name; build logs and notes need no metrics.
fn should_have_metrics(log: &LogFile) -> bool {
    let lower = log.path.to_ascii_lowercase();
    ["train", "seed", "run", "eval"].iter().any(|word| lower.contains(word))
}

fn without_metrics(case: &FolderCase) -> Outcome {
    each(case, "log(s) without any loss or bits per byte", |log| {
        let lacks = log.metrics.is_empty() && !log.trains && !says_nothing(log) && should_have_metrics(log);
        lacks.then(|| Evidence::file(&log.path).found(format!("{} bytes, no metric", log.digest.bytes)))
    })
}

/// Whether the run came to its end and another log scores it: that of the same seed, or of the first rank.
fn is_scored_elsewhere(case: &FolderCase, log: &LogFile) -> bool {
    let seeds =
        |log: &LogFile| log.seeds.iter().map(|seed| seed.value).chain(seed_in_name(&log.path)).collect::<Vec<_>>();
    let own = seeds(log);
    if log.stop.is_none() && later_rank(&log.path).is_none() {
        return false;
    }
    let has = |other: &LogFile| seeds(other).iter().any(|seed| own.contains(seed)) && other.last_final().is_some();
    case.folder.logs.iter().any(has)
}

/// The rank after the first one that wrote a log, by its name: `logs/rank3.log`.
fn later_rank(path: &str) -> Option<u32> {
    let at = path.to_ascii_lowercase().rfind("rank")? + "rank".len();
    let rest = path.get(at..)?.trim_start_matches(['_', '-', '=']);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let rank: u32 = rest.get(..digits)?.parse().ok()?;
    (rank > 0).then_some(rank)
}

/// Whether the log tells of a training run, by its steps or by values on the way.
pub(super) fn trained(log: &LogFile) -> bool {
    let on_the_way = || log.metrics.iter().filter(|metric| metric.kind == MetricKind::Step).count();
    log.trains || !log.step_times.is_empty() || on_the_way() >= 2
}

fn without_final(case: &FolderCase) -> Outcome {
    each(case, "log(s) that end before the final number", |log| {
        // A run that only trains leaves evaluation to another log, but scores the weights it trained.
        let scores_late = log.metrics.iter().any(|m| m.kind >= MetricKind::PreQuant && m.bpb.is_finite());
        let ends_early = log.last_final().is_none() && trained(log) && !scores_late && !is_scored_elsewhere(case, log);
        ends_early.then(|| {
            let last = log.metrics.last().map_or(log.lines, |metric| metric.line);
            Evidence::at(&log.path, last).found(format!("last value of {} lines", log.lines))
        })
    })
}

fn other_seed(case: &FolderCase) -> Outcome {
    let mut evidence = Vec::new();
    for log in &case.folder.logs {
        let (Some(named), Some(first)) = (seed_in_name(&log.path), log.seeds.first()) else { continue };
        if log.seeds.iter().all(|seed| seed.value != named) {
            evidence.push(
                Evidence::at(&log.path, first.line)
                    .found(format!("seed {}", first.value))
                    .expected(format!("seed {named}")),
            );
        }
    }
    let of = |evidence: Evidence| {
        let path = evidence.path.clone();
        Violation::new(format!("{path}: another seed than its name says"), vec![evidence])
    };
    one_failure(case, evidence.into_iter().map(of).collect())
}

fn duplicates(case: &FolderCase) -> Outcome {
    let mut by_content: std::collections::BTreeMap<_, Vec<&LogFile>> = std::collections::BTreeMap::new();
    // Ranks of one run print the same.
    for log in case.folder.logs.iter().filter(|log| log.digest.bytes.0 > 0 && later_rank(&log.path).is_none()) {
        by_content.entry(log.digest.sha256).or_default().push(log);
    }
    let mut groups: Vec<&Vec<&LogFile>> = by_content.values().filter(|group| group.len() > 1).collect();
    groups.sort_by(|a, b| a[0].path.cmp(&b[0].path));
    let evidence: Vec<Evidence> = groups
        .iter()
        .flat_map(|group| {
            let first = group.first().map(|log| log.path.clone()).unwrap_or_default();
            group.iter().skip(1).map(move |log| Evidence::file(&log.path).found(format!("the same bytes as {first}")))
        })
        .collect();
    if evidence.is_empty() {
        return Outcome::HOLDS;
    }
    Outcome::violated(format!("{} log(s) are copies of another", evidence.len()), evidence)
}
