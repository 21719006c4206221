//! Claimed numbers by themselves and against one another.

use std::f64::consts::LN_2;

use super::denominator::{log_ratio, tokenizer};
use super::runs::same_number;
use super::{DEFAULT, cite};
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, FolderCase, Outcome, Rule};
use crate::submission::{ClaimedField, LogFile, RecordFolder, SubmissionJson};
use crate::units::group_digits;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("val_bpb_implausible"),
        statement: "The claimed val_bpb is no possible result.",
        reference: "val_bpb is positive; the untrained model has about 4.1",
        severity: Severity::Fail,
        why: "Zero or a negative number is a placeholder.",
        example: "\"val_bpb\": 0.0",
        check: Check::Folder(implausible),
        ..DEFAULT
    },
    Rule {
        id: RuleId("val_bpb_suspiciously_low"),
        statement: "The claimed val_bpb is below what any accepted method reached.",
        reference: "experience: values below 0.95 have come from n-gram caches, leaks and wrong denominators (#779 family, #1143, #2039)",
        severity: Severity::Review,
        why: "A person must look at how the score came about.",
        example: "\"val_bpb\": 0.2952",
        check: Check::Folder(suspicious),
        ..DEFAULT
    },
    Rule {
        id: RuleId("bpb_stored_in_val_loss"),
        statement: "val_loss holds what looks like bits per byte.",
        reference: "val_loss is nats per token, 1.5 and more for every tokenizer in use",
        why: "The two numbers are in different units.",
        example: "\"val_loss\": 1.1160 and no val_bpb",
        check: Check::Folder(in_loss),
        ..DEFAULT
    },
    Rule {
        id: RuleId("val_loss_equals_val_bpb"),
        statement: "val_loss and val_bpb are the same number.",
        reference: "val_loss is nats per token, val_bpb bits per byte",
        why: "One of them is wrong.",
        example: "\"val_loss\": 1.2, \"val_bpb\": 1.2",
        check: Check::Folder(equal),
        ..DEFAULT
    },
    Rule {
        id: RuleId("val_loss_val_bpb_inconsistent"),
        statement: "val_loss / val_bpb does not fit the tokenizer's bytes per token.",
        reference: "val_bpb = loss / ln 2 x tokens / bytes (train_gpt.py); bytes per token: sp1024 2.436, sp4096 3.320, sp8192 3.727",
        severity: Severity::Fail,
        why: "Loss and bits per byte then come from different runs, tokenizers or countings.",
        example: "val_loss 1.9379, val_bpb 0.9393 with the 1024-piece tokenizer: 2.976 bytes a token",
        check: Check::Folder(inconsistent),
        ..DEFAULT
    },
    Rule {
        id: RuleId("bytes_total_not_in_bytes"),
        statement: "The claimed total is too small to be a number of bytes.",
        reference: "challenge README: sizes are bytes",
        why: "Megabytes, or not a size at all.",
        example: "\"bytes_total\": 15.4",
        check: Check::Folder(not_bytes),
        ..DEFAULT
    },
    Rule {
        id: RuleId("bytes_sum_inconsistent"),
        statement: "The claimed total is not code plus model.",
        reference: "arithmetic",
        severity: Severity::Fail,
        why: "Which of the three is wrong decides whether the submission fits.",
        example: "total 19,450,409, code 47,686, model 19,374,552",
        check: Check::Folder(sum),
        ..DEFAULT
    },
    Rule {
        id: RuleId("folder_name_bpb_differs"),
        statement: "The folder's name ends in another score than the one claimed.",
        reference: "custom: names carry the score",
        severity: Severity::Note,
        why: "Name and claim may belong to different runs; a wrong digit shows up here (#1037).",
        example: "2026-03-28_Muon_1.1179 claiming 0.1179",
        check: Check::Folder(folder_name),
        ..DEFAULT
    },
];

