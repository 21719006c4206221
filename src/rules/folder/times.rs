//! Training and evaluation time.

use super::DEFAULT;
use super::carriers::{Part, parts};
use crate::manifest::Track;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Tracks, Violation};
use crate::submission::LogFile;

const TRAIN: &str = "challenge README: 10 minutes of training on 8xH100. Custom: the step that crosses the cap is let through, so 600 to 601 s is normal (873 of 947 logs)";
const EVAL: &str =
    "challenge README since 2026-03-20 (commit 2cff08e1a): 10 minutes of evaluation, in addition to training";

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("train_over_600s"),
        statement: "Training took more than 600 s.",
        reference: TRAIN,
        tracks: Tracks::TenMinutes,
        evidence: EvidenceKind::Logs,
        why: "More time is more training. How far over decides how it is judged.",
        example: "train_time:601991ms",
        check: Check::Folder(train),
        ..DEFAULT
    },
    Rule {
        id: RuleId("train_over_600s_nonrecord"),
        statement: "Training took more than 600 s, in a track without that cap.",
        reference: "challenge README, \"Non-record Submissions\": unlimited compute",
        severity: Severity::Note,
        tracks: Tracks::NonRecord,
        evidence: EvidenceKind::Logs,
        why: "Allowed here; it cannot become a record.",
        example: "train_time:14400160ms",
        check: Check::Folder(train),
    },
    Rule {
        id: RuleId("artifact_production_over_600s"),
        statement: "Training plus making the artifact took more than 600 s.",
        reference: "open question: whether serialization after training counts; calibration that reads training data does (#677)",
        severity: Severity::Note,
        evidence: EvidenceKind::Logs,
        why: "Quantization that reads training data must fit in the training time.",
        example: "artifact_production_wallclock: 967.399s",
        check: Check::Folder(production),
        ..DEFAULT
    },
    Rule {
        id: RuleId("eval_over_600s"),
        statement: "An evaluation took more than 600 s.",
        reference: EVAL,
        severity: Severity::Fail,
        tracks: Tracks::TenMinutes,
        evidence: EvidenceKind::Logs,
        why: "Evaluation has its own ten minutes.",
        example: "eval_time:706300ms",
        check: Check::Folder(eval),
    },
    Rule {
        id: RuleId("eval_over_600s_nonrecord"),
        statement: "An evaluation took more than 600 s, in a track where the cap was never ruled on.",
        reference: "open question (#889, #915)",
        severity: Severity::Note,
        tracks: Tracks::NonRecord,
        evidence: EvidenceKind::Logs,
        why: "It could not be run under the record track's rules.",
        example: "eval_time:7457100ms",
        check: Check::Folder(eval),
    },
    Rule {
        id: RuleId("eval_sum_over_600s"),
        statement: "All evaluations of a log together took more than 600 s.",
        reference: EVAL,
        severity: Severity::Note,
        tracks: Tracks::Both,
        evidence: EvidenceKind::Logs,
        why: "If they all belong to one scoring, it is over the cap; usually some are diagnostics.",
        example: "sliding window 190 s + test-time training 480 s",
        check: Check::Folder(eval_sum),
    },
];

fn train(case: &FolderCase) -> Outcome {
    let limits = &case.policy.limits;
    let parts = parts(case.folder);
    let longest = |carried: bool| {
        let times = case.folder.logs.iter().filter_map(|log| log.train_seconds.as_ref().map(|noted| (log, noted)));
        times
            .filter(|(log, noted)| parts.carry(log, noted.line) == carried)
            .max_by(|a, b| a.1.value.total_cmp(&b.1.value))
    };
    let is_over = |seconds: f64| seconds > limits.train_seconds;
    let other = longest(false).filter(|(_, noted)| is_over(noted.value));
    let of_claim = longest(true);
    // Only where the runs of the claim kept the time do others matter, and they are no failure.
    let is_other = other.is_some() && !of_claim.is_some_and(|(_, noted)| is_over(noted.value));
    let (seconds, evidence) = match if is_other { other } else { of_claim } {
        Some((log, noted)) => {
            let evidence = Evidence::at(&log.path, noted.line).found(format!("{:.3} s", noted.value));
            (noted.value, evidence)
        }
        None if case.track == Track::NonRecord => return Outcome::unknown("no log gives a training time"),
        None => {
            let Some(json) = &case.folder.submission else { return Outcome::unknown("no log gives a training time") };
            let keys = ["training_time_seconds", "train_time_seconds", "wallclock_seconds"];
            let Some((key, number)) = keys.iter().find_map(|key| json.number(key).map(|number| (key, number))) else {
                return Outcome::unknown("neither a log nor submission.json gives a training time");
            };
            (number.value(), Evidence::at(&json.path, json.line_of(key)).found(format!("{key}: {number}")))
        }
    };
    let over = seconds - limits.train_seconds;
    if over <= 0.0 {
        return Outcome::holds(format!("{seconds:.3} s"));
    }
    let (severity, degree) = if seconds <= limits.train_seconds_marginal {
        (Severity::Note, "no more than the last step explains")
    } else if seconds <= limits.train_seconds_small {
        (Severity::Warning, "more than one step explains")
    } else {
        (Severity::Fail, "far over the cap")
    };
    let severity = if case.track == Track::NonRecord { Severity::Note } else { severity };
    let whose =
        if is_other { format!(", in {}, which does not carry the claim", evidence.path) } else { String::new() };
    let severity = if is_other { severity.min(Severity::Warning) } else { severity };
    let mut evidence = vec![evidence.expected(format!("at most {} s", limits.train_seconds))];
    let too_long = case.folder.logs.iter().filter_map(|log| log.train_seconds.as_ref().map(|noted| (log, noted)));
    for (log, noted) in too_long.filter(|(_, noted)| is_over(noted.value)) {
        let place = Evidence::at(&log.path, noted.line).found(format!("{:.3} s", noted.value));
        let is_known = evidence.iter().any(|known| (&known.path, known.line) == (&place.path, place.line));
        if !is_known && parts.carry(log, noted.line) != is_other {
            evidence.push(place);
        }
    }
    let message = format!("trained {seconds:.3} s, {over:.3} s over: {degree}{whose}");
    Outcome::Violated(vec![Violation::new(message, evidence).graded(severity)])
}

