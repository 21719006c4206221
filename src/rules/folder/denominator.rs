//! The denominator of bits per byte: how long is the validation text, whatever the tokenizer.

use std::f64::consts::LN_2;

use super::DEFAULT;
use super::carriers::one_failure;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::log::Noted;
use crate::submission::{LogFile, RecordFolder};
use crate::units::group_digits;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("implied_val_bytes_wrong"),
        statement: "Tokens, loss and bits per byte imply a text of another length than the validation text.",
        reference: "val_bpb = loss / ln 2 x tokens / bytes (train_gpt.py); FineWeb's validation text has 151,078,222 bytes (#1916), in the data published before 2026-03-19 155.77 MB",
        severity: Severity::Fail,
        evidence: EvidenceKind::Logs,
        why: "tokens x loss / (ln 2 x bpb) gives the bytes that were divided by, and must give the same text for every tokenizer. The strongest single check there is: #1143, #1289, #897 would have failed it.",
        example: "47,851,520 tokens, loss 2.3295, bpb 0.9771: a text of 164.6 MB instead of 151.1 MB",
        check: Check::Folder(implied),
        ..DEFAULT
    },
    Rule {
        id: RuleId("log_ratio_unusual_for_tokenizer"),
        statement: "The logged bytes per token are not those of the tokenizer named.",
        reference: "bytes per token on FineWeb validation: sp1024 2.436, sp4096 3.320, sp8192 3.727, caseops 3.157",
        severity: Severity::Review,
        evidence: EvidenceKind::Logs,
        why: "Another tokenizer or text normalization is at work; whether it counts bytes correctly is for a person to see.",
        example: "sp8192 with 4.158 bytes a token (casefolded text)",
        check: Check::Folder(unusual),
        ..DEFAULT
    },
    Rule {
        id: RuleId("val_subset"),
        statement: "Validation ran on fewer tokens than the full split has.",
        reference: "challenge README: the fixed first 50,000 documents; sp1024 62,021,632 tokens (#286), sp4096 45,508,608, sp8192 40,540,160 (#1916), caseops 47,851,520 (#2127), less than 0.1 % of which whole windows cut off",
        severity: Severity::Fail,
        evidence: EvidenceKind::Logs,
        why: "A score on a part of the text is another score.",
        example: "val_loader ... tokens:1048576",
        check: Check::Folder(subset),
        ..DEFAULT
    },
    Rule {
        id: RuleId("lossy_normalization"),
        statement: "The text is normalized before tokenizing in a way that cannot be undone.",
        reference: "open question (#1604): casefolded entries (#1578, #1585, #1670) never reached the board",
        severity: Severity::Review,
        evidence: EvidenceKind::Logs,
        why: "Bits per byte of another text are not bits per byte of this one.",
        example: "a tokenizer called fineweb_8192_casefold.model",
        check: Check::Folder(lossy),
        ..DEFAULT
    },
    Rule {
        id: RuleId("train_val_overlap"),
        statement: "The log names a training split known to overlap with validation.",
        reference: "#2127: `prepare_caseops_data.py --val-docs 10000` writes 1,499 training shards of which 80 % of validation is part",
        severity: Severity::Review,
        evidence: EvidenceKind::Logs,
        why: "Trained on what it is scored on.",
        example: "train_shards: 1499",
        check: Check::Folder(overlap),
        ..DEFAULT
    },
];

/// Tokenizers whose bytes per token are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tokenizer {
    Sp1024,
    Sp4096,
    Sp8192,
    /// Lossless capitals or casefolding: several variants.
    CaseOps,
    Bytes,
    /// Some other vocabulary.
    Other,
}

impl Tokenizer {
    /// Bytes of validation text a token, where one number is right.
    pub fn bytes_per_token(self) -> Option<f64> {
        match self {
            // 151,078,222 bytes by 62,021,632, 45,508,608 and 40,540,160 tokens.
            Tokenizer::Sp1024 => Some(2.435_896),
            Tokenizer::Sp4096 => Some(3.319_772),
            Tokenizer::Sp8192 => Some(3.726_632),
            Tokenizer::CaseOps => None,
            Tokenizer::Bytes | Tokenizer::Other => None,
        }
    }

