//! The claimed score against the logs.

use super::carriers::carrying_runs;
use super::runs::{mean_by_seed, runs, same_number};
use super::seed_choice::listed_mean;
use super::{DEFAULT, cite};
use crate::manifest::ClaimedNumber;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::log::{Metric, MetricKind};
use crate::submission::{ClaimedField, LogFile, SeedClaim, SubmissionJson};

const LOGS: Rule =
    Rule { evidence: EvidenceKind::Logs, reference: "custom: claims come from logs (#2076, #2118)", ..DEFAULT };

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("claimed_bpb_differs_from_log"),
        statement: "The claimed bits per byte stand in no log.",
        severity: Severity::Fail,
        why: "A number nobody logged is not supported by anything.",
        example: "claimed 1.69361; the log ends with 1.66445102",
        check: Check::Folder(differs),
        ..LOGS
    },
    Rule {
        id: RuleId("claim_matches_only_prequant_or_step_value"),
        statement: "The claim is a value from before quantization or from the middle of a run.",
        severity: Severity::Fail,
        why: "The artifact is what is scored, and all of the text.",
        example: "claimed 1.15677; that is step 6038, the quantized model has 1.17825",
        check: Check::Folder(only_prequant),
        ..LOGS
    },
    Rule {
        id: RuleId("claim_is_not_last_logged_metric"),
        statement: "The claim is a final value, but not the one the log ends with.",
        severity: Severity::Note,
        why: "A better of several evaluations may have been picked.",
        example: "claimed the sliding value, the log ends with test-time training",
        check: Check::Folder(not_last),
        ..LOGS
    },
    super::digits::DIGITS,
    super::unfinished::UNFINISHED,
    super::seed_choice::BEST_SEED,
    super::selected_runs::SELECTED,
    Rule {
        id: RuleId("mean_wrong"),
        statement: "The claim is not the mean of the seeds submission.json lists.",
        reference: "arithmetic",
        severity: Severity::Fail,
        evidence: EvidenceKind::Files,
        why: "Headline and table disagree.",
        example: "seeds 1.1467, 1.1460, 1.1468; claimed 1.1467032",
        check: Check::Folder(mean_wrong),
        ..LOGS
    },
    super::seed_values::SEED_VALUES,
    Rule {
        id: RuleId("claimed_val_loss_differs_from_log"),
        statement: "The claimed val_loss stands in no log.",
        severity: Severity::Note,
        why: "Loss and bits per byte may come from different runs.",
        example: "\"val_loss\": 1.9379; the log has 1.9542",
        check: Check::Folder(loss_differs),
        ..LOGS
    },
];

pub(super) fn claim<'a>(case: &FolderCase<'a>) -> Option<(&'a SubmissionJson, ClaimedField)> {
    let json = case.folder.submission.as_ref()?;
    let claim = json.bpb()?;
    (claim.number.value() > 0.0).then_some((json, claim))
}

pub(super) fn line(log: &LogFile, metric: &Metric) -> Evidence {
    let what = match metric.kind {
        MetricKind::Step => "validation during training",
        MetricKind::Progress => "running value",
        MetricKind::PreQuant => "before quantization",
        MetricKind::Final => metric.label.as_str(),
    };
    Evidence::at(&log.path, metric.line).found(format!("{what}: {:.*}", metric.decimals as usize, metric.bpb))
}

/// How a claimed score relates to what the logs hold.
pub(super) enum Support<'a> {
    /// The mean, or the value a run ends with.
    Headline,
    /// Another final value.
    OtherFinal(&'a LogFile, &'a Metric),
    /// Only values from before quantization or the middle of a run.
    Early(&'a LogFile, &'a Metric),
    /// Nothing equal; the nearest value.
    None(&'a LogFile, &'a Metric),
}

/// Differences up to here are taken for rounding of a mean by hand, or another subset of seeds.
pub(super) const BY_HAND: f64 = 5e-4;
/// What evaluating a trained model otherwise changes; a claim this near the last step may be of a log cut short.
const AFTER_TRAINING: f64 = 0.05;

