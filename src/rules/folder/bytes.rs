//! The byte budget, by the best evidence there is.

use super::DEFAULT;
use super::carriers::{Part, Parts, parts};
use super::disk::Disk;
use super::runs::{carried_sizes, sizes};
use crate::manifest::ClaimedNumber;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::ClaimedField;
use crate::submission::log::SizeKind;
use crate::units::{Bytes, group_digits};

const CAP: &str = "challenge README, FAQ: 16 MB is decimal, 16,000,000 bytes of code plus compressed model; exactly 16,000,000 passes";

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("over_budget"),
        statement: "Code plus compressed model exceed 16,000,000 bytes.",
        reference: CAP,
        severity: Severity::Fail,
        evidence: EvidenceKind::Files,
        why: "The budget is the challenge; the worst seed counts. Model files in the folder are weighed as they lie on disk, whatever they are called, split ones together; logs and submission.json are compared with that.",
        example: "Total submission size int8+zlib: 16032236 bytes",
        check: Check::Folder(over_budget),
        ..DEFAULT
    },
    Rule {
        id: RuleId("log_total_over_cap_but_shipped_code_smaller"),
        statement: "A log's total is over the cap, but the file shipped is smaller than the code it counted.",
        reference: "custom (#1394, #1835): the shipped file counts, not the log's \"Code size\"",
        severity: Severity::Note,
        evidence: EvidenceKind::Logs,
        why: "The log counts plain source, the folder ships packed code: with the file as shipped it fits.",
        example: "log: 15,966,600 + 104,721; shipped: 15,966,600 + 26,420 = 15,993,020",
        check: Check::Folder(shipped_smaller),
        ..DEFAULT
    },
    Rule {
        id: RuleId("mib_mb_confusion"),
        statement: "The total lies between 16 MB and 16 MiB.",
        reference: CAP,
        severity: Severity::Note,
        evidence: EvidenceKind::Logs,
        why: "16 MiB is 16,777,216 bytes, the usual misreading of the cap.",
        example: "16,408,223 bytes, README: \"under 16 MiB\"",
        check: Check::Folder(mebibytes),
        ..DEFAULT
    },
    Rule {
        id: RuleId("claimed_total_differs_from_log"),
        statement: "The claimed total is none of the totals the logs print.",
        reference: "custom: claims come from logs",
        evidence: EvidenceKind::Logs,
        why: "The claim was made about another artifact.",
        example: "\"bytes_total\": 15518560; the log says 15,338,358",
        check: Check::Folder(total_differs),
        ..DEFAULT
    },
    Rule {
        id: RuleId("claimed_total_from_other_log_line"),
        statement: "The claimed total stands in a log, but not as the final total.",
        reference: "custom: claims come from logs",
        severity: Severity::Note,
        evidence: EvidenceKind::Logs,
        why: "It may be the size of another variant of the model.",
        example: "claimed 15,578,775; the log ends with 15,661,221",
        check: Check::Folder(other_line),
        ..DEFAULT
    },
    Rule {
        id: RuleId("claimed_total_not_worst_seed"),
        statement: "Another seed's total is larger than the one claimed.",
        reference: "custom: the worst seed rules",
        severity: Severity::Note,
        evidence: EvidenceKind::Logs,
        why: "Every seed's artifact has to fit.",
        example: "claimed 15,954,433; seed 42 has 15,959,674",
        check: Check::Folder(not_worst),
        ..DEFAULT
    },
    Rule {
        id: RuleId("total_excludes_code"),
        statement: "The claimed total is the model alone.",
        reference: CAP,
        severity: Severity::Fail,
        evidence: EvidenceKind::Logs,
        why: "Code counts.",
        example: "\"bytes_total\": 15767236 = the model; with code 15,820,582",
        check: Check::Folder(excludes_code),
        ..DEFAULT
    },
];

/// The total that submission.json claims.
pub(super) fn claim(case: &FolderCase) -> Option<ClaimedField> {
    let json = case.folder.submission.as_ref()?;
    let mut total = json.total()?;
    // `artifact_bytes` beside a code size may be the model alone; a logged size tells.
    if let Some(code) = json.code().filter(|_| total.key.starts_with("artifact"))
        && sizes(case.folder, SizeKind::Model).iter().any(|&model| model as f64 == total.number.value())
        && let Ok(sum) = ClaimedNumber::parse(&(total.number.value() + code.number.value()).to_string())
    {
        total.number = sum;
    }
    // Below 10 kB it is no number of bytes; another rule says so.
    (total.number.value() >= 10_000.0).then_some(total)
}

