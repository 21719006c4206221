//! What a claim would need to count: time, seeds, hardware.

use super::field;
use crate::manifest::ClaimedNumber;
use crate::report::{RuleId, Severity};
use crate::rules::{Check, ManifestCase, Outcome, Rule, Tracks};
use crate::units::Bytes;

const DEFAULT: Rule = Rule::BLANK;

pub(super) const TRAIN_TIME: Rule = Rule {
    id: RuleId("manifest_train_over_cap"),
    statement: "The claimed training time is over 600 s.",
    reference: "challenge README: 10 minutes on 8xH100. Custom: the step that crosses the cap is let through, so 600 to 601 s is normal",
    tracks: Tracks::TenMinutes,
    why: "More time is more training. How far over decides how it is judged.",
    example: "train_seconds: 601.991",
    check: Check::Manifest(train_time),
    ..DEFAULT
};

pub(super) const EVAL_TIME: Rule = Rule {
    id: RuleId("manifest_eval_over_cap"),
    statement: "The claimed evaluation time is over 600 s.",
    reference: "challenge README since 2026-03-20 (commit 2cff08e1a)",
    severity: Severity::Fail,
    tracks: Tracks::TenMinutes,
    why: "Evaluation has its own ten minutes.",
    example: "eval_seconds: 688",
    check: Check::Manifest(eval_time),
    ..DEFAULT
};

pub(super) const SEEDS: Rule = Rule {
    id: RuleId("manifest_few_seeds"),
    statement: "Fewer seeds than a record needs.",
    reference: "challenge README, rule 1: p < 0.01; three runs are usually enough",
    tracks: Tracks::TenMinutes,
    why: "One run says nothing about the spread; seeds differ by more than most records improve.",
    example: "seeds: [1337]",
    check: Check::Manifest(seeds),
    ..DEFAULT
};

pub(super) const HARDWARE: Rule = Rule {
    id: RuleId("manifest_other_hardware"),
    statement: "The claim was not made on 8xH100.",
    reference: "challenge README: 10 minutes on 8xH100 SXM",
    tracks: Tracks::TenMinutes,
    why: "Seconds on other machines are other seconds.",
    example: "hardware: {devices: 1, kind: RTX 4090}",
    check: Check::Manifest(hardware),
    ..DEFAULT
};

pub(super) const IDLE_BIGRAM: Rule = Rule {
    id: RuleId("manifest_idle_bigram"),
    statement: "The bigram path of the model can never learn: table and projection both start at zero.",
    reference: "custom: initialization of PR #286, where a projection with a side below 64 starts at zero",
    severity: Severity::Warning,
    why: "Each gets its gradient through the other. The parameters count and do nothing.",
    example: "model: {model_dim: 96, bigram_vocab_size: 512, bigram_dim: 32}",
    check: Check::Manifest(idle_bigram),
    ..DEFAULT
};

pub(super) const BYTE_SIDECAR: Rule = Rule {
    id: RuleId("byte_sidecar"),
    statement: "Bits per byte are counted by files that come with the tokens, not by the tokenizer.",
    reference: "PRs #1729, #1736, #1855: tokens over transformed text with fineweb_val_bytes_*.bin; FineWeb's validation text has 151,078,222 bytes (#1916)",
    severity: Severity::Review,
    why: "Counts of more bytes than the original text has lower val_bpb, and no file shows which text they are of.",
    example: "data: {byte_sidecar: {pattern: fineweb_val_bytes_*.bin}}",
    check: Check::Manifest(byte_sidecar),
    ..DEFAULT
};

pub(super) const NOTES: Rule = Rule {
    id: RuleId("manifest_notes"),
    statement: "The manifest carries remarks for readers.",
    reference: "manifest schema golf-harness/manifest/v1",
    severity: Severity::Note,
    why: "Oddities of the original run that no rule expresses.",
    example: "notes: [\"the README calls its numbers placeholders\"]",
    check: Check::Manifest(notes),
    ..DEFAULT
};

fn train_time(case: &ManifestCase) -> Outcome {
    let limits = &case.policy.limits;
    let Some(seconds) = &case.manifest.claim.metrics.train_seconds else {
        return Outcome::unknown("no training time is claimed");
    };
    let value = seconds.value();
    let over = value - limits.train_seconds;
    if over <= 0.0 {
        return Outcome::holds(format!("{seconds} s of {} s", limits.train_seconds));
    }
    let (severity, degree) = if value <= limits.train_seconds_marginal {
        (Severity::Note, "no more than the last step explains")
    } else if value <= limits.train_seconds_small {
        (Severity::Warning, "more than one step explains")
    } else {
        (Severity::Fail, "far over the cap")
    };
    violated_at(case, "train_seconds", seconds, limits.train_seconds, severity, &format!("{over:.3} s over: {degree}"))
}