    /// Tokens of the whole validation split, cut to whole sequences of 1,024; the fewest where several are published.
    fn split_tokens(self) -> Option<u64> {
        match self {
            Tokenizer::Sp1024 => Some(62_021_632),
            // 45,508,608 of the one most in use, 44,847,104 of another (#123).
            Tokenizer::Sp4096 => Some(44_847_104),
            Tokenizer::Sp8192 => Some(40_540_160),
            Tokenizer::CaseOps => Some(47_851_520),
            Tokenizer::Bytes | Tokenizer::Other => None,
        }
    }
}

/// The tokenizer the logs name; without them, the one submission.json or the folder's name speaks of.
pub(super) fn tokenizer(folder: &RecordFolder) -> Option<Tokenizer> {
    // CaseOps data goes through a plain tokenizer's file name; the folder's name says so.
    if by_words(&folder.name) == Some(Tokenizer::CaseOps) {
        return Some(Tokenizer::CaseOps);
    }
    let logged: Vec<&str> =
        folder.logs.iter().filter_map(|log| log.tokenizer.as_ref()).map(|noted| noted.value.as_str()).collect();
    if let Some(found) = logged.iter().find_map(|text| by_words(text)) {
        return Some(found);
    }
    if !logged.is_empty() {
        return Some(Tokenizer::Other);
    }
    let json = folder.submission.as_ref()?;
    json.text_field("tokenizer").and_then(by_words).or_else(|| by_words(&folder.name))
}

/// The tokenizer that a path or a name speaks of.
fn by_words(text: &str) -> Option<Tokenizer> {
    let lower = text.to_ascii_lowercase();
    if lower.contains("caseops") || lower.contains("casefold") || lower.contains("lossless_caps") {
        return Some(Tokenizer::CaseOps);
    }
    if lower.contains("tokenizer_kind=bytes") {
        return Some(Tokenizer::Bytes);
    }
    let has = |n: &str| {
        lower.contains(&format!("fineweb_{n}_"))
            || lower.contains(&format!("sp{n}"))
            || lower.contains(&format!("{n}_bpe"))
    };
    match () {
        () if has("8192") => Some(Tokenizer::Sp8192),
        () if has("4096") => Some(Tokenizer::Sp4096),
        () if has("1024") => Some(Tokenizer::Sp1024),
        () => None,
    }
}

/// Bytes per token of a log's final value.
struct Ratio {
    /// loss / (ln 2 x bpb).
    value: f64,
    /// 1-based line.
    line: u64,
    /// Half a unit in the last printed place, relative to both numbers.
    rounding: f64,
    /// The bits per byte on that line.
    bpb: f64,
}

fn ratio(log: &LogFile) -> Option<Ratio> {
    let metric = log
        .metrics
        .iter()
        .rev()
        .filter(|metric| metric.kind >= crate::submission::log::MetricKind::PreQuant)
        .find(|metric| metric.loss.is_some_and(|loss| loss > 0.0) && metric.bpb > 0.0)?;
    let loss = metric.loss?;
    let rounding = 0.5 * 10f64.powi(-(metric.decimals.min(12) as i32)) * (1.0 / metric.bpb + 1.0 / loss);
    Some(Ratio { value: loss / (LN_2 * metric.bpb), line: metric.line, rounding, bpb: metric.bpb })
}

/// Bytes per token according to the logs: that of the last log that tells.
pub(super) fn log_ratio(folder: &RecordFolder) -> Option<f64> {
    folder.logs.iter().rev().find_map(ratio).map(|ratio| ratio.value)
}

/// The validation tokens a log speaks of, if it names one number only.
fn val_tokens(log: &LogFile) -> Option<u64> {
    log.val_tokens.iter().map(|noted| noted.value).max()
}

/// Fewer tokens than this are a part of the validation text for every tokenizer seen so far (the largest vocabulary,
/// 65,536 pieces, needs 33 million).
const FEWEST_TOKENS: u64 = 30_000_000;

/// What a wrong denominator is wrong by, where the number itself says it.
fn named_factor(factor: f64) -> Option<&'static str> {
    /// How near a factor must be to be taken for the constant: no text and no tokenizer is off by a third by chance.
    const NEAR: f64 = 0.002;
    let is = |constant: f64| (factor / constant - 1.0).abs() <= NEAR;
    if is(1.0 / LN_2) {
        return Some("that is the factor 1/ln 2: nats were not divided by ln 2");
    }
    is(LN_2).then_some("that is the factor ln 2: nats were divided by ln 2 twice")
}