fn cite(case: &FolderCase, claim: &ClaimedField) -> Evidence {
    case.folder.submission.as_ref().map_or_else(Evidence::default, |json| super::cite(json, claim))
}

/// Log lines with this size.
fn lines(case: &FolderCase, kind: SizeKind, bytes: u64) -> Vec<Evidence> {
    let cite = |log: &crate::submission::LogFile| {
        let size = log.sizes_of(kind).find(|size| size.bytes == bytes)?;
        Some(Evidence::at(&log.path, size.line).found(format!("{} bytes", Bytes(bytes))))
    };
    case.folder.logs.iter().filter_map(cite).collect()
}

/// Largest logged total, and the same with the shipped script instead of the logged code where that is smaller.
pub(super) struct Worst {
    logged: u64,
    pub shipped: u64,
    pub model: Option<u64>,
}

/// The worst of the runs that carry the claim.
pub(super) fn worst(case: &FolderCase) -> Option<Worst> {
    worst_of(case, &parts(case.folder), true)
}

/// The worst of the runs that carry the claim, or of the others.
fn worst_of(case: &FolderCase, parts: &Parts, carried: bool) -> Option<Worst> {
    let mut worst: Option<Worst> = None;
    let file = case.folder.main_code().map(|code| code.digest.bytes.0);
    let claimed = claim(case).map(|claim| claim.number.value());
    for log in &case.folder.logs {
        let totals: Vec<_> =
            log.sizes_of(SizeKind::Total).filter(|total| parts.carry(log, total.line) == carried).collect();
        // Of several encodings of one model, the one claimed is submitted.
        let is_claimed = |bytes: u64| claimed == Some(bytes as f64);
        let only_claimed = totals.iter().any(|total| is_claimed(total.bytes)) && log.runs().len() == 1;
        for total in totals.into_iter().filter(|total| !only_claimed || is_claimed(total.bytes)) {
            // The model printed before the total belongs to it.
            let model =
                log.sizes_of(SizeKind::Model).rfind(|model| model.line <= total.line && model.bytes < total.bytes);
            let counted = model.map(|model| total.bytes - model.bytes);
            let shipped = match (model, counted, file) {
                (Some(model), Some(counted), Some(file)) if file < counted => model.bytes.saturating_add(file),
                _ => total.bytes,
            };
            if worst.as_ref().is_none_or(|known| (shipped, total.bytes) > (known.shipped, known.logged)) {
                worst = Some(Worst { logged: total.bytes, shipped, model: model.map(|model| model.bytes) });
            }
        }
    }
    worst
}