fn eval_time(case: &ManifestCase) -> Outcome {
    let Some(cap) = case.policy.limits.eval_seconds else { return Outcome::NotApplicable };
    match &case.manifest.claim.metrics.eval_seconds {
        None => Outcome::unknown("no evaluation time is claimed"),
        Some(seconds) if seconds.value() <= cap => Outcome::holds(format!("{seconds} s of {cap} s")),
        Some(seconds) => {
            let over = format!("{:.3} s over", seconds.value() - cap);
            violated_at(case, "eval_seconds", seconds, cap, Severity::Fail, &over)
        }
    }
}

fn violated_at(
    case: &ManifestCase,
    name: &str,
    seconds: &ClaimedNumber,
    cap: f64,
    severity: Severity,
    remark: &str,
) -> Outcome {
    let evidence = field(case, &format!("claim.metrics.{name}")).found(seconds).expected(format!("at most {cap}"));
    Outcome::Violated(vec![
        crate::rules::Violation::new(format!("{seconds} s against a cap of {cap} s, {remark}"), vec![evidence])
            .graded(severity),
    ])
}

fn seeds(case: &ManifestCase) -> Outcome {
    let wanted = case.policy.limits.seeds;
    let seeds = &case.manifest.claim.seeds;
    let distinct: std::collections::BTreeSet<u64> = seeds.iter().copied().collect();
    let have = distinct.len() as u64;
    if have == 0 {
        return Outcome::unknown("no seeds are claimed");
    }
    if have >= wanted {
        return Outcome::holds(format!("{have} seeds"));
    }
    let list: Vec<String> = distinct.iter().map(u64::to_string).collect();
    let message = format!("{have} of {wanted} seeds: {}", list.join(", "));
    Outcome::violated(
        message,
        vec![field(case, "claim.seeds").found(list.join(", ")).expected(format!("{wanted} seeds"))],
    )
}

fn hardware(case: &ManifestCase) -> Outcome {
    let limits = &case.policy.limits;
    let Some(hardware) = &case.manifest.claim.hardware else {
        return Outcome::unknown("no hardware is claimed");
    };
    let text = format!("{}x{}", hardware.devices, hardware.kind);
    let right_kind = hardware.kind.to_ascii_uppercase().contains(&limits.device_kind);
    if u64::from(hardware.devices) == limits.devices && right_kind {
        return Outcome::holds(text);
    }
    let expected = format!("{}x{}", limits.devices, limits.device_kind);
    Outcome::violated(
        format!("claimed on {text}; the caps are for {expected}"),
        vec![field(case, "claim.hardware").found(text).expected(expected)],
    )
}

fn idle_bigram(case: &ManifestCase) -> Outcome {
    let model = &case.manifest.model;
    match model.idle_bigram() {
        Some(reason) => Outcome::violated(reason, vec![field(case, "model.bigram_dim")]),
        None if model.has_bigram() => Outcome::holds("table or projection starts away from zero"),
        None => Outcome::NotApplicable,
    }
}

fn byte_sidecar(case: &ManifestCase) -> Outcome {
    let Some(sidecar) = &case.manifest.data.byte_sidecar else { return Outcome::NotApplicable };
    let stated = match sidecar.text_bytes {
        Some(bytes) => format!("the manifest states {} bytes of original text", Bytes(bytes)),
        None => "the manifest states no number of bytes of original text".to_string(),
    };
    let message = format!(
        "`{}` counts the bytes; {stated}. Make the counts again from the original text, with the transform of the \
         submission, or compare their sum with the text's bytes",
        crate::escape::visible(&sidecar.pattern)
    );
    Outcome::violated(message, vec![field(case, "data.byte_sidecar").found(&sidecar.pattern)])
}

fn notes(case: &ManifestCase) -> Outcome {
    let remarks = &case.manifest.notes;
    if remarks.is_empty() {
        return Outcome::NotApplicable;
    }
    let violation = |note: &String| crate::rules::Violation::new(crate::escape::visible(note), Vec::new());
    Outcome::from_violations(remarks.iter().map(violation).collect())
}