fn claim<'a>(case: &FolderCase<'a>) -> Option<(&'a SubmissionJson, ClaimedField)> {
    let json = case.folder.submission.as_ref()?;
    Some((json, json.bpb()?))
}

fn implausible(case: &FolderCase) -> Outcome {
    let Some((json, bpb)) = claim(case) else { return Outcome::unknown("no bits per byte are claimed") };
    let (_, most) = case.policy.limits.bpb_plausible;
    let value = bpb.number.value();
    if value > 0.0 && value <= most {
        return Outcome::HOLDS;
    }
    Outcome::violated(format!("{} bits per byte", bpb.number), vec![cite(json, &bpb).expected(format!("0 to {most}"))])
}

fn suspicious(case: &FolderCase) -> Outcome {
    let Some((json, bpb)) = claim(case) else { return Outcome::unknown("no bits per byte are claimed") };
    let least = case.policy.limits.bpb_suspicious;
    if bpb.number.value() <= 0.0 || bpb.number.value() >= least {
        return Outcome::HOLDS;
    }
    Outcome::violated(format!("{} is below {least}", bpb.number), vec![cite(json, &bpb)])
}

fn in_loss(case: &FolderCase) -> Outcome {
    let Some(json) = &case.folder.submission else { return Outcome::NotApplicable };
    let Some(loss) = json.number("val_loss") else { return Outcome::NotApplicable };
    // Less than one nat above one bit: no tokenizer in use gives a loss below 1.5 at honest scores.
    let looks_like_bpb = (0.9..1.45).contains(&loss.value());
    if json.fields.contains_key("val_bpb") || !looks_like_bpb {
        return Outcome::HOLDS;
    }
    Outcome::violated(
        format!("val_loss is {loss}, a value of bits per byte, and there is no val_bpb"),
        vec![Evidence::at(&json.path, json.line_of("val_loss")).found(format!("val_loss: {loss}"))],
    )
}

fn both(case: &FolderCase) -> Option<(f64, f64, f64, Evidence)> {
    let json = case.folder.submission.as_ref()?;
    let (loss, bpb) = (json.number("val_loss").or_else(|| json.number("val_loss_nats"))?, json.number("val_bpb")?);
    let rounding = loss.rounding() / loss.value().abs().max(1e-9) + bpb.rounding() / bpb.value().abs().max(1e-9);
    let evidence = Evidence::at(&json.path, json.line_of("val_loss")).found(format!("val_loss {loss}, val_bpb {bpb}"));
    Some((loss.value(), bpb.value(), rounding, evidence))
}

fn equal(case: &FolderCase) -> Outcome {
    let Some((loss, bpb, _, evidence)) = both(case) else { return Outcome::NotApplicable };
    if loss != bpb || loss == 0.0 {
        return Outcome::HOLDS;
    }
    Outcome::violated(format!("both are {loss}"), vec![evidence])
}

/// Relative difference of bytes per token that other data or rounding may explain.
const RATIO_TOLERANCE: f64 = 0.01;

/// Bytes per token on the logged line that holds the claim: other lines may be of other models and tokenizers.
fn claimed_ratio(folder: &RecordFolder) -> Option<f64> {
    let claim = folder.submission.as_ref()?.bpb()?.number;
    folder.logs.iter().flat_map(LogFile::finals).find_map(|metric| {
        let is_claim = metric.decimals > 3 && same_number(&claim, metric.bpb, metric.decimals);
        let loss = metric.loss.filter(|loss| is_claim && *loss > 0.0)?;
        Some(loss / (LN_2 * metric.bpb))
    })
}