fn over_budget(case: &FolderCase) -> Outcome {
    let cap = case.policy.limits.budget_bytes.0;
    let logged = worst(case);
    let claimed = claim(case);
    let claimed_value = claimed.as_ref().map(|claim| claim.number.value() as u64);
    let seeds: Vec<u64> = case
        .folder
        .submission
        .iter()
        .flat_map(|json| json.seed_results())
        .filter_map(|result| result.total)
        .filter(|total| *total >= 10_000)
        .collect();
    let disk = Disk::of(case);
    let mut violations = disk.over(case, cap, logged.as_ref().map_or(0, |worst| worst.shipped));
    if let Some(worst) = &logged
        && worst.shipped > cap
    {
        let over = group_digits(i128::from(worst.shipped) - i128::from(cap));
        let message = format!("logged total {} bytes, {over} over {}", Bytes(worst.shipped), Bytes(cap));
        violations.push(Violation::new(message, lines(case, SizeKind::Total, worst.logged)));
    }
    let (claimed_over, seed_over) =
        (claimed_value.filter(|v| *v > cap), seeds.iter().copied().filter(|v| *v > cap).max());
    if let (Some(value), Some(claim)) = (claimed_over, &claimed) {
        let over = group_digits(i128::from(value) - i128::from(cap));
        violations.push(Violation::new(
            format!("claimed total {} bytes, {over} over {}", Bytes(value), Bytes(cap)),
            vec![cite(case, claim)],
        ));
    } else if let Some(value) = seed_over
        && violations.is_empty()
    {
        let over = group_digits(i128::from(value) - i128::from(cap));
        let evidence = case.folder.submission.as_ref().map(|json| Evidence::file(&json.path).found(Bytes(value)));
        violations.push(Violation::new(
            format!("a seed's claimed total is {} bytes, {over} over {}", Bytes(value), Bytes(cap)),
            evidence.into_iter().collect(),
        ));
    }
    if violations.is_empty()
        && let Some(other) = worst_of(case, &parts(case.folder), false).filter(|other| other.shipped > cap)
    {
        let evidence = lines(case, SizeKind::Total, other.logged);
        let log = evidence.first().map_or("a log", |evidence| evidence.path.as_str());
        let message = format!("{} bytes in {log}, which does not carry the claim", Bytes(other.shipped));
        violations.push(Violation::new(message, evidence).graded(Severity::Warning));
    }
    if !violations.is_empty() {
        return Outcome::Violated(violations);
    }
    if let Some((total, words)) = disk.largest() {
        return Outcome::holds(format!(
            "{words}, {} bytes to spare",
            group_digits(i128::from(cap) - i128::from(total))
        ));
    }
    if logged.is_none() && claimed.is_none() {
        // No total anywhere, but a model size: the shipped script is what would be added.
        let file = case.folder.main_code().map(|code| code.digest.bytes.0);
        let model = sizes(case.folder, SizeKind::Model).last().copied();
        if let (Some(file), Some(model)) = (file, model) {
            let total = model.saturating_add(file);
            let words = format!("model {} + train_gpt.py {} = {}", Bytes(model), Bytes(file), Bytes(total));
            return if total > cap {
                Outcome::violated(words, lines(case, SizeKind::Model, model))
            } else {
                Outcome::holds(words)
            };
        }
    }
    let best = logged.map(|worst| (worst.shipped, "logged")).or(claimed_value.map(|value| (value, "claimed")));
    match best {
        Some((total, how)) => {
            let spare = group_digits(i128::from(cap) - i128::from(total));
            Outcome::holds(format!("{how} total {} bytes, {spare} bytes to spare", Bytes(total)))
        }
        None => Outcome::unknown("neither a log nor submission.json gives a total"),
    }
}

fn shipped_smaller(case: &FolderCase) -> Outcome {
    let cap = case.policy.limits.budget_bytes.0;
    let file = case.folder.main_code().map(|code| code.digest.bytes.0);
    let totals = carried_sizes(case.folder, SizeKind::Total);
    let (Some(file), Some(&logged), Some(worst)) = (file, totals.last(), worst(case)) else {
        return Outcome::NotApplicable;
    };
    if logged <= cap || worst.shipped > cap {
        return Outcome::NotApplicable;
    }
    let model = worst.model.unwrap_or_default();
    Outcome::violated(
        format!(
            "logged {}; with train_gpt.py as shipped ({}) at most {}",
            Bytes(logged),
            Bytes(file),
            Bytes(worst.shipped.max(model))
        ),
        lines(case, SizeKind::Total, logged),
    )
}

/// 16 MiB.
const MEBIBYTES_16: u64 = 16 * 1024 * 1024;

fn mebibytes(case: &FolderCase) -> Outcome {
    let cap = case.policy.limits.budget_bytes.0;
    let total = worst(case).map(|worst| worst.shipped).max(claim(case).map(|claim| claim.number.value() as u64));
    let Some(total) = total else { return Outcome::unknown("no total is known") };
    if total <= cap || total > MEBIBYTES_16 {
        return Outcome::HOLDS;
    }
    let readme = case.folder.readme.as_ref();
    let says = readme.is_some_and(|readme| {
        readme.text.contains("MiB") || readme.text.contains("16,777,216") || readme.text.contains("16777216")
    });
    let remark = if says { "; the README speaks of MiB" } else { "" };
    Outcome::violated(format!("{} bytes: below 16 MiB, above 16 MB{remark}", Bytes(total)), Vec::new())
}

/// How a claimed total relates to the logs.
enum Relation {
    Equal,
    NotWorst(u64),
    ModelAlone(u64),
    OtherLine,
    Different { nearest: u64, delta: u64 },
}