/// Length of the text as first published, where a folder of this date may have been scored on it.
fn earlier_text(case: &FolderCase) -> Option<u64> {
    let earlier = case.policy.limits.val_text_earlier.as_ref()?;
    let date = super::record::date(case.folder)?;
    (date < earlier.before.as_str()).then_some(earlier.bytes)
}

/// The bits per byte of the last log that gives tokens, loss and score, and what they are over the text's own bytes.
pub(in crate::rules) fn corrected_bpb(case: &FolderCase) -> Option<(f64, f64)> {
    let measured = case.folder.logs.iter().rev().find_map(|log| Some((val_tokens(log)?, ratio(log)?)))?;
    let (tokens, ratio) = (measured.0 as f64, measured.1);
    let factor = tokens * ratio.value / case.policy.limits.val_text_bytes as f64;
    (measured.0 >= FEWEST_TOKENS).then_some((ratio.bpb, ratio.bpb * factor))
}

fn implied(case: &FolderCase) -> Outcome {
    let limits = &case.policy.limits;
    let expected = limits.val_text_bytes as f64;
    let mut violations = Vec::new();
    let mut checked = 0;
    for log in &case.folder.logs {
        let (Some(tokens), Some(Ratio { value: ratio, line, rounding, bpb })) = (val_tokens(log), ratio(log)) else {
            continue;
        };
        if tokens < FEWEST_TOKENS {
            continue;
        }
        checked += 1;
        let implied = tokens as f64 * ratio;
        let factor = implied / expected;
        let known = [Some(limits.val_text_bytes), earlier_text(case)];
        if known.into_iter().flatten().any(|bytes| limits.text_fits(implied / bytes as f64 - 1.0, rounding)) {
            continue;
        }
        let is_earlier =
            limits.val_text_earlier.as_ref().filter(|old| limits.text_fits(implied / old.bytes as f64 - 1.0, rounding));
        let reason = match (named_factor(factor), is_earlier) {
            (Some(reason), _) => format!("; {reason}"),
            (None, Some(old)) => format!("; that is the text of the data published before {}", old.before),
            (None, None) => String::new(),
        };
        let message = format!(
            "{}: {} tokens of {ratio:.4} bytes make a text of {} bytes, {:+.2} % off{reason}; with {} bytes \
             {bpb} bits per byte are {:.4}",
            log.path,
            group_digits(tokens.into()),
            group_digits(implied as i128),
            (factor - 1.0) * 100.0,
            group_digits(limits.val_text_bytes.into()),
            bpb * factor,
        );
        let evidence = Evidence::at(&log.path, line)
            .found(format!("{ratio:.4} bytes per token"))
            .expected(group_digits(expected as i128));
        violations.push(crate::rules::Violation::new(message, vec![evidence]));
    }
    if checked == 0 {
        return Outcome::unknown("no log gives validation tokens, loss and bits per byte");
    }
    one_failure(case, violations)
}

fn unusual(case: &FolderCase) -> Outcome {
    let Some(by_folder) = tokenizer(case.folder) else { return Outcome::unknown("no log names the tokenizer") };
    let measured = case.folder.logs.iter().rev().find(|log| ratio(log).is_some());
    // Logs kept for comparison may be of another tokenizer.
    let by_log = measured.and_then(|log| by_words(&log.tokenizer.as_ref()?.value));
    let tokenizer = by_log.filter(|_| by_folder != Tokenizer::CaseOps).unwrap_or(by_folder);
    let Some(expected) = tokenizer.bytes_per_token() else { return Outcome::NotApplicable };
    if matches!(implied(case), Outcome::Violated(_)) {
        return Outcome::unknown("the length of the text is wrong already; see implied_val_bytes_wrong");
    }
    if case.folder.logs.iter().filter_map(val_tokens).any(|tokens| tokens < FEWEST_TOKENS) {
        return Outcome::unknown("a part of the validation text has its own bytes per token");
    }
    let Some(log) = measured else { return Outcome::unknown("no log gives both loss and bits per byte") };
    let Some(Ratio { value: ratio, line, rounding, .. }) = ratio(log) else { return Outcome::NotApplicable };
    let limits = &case.policy.limits;
    let tolerance = limits.bytes_per_token_tolerance.unwrap_or(limits.val_text_bytes_tolerance);
    if (ratio / expected - 1.0).abs() <= tolerance + 2.0 * rounding {
        return Outcome::holds(format!("{ratio:.4} bytes per token"));
    }
    let reason = named_factor(ratio / expected).map_or(String::new(), |reason| format!("; {reason}"));
    Outcome::violated(
        format!("{ratio:.4} bytes per token, {expected:.4} usual for {tokenizer:?}{reason}"),
        vec![Evidence::at(&log.path, line).found(format!("{ratio:.4}")).expected(format!("{expected:.4}"))],
    )
}