fn production(case: &FolderCase) -> Outcome {
    let cap = case.policy.limits.train_seconds;
    let noted: Vec<(&LogFile, f64, u64)> = case
        .folder
        .logs
        .iter()
        .filter_map(|log| log.production_seconds.as_ref().map(|noted| (log, noted.value, noted.line)))
        .collect();
    if noted.is_empty() {
        return Outcome::unknown("no log says how long making the artifact took");
    }
    let evidence: Vec<Evidence> = noted
        .iter()
        .filter(|(_, seconds, _)| *seconds > cap)
        .map(|(log, seconds, line)| Evidence::at(&log.path, *line).found(format!("{seconds} s")))
        .collect();
    if evidence.is_empty() {
        return Outcome::HOLDS;
    }
    Outcome::violated(format!("{} run(s) over {cap} s", evidence.len()), evidence)
}

/// Seconds as logged, to milliseconds.
fn in_words(seconds: f64) -> String {
    let text = format!("{seconds:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

fn eval(case: &FolderCase) -> Outcome {
    let Some(cap) = case.policy.limits.eval_seconds else { return Outcome::NotApplicable };
    let parts = parts(case.folder);
    let longest = |carried: bool| {
        let times = case.folder.logs.iter().flat_map(|log| log.eval_times.iter().map(move |time| (log, time)));
        times
            .filter(|(log, time)| parts.carry(log, time.line) == carried)
            .max_by(|a, b| a.1.seconds.total_cmp(&b.1.seconds))
    };
    let (of_claim, other) = (longest(true), longest(false));
    let is_over = |(_, time): &(&LogFile, &crate::submission::log::LoggedTime)| time.seconds > cap;
    let is_other = !of_claim.as_ref().is_some_and(is_over) && other.as_ref().is_some_and(is_over);
    let Some((log, time)) = (if is_other { other } else { of_claim.or(other) }) else {
        return Outcome::unknown("no log gives an evaluation time");
    };
    if time.seconds <= cap {
        return Outcome::holds(format!("{:.1} s", time.seconds));
    }
    // The cap is for 8 H100; on fewer devices the same evaluation takes longer.
    let devices = log.world_size.as_ref().map(|noted| noted.value);
    let elsewhere = devices.is_some_and(|devices| devices < case.policy.limits.devices);
    let remark = if elsewhere { ", on fewer devices than the cap is for" } else { "" };
    let evidence = Evidence::at(&log.path, time.line)
        .found(format!("{}: {} s", time.label, in_words(time.seconds)))
        .expected(format!("at most {cap} s"));
    let whose = if is_other { format!(", in {}, which does not carry the claim", log.path) } else { String::new() };
    let violation = Violation::new(format!("evaluated {} s{remark}{whose}", in_words(time.seconds)), vec![evidence]);
    let softer = (elsewhere || is_other) && case.track == Track::TenMinutes;
    Outcome::Violated(vec![if softer { violation.graded(Severity::Warning) } else { violation }])
}

fn eval_sum(case: &FolderCase) -> Outcome {
    let Some(cap) = case.policy.limits.eval_seconds else { return Outcome::NotApplicable };
    let mut worst: Option<(Part, f64)> = None;
    let diagnostic = |label: &str| {
        let lower = label.to_ascii_lowercase();
        ["diagnostic", "pre-quant", "pre_quant", "post_ema", "post-ema"].iter().any(|word| lower.contains(word))
    };
    for part in parts(case.folder).iter().copied().filter(|part| part.carries) {
        let times = || part.log.eval_times.iter().filter(|time| part.lines.contains(time.line));
        let longest = times().map(|time| time.seconds).fold(0.0, f64::max);
        // Lines that repeat one time (`done`, `exact`) count once.
        let mut seconds: Vec<f64> = Vec::new();
        for time in times().filter(|time| !diagnostic(&time.label)) {
            if !seconds.iter().any(|known| (known - time.seconds).abs() < 2.0) {
                seconds.push(time.seconds);
            }
        }
        let sum: f64 = seconds.iter().sum();
        if longest <= cap && sum > cap && worst.as_ref().is_none_or(|(_, known)| sum > *known) {
            worst = Some((part, sum));
        }
    }
    let Some((part, sum)) = worst else { return Outcome::HOLDS };
    let evidence = part
        .log
        .eval_times
        .iter()
        .filter(|time| part.lines.contains(time.line))
        .map(|time| Evidence::at(&part.log.path, time.line).found(format!("{}: {:.1} s", time.label, time.seconds)))
        .collect();
    Outcome::violated(format!("{sum:.1} s in all"), evidence)
}