pub(super) fn support<'a>(case: &FolderCase<'a>, claim: &ClaimedField) -> Option<Support<'a>> {
    let runs = runs(case.folder);
    let number = &claim.number;
    let all = || case.folder.logs.iter().flat_map(|log| log.metrics.iter().map(move |metric| (log, metric)));
    let finite = || all().filter(|(_, metric)| metric.bpb.is_finite());
    let same = |metric: &Metric| same_number(number, metric.bpb, metric.decimals);
    if runs.iter().any(|run| same(run.last)) {
        return Some(Support::Headline);
    }
    let decimals = runs.iter().map(|run| run.last.decimals).min().unwrap_or(8);
    let subsets = |value: f64| same_number(number, value, decimals.max(4));
    if mean_by_seed(&runs).is_some_and(|(mean, _)| subsets(mean)) || means(&runs).into_iter().any(subsets) {
        return Some(Support::Headline);
    }
    if listed_and_logged(case).is_some_and(|mean| same_number(number, mean, 4)) {
        return Some(Support::Headline);
    }
    if let Some((log, metric)) = finite().find(|(_, metric)| metric.kind == MetricKind::Final && same(metric)) {
        return Some(Support::OtherFinal(log, metric));
    }
    if let Some(mean) = mean_by_label(case.folder, number.value())
        && same_number(number, mean, 6)
    {
        return Some(Support::Headline);
    }
    if let Some((log, metric)) = finite().find(|(_, metric)| same(metric)).or_else(|| early_mean(case, number)) {
        return Some(Support::Early(log, metric));
    }
    let (log, metric) = finite().min_by(|a, b| {
        let away = |metric: &Metric| (metric.bpb - number.value()).abs();
        away(a.1).total_cmp(&away(b.1))
    })?;
    Some(Support::None(log, metric))
}

/// The last value before quantization, or on the way, of the first log, where the claim is the mean of those of all.
fn early_mean<'a>(case: &FolderCase<'a>, claim: &ClaimedNumber) -> Option<(&'a LogFile, &'a Metric)> {
    [MetricKind::PreQuant, MetricKind::Step].into_iter().find_map(|kind| {
        let last = |log: &'a LogFile| log.metrics.iter().rfind(|metric| metric.kind == kind && metric.bpb.is_finite());
        let values: Vec<_> = case.folder.logs.iter().filter_map(|log| Some((log, last(log)?))).collect();
        let mean = values.iter().map(|(_, metric)| metric.bpb).sum::<f64>() / values.len().max(1) as f64;
        let decimals = values.iter().map(|(_, metric)| metric.decimals).min().filter(|least| *least >= 4)?;
        values.first().copied().filter(|_| values.len() >= 2 && same_number(claim, mean, decimals))
    })
}

/// The mean of the seeds submission.json lists, where the log of one at least ends with what is listed for it.
fn listed_and_logged(case: &FolderCase) -> Option<f64> {
    let json = case.folder.submission.as_ref()?;
    let mean = listed_mean(json)?;
    let runs = runs(case.folder);
    let is_logged = |claim: &SeedClaim| {
        let Some(bpb) = &claim.bpb else { return false };
        runs.iter().any(|run| run.seed == Some(claim.seed) && same_number(bpb, run.last.bpb, run.last.decimals))
    };
    json.seed_results().iter().any(is_logged).then_some(mean)
}

/// Means of the runs left after dropping one or two: people report three of four seeds.
pub(super) fn means(runs: &[super::runs::Run]) -> Vec<f64> {
    let values: Vec<f64> = runs.iter().map(|run| run.last.bpb).collect();
    if !(2..=12).contains(&values.len()) {
        return Vec::new();
    }
    let mean = |skip: &dyn Fn(usize) -> bool| {
        let kept: Vec<f64> = values.iter().enumerate().filter(|(i, _)| !skip(*i)).map(|(_, v)| *v).collect();
        kept.iter().sum::<f64>() / kept.len().max(1) as f64
    };
    let mut means = vec![mean(&|_| false)];
    if values.len() > 2 {
        means.extend((0..values.len()).map(|i| mean(&|j| i == j)));
    }
    means
}