fn relation(case: &FolderCase) -> Option<(ClaimedField, Relation)> {
    let claim = claim(case)?;
    let totals = carried_sizes(case.folder, SizeKind::Total);
    let everywhere = sizes(case.folder, SizeKind::Total);
    let models = carried_sizes(case.folder, SizeKind::Model);
    let value = claim.number.value();
    let rounding = claim.number.rounding().max(0.5);
    let near = |size: u64| (size as f64 - value).abs() <= 2.0 * rounding;
    // What every run ends with.
    let parts = parts(case.folder);
    let of_part = |part: &Part<'_>| {
        let mut sizes = part.log.sizes_of(SizeKind::Total);
        sizes.rfind(|size| part.lines.contains(size.line)).map(|size| size.bytes)
    };
    let mut last: Vec<u64> = parts.iter().filter(|part| part.carries).filter_map(of_part).collect();
    if last.is_empty() {
        last = parts.iter().filter_map(of_part).collect();
    }
    last.sort_unstable();
    let (Some(&worst), false) = (last.last(), totals.is_empty()) else { return None };
    let mean = last.iter().map(|&size| size as f64).sum::<f64>() / last.len() as f64;
    let nearest = totals.iter().copied().min_by_key(|&size| (size as f64 - value).abs() as u64)?;
    let delta = (nearest as f64 - value).abs() as u64;
    let sweep = super::runs::is_seed_sweep(&super::carriers::carrying_runs(case.folder));
    let relation = if near(worst) {
        Relation::Equal
    } else if last.iter().any(|&size| near(size)) || (mean - value).abs() <= 2.0 * rounding {
        if value < worst as f64 && sweep { Relation::NotWorst(worst) } else { Relation::Equal }
    } else if models.iter().any(|&size| near(size)) {
        Relation::ModelAlone(worst)
    } else if everywhere.iter().any(|&size| near(size)) {
        Relation::OtherLine
    } else {
        Relation::Different { nearest, delta }
    };
    Some((claim, relation))
}

const NO_TOTALS: &str = "a claimed and a logged total are not both there";

fn total_differs(case: &FolderCase) -> Outcome {
    match relation(case) {
        None => Outcome::unknown(NO_TOTALS),
        Some((claim, Relation::Different { nearest, delta })) => {
            // The script's code may be counted as shipped, not as logged.
            let file = case.folder.main_code().map(|code| code.digest.bytes.0);
            let models = sizes(case.folder, SizeKind::Model);
            let shipped = |model: u64| file.is_some_and(|file| (model + file) as f64 == claim.number.value());
            if models.iter().any(|&model| shipped(model)) {
                let message =
                    format!("{} is in no log; it is a logged model plus train_gpt.py as shipped", claim.number);
                return Outcome::Violated(vec![
                    Violation::new(message, vec![cite(case, &claim)]).graded(Severity::Note),
                ]);
            }
            let mut evidence = vec![cite(case, &claim).expected(Bytes(nearest))];
            evidence.extend(lines(case, SizeKind::Total, nearest));
            let message =
                format!("{} claimed; nearest logged total {}, {} away", claim.number, Bytes(nearest), Bytes(delta));
            Outcome::violated(message, evidence)
        }
        Some(_) => Outcome::HOLDS,
    }
}

fn other_line(case: &FolderCase) -> Outcome {
    match relation(case) {
        None => Outcome::unknown(NO_TOTALS),
        Some((claim, Relation::OtherLine)) => {
            Outcome::violated(format!("{} is not what a log ends with", claim.number), vec![cite(case, &claim)])
        }
        Some(_) => Outcome::HOLDS,
    }
}

fn not_worst(case: &FolderCase) -> Outcome {
    match relation(case) {
        None => Outcome::unknown(NO_TOTALS),
        Some((claim, Relation::NotWorst(worst))) => {
            let mut evidence = vec![cite(case, &claim).expected(Bytes(worst))];
            evidence.extend(lines(case, SizeKind::Total, worst));
            Outcome::violated(format!("{} claimed, the worst seed has {}", claim.number, Bytes(worst)), evidence)
        }
        Some(_) => Outcome::HOLDS,
    }
}

fn excludes_code(case: &FolderCase) -> Outcome {
    match relation(case) {
        None => Outcome::unknown(NO_TOTALS),
        Some((claim, Relation::ModelAlone(total))) => {
            let message = format!("{} is the model alone; with code {}", claim.number, Bytes(total));
            Outcome::violated(message, vec![cite(case, &claim).expected(Bytes(total))])
        }
        Some(_) => Outcome::HOLDS,
    }
}