fn lossy(case: &FolderCase) -> Outcome {
    let tokenizers = case.folder.logs.iter().filter_map(|log| log.tokenizer.as_ref().map(|noted| (log, noted)));
    let mut evidence: Vec<Evidence> = tokenizers
        .filter(|(_, noted)| noted.value.to_ascii_lowercase().contains("casefold"))
        .map(|(log, noted)| Evidence::at(&log.path, noted.line).found(&noted.value))
        .collect();
    if case.folder.name.to_ascii_lowercase().contains("casefold") {
        evidence.push(Evidence::file("").found(&case.folder.name));
    }
    if evidence.is_empty() {
        return Outcome::HOLDS;
    }
    Outcome::violated("the validation text is casefolded", evidence)
}

/// What may be missing of the split: the tail that fills no whole window, up to 62,021 tokens.
const TAIL: f64 = 0.001;

/// Tokens of the whole split, where the log counted fewer of the tokenizer it names.
fn split_not_reached(case: &FolderCase, log: &LogFile) -> Option<u64> {
    let tokens = val_tokens(log)?;
    let by_folder = tokenizer(case.folder);
    let by_log = log.tokenizer.as_ref().and_then(|noted| by_words(&noted.value));
    let tokenizer = if by_folder == Some(Tokenizer::CaseOps) { by_folder } else { by_log }?;
    let whole = tokenizer.split_tokens()?;
    if tokens as f64 >= whole as f64 * (1.0 - TAIL) {
        return None;
    }
    // A vocabulary of one's own under the same name needs another number of tokens for the same text.
    match ratio(log) {
        Some(Ratio { value, rounding, .. }) => {
            let text = tokens as f64 * value / case.policy.limits.val_text_bytes as f64;
            (text < 1.0 - TAIL - 2.0 * rounding).then_some(whole)
        }
        None => (tokenizer != Tokenizer::CaseOps).then_some(whole),
    }
}

fn subset(case: &FolderCase) -> Outcome {
    let mut evidence = Vec::new();
    let mut any = false;
    for log in &case.folder.logs {
        let Some(noted) = log.val_tokens.iter().min_by_key(|noted| noted.value) else { continue };
        any = true;
        let most = log.val_tokens.iter().max_by_key(|noted| noted.value).unwrap_or(noted);
        let at = |noted: &Noted<u64>| {
            Evidence::at(&log.path, noted.line).found(format!("{} tokens", group_digits(noted.value.into())))
        };
        if noted.value < FEWEST_TOKENS && noted.value > 0 {
            evidence.push(at(noted));
        } else if let Some(whole) = split_not_reached(case, log) {
            evidence.push(at(most).expected(format!("{} tokens", group_digits(whole.into()))));
        }
    }
    match (any, evidence.first()) {
        (false, _) => Outcome::unknown("no log says how many tokens were validated"),
        (true, None) => Outcome::HOLDS,
        (true, Some(first)) => {
            let fewest = first.found.clone().unwrap_or_default();
            let of = first.expected.as_ref().map_or(String::new(), |whole| format!(" of {whole}"));
            one_failure(case, vec![Violation::new(format!("validated on {fewest}{of}"), evidence)])
        }
    }
}

fn overlap(case: &FolderCase) -> Outcome {
    let evidence: Vec<Evidence> = case
        .folder
        .logs
        .iter()
        .filter_map(|log| log.train_shards.as_ref().map(|noted| (log, noted)))
        .filter(|(_, noted)| noted.value == 1499)
        .map(|(log, noted)| Evidence::at(&log.path, noted.line).found("train_shards 1499").expected("80 shards"))
        .collect();
    if evidence.is_empty() {
        return Outcome::HOLDS;
    }
    Outcome::violated(
        "1,499 training shards: the split whose first 10,000 validation documents only are kept apart",
        evidence,
    )
}