fn inconsistent(case: &FolderCase) -> Outcome {
    let Some((loss, bpb, rounding, evidence)) = both(case) else {
        return Outcome::unknown("val_loss and val_bpb are not both claimed");
    };
    if loss <= 0.0 || bpb <= 0.0 || loss == bpb {
        return Outcome::unknown("val_loss and val_bpb are not both results");
    }
    let ratio = loss / (LN_2 * bpb);
    let logged = claimed_ratio(case.folder).or_else(|| log_ratio(case.folder));
    let named = tokenizer(case.folder).and_then(|tokenizer| tokenizer.bytes_per_token());
    let Some(expected) = logged.or(named) else {
        return Outcome::unknown("neither the logs nor a known tokenizer tell the bytes per token");
    };
    let differs = |expected: f64| (ratio / expected - 1.0).abs() > RATIO_TOLERANCE + rounding;
    let known = [2.436, 3.3197, 3.7266, 3.1574];
    if logged.is_none() && known.into_iter().any(|known| !differs(known)) {
        return Outcome::unknown("no log tells the bytes per token; the claim fits a known tokenizer");
    }
    if !differs(expected) || !named.is_none_or(differs) {
        return Outcome::holds(format!("{ratio:.4} bytes per token"));
    }
    Outcome::violated(
        format!("loss and bits per byte give {ratio:.4} bytes per token, {expected:.4} expected"),
        vec![evidence.expected(format!("{expected:.4} bytes per token"))],
    )
}

fn not_bytes(case: &FolderCase) -> Outcome {
    let Some(json) = &case.folder.submission else { return Outcome::NotApplicable };
    let Some(total) = json.total() else { return Outcome::unknown("no total is claimed") };
    let value = total.number.value();
    if value <= 0.0 || value >= 10_000.0 {
        return Outcome::HOLDS;
    }
    Outcome::violated(format!("{} is {}", total.key, total.number), vec![cite(json, &total).expected("bytes")])
}

/// What may lie between a total and its parts: rounded parts, a few bytes of packing.
const SUM_SLACK: f64 = 1024.0;

fn sum(case: &FolderCase) -> Outcome {
    let Some(json) = &case.folder.submission else { return Outcome::NotApplicable };
    let (Some(total), Some(code)) = (json.total(), json.code()) else {
        return Outcome::unknown("total, model and code are not all claimed");
    };
    let models = json.models();
    let [model, ..] = models.as_slice() else {
        return Outcome::unknown("total, model and code are not all claimed");
    };
    let values = [total.number.value(), code.number.value(), model.number.value()];
    if values.iter().any(|value| *value <= 0.0) {
        return Outcome::unknown("total, model and code are not all claimed");
    }
    let agrees = |model: &ClaimedField| (values[0] - values[1] - model.number.value()).abs() <= SUM_SLACK;
    // A model size may already hold the code; then the total is the model.
    if models.iter().any(agrees) || models.iter().any(|model| values[0] == model.number.value()) {
        return Outcome::HOLDS;
    }
    let difference = group_digits((values[0] - values[1] - values[2]) as i128);
    Outcome::violated(
        format!("{} - {} - {} = {difference}", total.number, code.number, model.number),
        vec![cite(json, &total), cite(json, &code), cite(json, model)],
    )
}

/// A score in a folder name: `_1.0616` as a word of its own.
fn score_in(name: &str) -> Option<(&str, u32)> {
    name.split(|c: char| !(c.is_ascii_digit() || c == '.')).rev().find_map(|word| {
        let (whole, fraction) = word.split_once('.')?;
        let fits = matches!(whole, "0" | "1") && (3..=8).contains(&fraction.len());
        fits.then_some((word, fraction.len() as u32))
    })
}

fn folder_name(case: &FolderCase) -> Outcome {
    let Some((json, bpb)) = claim(case) else { return Outcome::unknown("no bits per byte are claimed") };
    let Some((text, decimals)) = score_in(&case.folder.name) else { return Outcome::NotApplicable };
    let Ok(named) = text.parse::<f64>() else { return Outcome::NotApplicable };
    if (named - bpb.number.value()).abs() <= 10f64.powi(-(decimals as i32)) * 1.000_001 {
        return Outcome::HOLDS;
    }
    Outcome::violated(
        format!("the folder is called {text}, {} is claimed", bpb.number),
        vec![cite(json, &bpb).expected(text)],
    )
}