/// The mean over logs of final values with one label that lies nearest to `value`.
fn mean_by_label(folder: &crate::submission::RecordFolder, value: f64) -> Option<f64> {
    let mut by_label: std::collections::BTreeMap<&str, Vec<f64>> = std::collections::BTreeMap::new();
    for log in &folder.logs {
        let mut seen = std::collections::BTreeMap::new();
        for metric in log.finals() {
            seen.insert(metric.label.as_str(), metric.bpb);
        }
        for (label, bpb) in seen {
            by_label.entry(label).or_default().push(bpb);
        }
    }
    by_label
        .values()
        .filter(|values| values.len() > 1)
        .map(|values| values.iter().sum::<f64>() / values.len() as f64)
        .min_by(|a, b| (a - value).abs().total_cmp(&(b - value).abs()))
}

pub(super) const NOTHING: &str = "a claim and a logged value are not both there";

fn differs(case: &FolderCase) -> Outcome {
    let Some((json, claim)) = claim(case) else { return Outcome::unknown(NOTHING) };
    match support(case, &claim) {
        None => Outcome::unknown(NOTHING),
        // A log that stops early is another rule's finding; it cannot hold the number.
        Some(Support::None(_, metric))
            if runs(case.folder).is_empty()
                && !any_late(case)
                && (metric.bpb - claim.number.value()).abs() < AFTER_TRAINING =>
        {
            Outcome::unknown("no log has a final value")
        }
        Some(Support::None(log, metric)) if (metric.bpb - claim.number.value()).abs() > BY_HAND => {
            let delta = (metric.bpb - claim.number.value()).abs();
            let digits = metric.decimals.min(12) as usize;
            let nearest = format!("the nearest logged value is {:.digits$}, {delta:.6} away", metric.bpb);
            graded(
                case,
                &claim,
                format!("{} claimed; {nearest}", claim.number),
                vec![cite(json, &claim), line(log, metric)],
            )
        }
        Some(_) => Outcome::HOLDS,
    }
}

/// A claim that is worse than what the runs end with gains nothing by it.
fn graded(case: &FolderCase, claim: &ClaimedField, message: String, evidence: Vec<Evidence>) -> Outcome {
    let final_mean = mean_by_seed(&carrying_runs(case.folder)).map(|(mean, _)| mean);
    let violation = if final_mean.is_some_and(|mean| claim.number.value() > mean + BY_HAND) {
        Violation::new(format!("{message}; the runs end better than that"), evidence).graded(Severity::Warning)
    } else {
        Violation::new(message, evidence)
    };
    Outcome::Violated(vec![violation])
}

fn any_late(case: &FolderCase) -> bool {
    case.folder.logs.iter().flat_map(|log| &log.metrics).any(|metric| metric.kind == MetricKind::PreQuant)
}

fn only_prequant(case: &FolderCase) -> Outcome {
    let Some((json, claim)) = claim(case) else { return Outcome::unknown(NOTHING) };
    match support(case, &claim) {
        None => Outcome::unknown(NOTHING),
        Some(Support::Early(log, metric)) => {
            let Some((mean, _)) = mean_by_seed(&runs(case.folder)) else {
                return Outcome::unknown("no log has a final value");
            };
            let message = format!("{} is not a final value; those have a mean of {mean:.6}", claim.number);
            graded(case, &claim, message, vec![cite(json, &claim), line(log, metric)])
        }
        Some(_) => Outcome::HOLDS,
    }
}

fn not_last(case: &FolderCase) -> Outcome {
    let Some((json, claim)) = claim(case) else { return Outcome::unknown(NOTHING) };
    match support(case, &claim) {
        None => Outcome::unknown(NOTHING),
        Some(Support::OtherFinal(log, metric)) => {
            let last = log.last_final().unwrap_or(metric);
            if (last.bpb - claim.number.value()).abs() <= BY_HAND {
                return Outcome::HOLDS;
            }
            let digits = last.decimals.min(12) as usize;
            Outcome::violated(
                format!("{} is a final value; the log ends with {:.digits$}", claim.number, last.bpb),
                vec![cite(json, &claim), line(log, metric)],
            )
        }
        Some(_) => Outcome::HOLDS,
    }
}

