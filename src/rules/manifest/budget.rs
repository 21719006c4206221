//! Code plus compressed model against the cap.

use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, ManifestCase, Outcome, Rule, Tracks};
use crate::submission::{Found, Part};
use crate::units::{Bytes, group_digits};

pub(super) const OVER_BUDGET: Rule = Rule {
    id: RuleId("manifest_over_budget"),
    statement: "Code plus compressed model exceed 16,000,000 bytes.",
    reference: "challenge README, FAQ: 16 MB is decimal, 16,000,000 bytes in total; exactly 16,000,000 passes",
    severity: Severity::Fail,
    tracks: Tracks::Both,
    evidence: EvidenceKind::Files,
    why: "The budget is the challenge. 16 MiB (16,777,216) is a common misreading.",
    example: "model 15,966,600 + code 104,721 = 16,071,321",
    check: Check::Manifest(over_budget),
};

pub(super) const CODE_SHIPPED: Rule = Rule {
    id: RuleId("manifest_without_code"),
    statement: "The manifest names no code file and no program, so the total leaves the code out.",
    reference: "challenge README, FAQ: code counts",
    severity: Severity::Warning,
    tracks: Tracks::Both,
    evidence: EvidenceKind::Files,
    why: "A total without code is smaller than what is judged.",
    example: "code: []",
    check: Check::Manifest(code_shipped),
};

/// A size, and whether the disk or only a statement vouches for it.
#[derive(Clone, Copy)]
struct Size {
    bytes: u64,
    measured: bool,
}

fn part_size(case: &ManifestCase, part: Part) -> Option<Size> {
    let mut total = Size { bytes: 0, measured: true };
    let mut any = false;
    for file in case.files.of_part(part) {
        any = true;
        match (&file.found, file.stated.bytes) {
            (Found::Digest(digest), _) => total.bytes = total.bytes.saturating_add(digest.bytes.0),
            (_, Some(stated)) => {
                total = Size { bytes: total.bytes.saturating_add(stated.0), measured: false };
            }
            (_, None) => return None,
        }
    }
    any.then_some(total)
}

fn claimed(number: &Option<crate::manifest::ClaimedNumber>) -> Option<Size> {
    let value = number.as_ref()?.value();
    // Sizes beyond 2^53 or below zero are no sizes; the cast is exact for the rest.
    (0.0..9e15).contains(&value).then_some(Size { bytes: value as u64, measured: false })
}

/// Code files, and the program that runs in place of a script.
fn code_size(case: &ManifestCase) -> Option<Size> {
    let program = case.manifest.program.as_ref();
    let program = program.map(|program| Size { bytes: program.source().bytes.0, measured: program.is_this_build() });
    let parts = part_size(case, Part::Code).into_iter().chain(program);
    parts.reduce(|a, b| Size { bytes: a.bytes.saturating_add(b.bytes), measured: a.measured && b.measured })
}

fn over_budget(case: &ManifestCase) -> Outcome {
    let metrics = &case.manifest.claim.metrics;
    let code = code_size(case).or_else(|| claimed(&metrics.code_bytes));
    let model = part_size(case, Part::Artifact).or_else(|| claimed(&metrics.model_bytes));
    let (sum, measured, how) = match (code, model) {
        (Some(code), Some(model)) => (
            code.bytes.saturating_add(model.bytes),
            code.measured && model.measured,
            format!("code {} + model {}", Bytes(code.bytes), Bytes(model.bytes)),
        ),
        _ => match claimed(&metrics.total_bytes) {
            Some(total) => (total.bytes, false, "claimed total".to_string()),
            None => return Outcome::unknown("neither code and model nor a total has a size"),
        },
    };
    let cap = case.policy.limits.budget_bytes;
    let margin = Bytes(sum).margin_to(cap);
    let basis = if measured { "measured" } else { "as claimed" };
    if margin < 0 {
        let over = group_digits(-margin);
        let mib = if sum <= MEBIBYTES_16 { "; below 16 MiB, but the cap is decimal" } else { "" };
        return Outcome::violated(
            format!("{how} = {} bytes ({basis}), {over} over {cap}{mib}", Bytes(sum)),
            vec![Evidence::file(&case.files.manifest_name).found(Bytes(sum)).expected(format!("at most {cap}"))],
        );
    }
    Outcome::holds(format!("{how} = {} bytes ({basis}), {} bytes to spare", Bytes(sum), group_digits(margin)))
}

/// 16 MiB, the usual misreading of the cap.
const MEBIBYTES_16: u64 = 16 * 1024 * 1024;

fn code_shipped(case: &ManifestCase) -> Outcome {
    if !case.manifest.code.is_empty() {
        return Outcome::HOLDS;
    }
    if let Some(program) = &case.manifest.program {
        return Outcome::holds(format!("the code is {program}: {} bytes", program.source().bytes));
    }
    match &case.manifest.claim.metrics.code_bytes {
        Some(claimed) => Outcome::holds(format!("no code file is named, but {claimed} bytes of code are claimed")),
        None => Outcome::violated("no code file is named and no code size claimed", vec![super::field(case, "code")]),
    }
}