fn mean_wrong(case: &FolderCase) -> Outcome {
    let Some((json, claim)) = claim(case) else { return Outcome::unknown(NOTHING) };
    let listed: Vec<(f64, f64)> = json
        .seed_results()
        .iter()
        .filter_map(|seed| seed.bpb.as_ref())
        .filter(|bpb| bpb.value() > 0.0)
        .map(|bpb| (bpb.value(), bpb.rounding()))
        .collect();
    if listed.len() < 2 {
        return mean_in_readme(case).unwrap_or_else(|| Outcome::unknown("submission.json lists fewer than two seeds"));
    }
    let n = listed.len() as f64;
    let mean = listed.iter().map(|(value, _)| value).sum::<f64>() / n;
    // JSON drops trailing zeros: the longest of the numbers tells how they were printed.
    let rounding = listed.iter().map(|(_, rounding)| *rounding).fold(f64::INFINITY, f64::min);
    let best = listed.iter().map(|(value, _)| *value).fold(f64::INFINITY, f64::min);
    let value = claim.number.value();
    let allowed = 2.0 * claim.number.rounding() + 2.0 * rounding;
    if (value - mean).abs() <= allowed.max(5e-5) || same_number(&claim.number, best, 4) {
        return Outcome::HOLDS;
    }
    let message = format!("{} claimed, the mean of {} seeds is {mean:.6}", claim.number, listed.len());
    let violation = Violation::new(message, vec![cite(json, &claim).expected(format!("{mean:.6}"))]);
    // Worse than the mean, or off by a slip in the last digits.
    let is_harmless = value > mean || (value - mean).abs() <= BY_HAND;
    Outcome::Violated(vec![if is_harmless { violation.graded(Severity::Warning) } else { violation }])
}

/// Is the mean of a table in the README that of its rows?
fn mean_in_readme(case: &FolderCase) -> Option<Outcome> {
    let readme = case.folder.readme.as_ref()?;
    let wrong = readme.seed_columns().into_iter().find_map(|column| {
        let (stated, line) = column.mean.filter(|_| column.seeds.len() >= 2)?;
        let n = column.seeds.len() as f64;
        let mean = column.seeds.iter().map(|(_, number, _)| number.value()).sum::<f64>() / n;
        let rounding = column.seeds.iter().map(|(_, number, _)| number.rounding()).fold(0.0, f64::max);
        let allowed = (2.0 * stated.rounding() + 2.0 * rounding).max(BY_HAND);
        ((stated.value() - mean).abs() > allowed).then_some((stated, line, mean, column.seeds.len()))
    });
    let (stated, line, mean, seeds) = wrong?;
    let message = format!("{stated} in {}, the mean of its {seeds} seeds is {mean:.6}", readme.path);
    let evidence = Evidence::at(&readme.path, line).found(&stated).expected(format!("{mean:.6}"));
    Some(Outcome::Violated(vec![Violation::new(message, vec![evidence]).graded(Severity::Warning)]))
}

fn loss_differs(case: &FolderCase) -> Outcome {
    let Some(json) = &case.folder.submission else { return Outcome::NotApplicable };
    let Some(loss) = json.number("val_loss").filter(|loss| loss.value() > 0.0) else {
        return Outcome::unknown("no val_loss is claimed");
    };
    let losses: Vec<f64> =
        case.folder.logs.iter().flat_map(|log| log.metrics.iter().filter_map(|metric| metric.loss)).collect();
    if losses.is_empty() {
        return Outcome::unknown("no log gives a loss");
    }
    let mean = |runs: Vec<super::runs::Run>| {
        let finals: Vec<f64> = runs.iter().filter_map(|run| run.last.loss).collect();
        finals.iter().sum::<f64>() / finals.len().max(1) as f64
    };
    let is = |value: f64| (loss.value() - value).abs() <= (2.0 * loss.rounding()).max(1e-4);
    // Bits per byte under the wrong name are `bpb_stored_in_val_loss`, and one finding is enough.
    let is_bpb = case.folder.logs.iter().flat_map(|log| &log.metrics).any(|metric| is(metric.bpb));
    if losses.iter().copied().any(is)
        || is(mean(runs(case.folder)))
        || is(mean(carrying_runs(case.folder)))
        || is_bpb
        || json.seed_results().len() > 1
    {
        return Outcome::HOLDS;
    }
    Outcome::violated(
        format!("{loss} is no loss of any log"),
        vec![Evidence::at(&json.path, json.line_of("val_loss")).found(format!("val_loss: {loss}"))],
    )
}
