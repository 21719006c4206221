//! Claims against one another, and against what was reproduced.

use std::f64::consts::LN_2;

use super::field;
use crate::artifact::Budget;
use crate::manifest::ClaimedNumber;
use crate::report::{RuleId, Severity};
use crate::rules::{Check, ManifestCase, Outcome, Rule, Violation};
use crate::units::group_digits;

const DEFAULT: Rule = Rule { reference: "arithmetic", severity: Severity::Fail, ..Rule::BLANK };

pub(super) const TOTALS: Rule = Rule {
    id: RuleId("claimed_total_is_not_the_sum"),
    statement: "The claimed total is not code plus model.",
    why: "Three numbers of which one is wrong; which one decides whether the submission fits.",
    example: "total 15,481,841 with model 15,425,120 and code 56,000",
    check: Check::Manifest(totals),
    ..DEFAULT
};

pub(super) const MODEL_SIZE: Rule = Rule {
    id: RuleId("claimed_size_differs_from_file"),
    statement: "A claimed size differs from the files the manifest names.",
    why: "A claim about other files than those submitted.",
    example: "claim.metrics.model_bytes: 15425120, artifact.bytes: 15431098",
    check: Check::Manifest(sizes),
    ..DEFAULT
};

pub(super) const IMPLIED_BYTES: Rule = Rule {
    id: RuleId("claimed_bytes_implied_wrong"),
    statement: "Tokens, loss and bits per byte do not fit the length of the validation text.",
    reference: "val_bpb = loss / ln 2 x tokens / bytes (train_gpt.py); FineWeb's validation text has 151,078,222 bytes (#1916)",
    why: "tokens x loss / (ln 2 x bpb) is the length of the text, whatever the tokenizer: a wrong one means a wrong number.",
    example: "loss 1.9634, bpb 1.10, 62,021,845 tokens: a text of 159.7 MB",
    check: Check::Manifest(implied_bytes),
    ..DEFAULT
};

pub(super) const PARAMETERS: Rule = Rule {
    id: RuleId("claimed_parameters_differ"),
    statement: "The claimed parameter count is not that of the model described.",
    why: "The manifest then describes another network than the one behind the claim.",
    example: "claim 24,730,705, model section 22,368,840",
    check: Check::Manifest(parameters),
    ..DEFAULT
};

pub(super) const REPRODUCED: Rule = Rule {
    id: RuleId("claim_not_reproduced"),
    statement: "A recorded result lies further from the claim than the stated tolerance.",
    reference: "tolerance section of the manifest",
    why: "The point of the whole exercise.",
    example: "claimed 1.1628, rescored 1.1702, tolerance 0.0001",
    check: Check::Manifest(reproduced),
    ..DEFAULT
};

fn totals(case: &ManifestCase) -> Outcome {
    let metrics = &case.manifest.claim.metrics;
    let (Some(total), Some(model), Some(code)) = (&metrics.total_bytes, &metrics.model_bytes, &metrics.code_bytes)
    else {
        return Outcome::unknown("total, model and code bytes are not all claimed");
    };
    let sum = model.value() + code.value();
    let allowance = total.rounding() + model.rounding() + code.rounding();
    if (total.value() - sum).abs() <= allowance {
        return Outcome::holds(format!("{total} = {model} + {code}"));
    }
    Outcome::violated(
        format!("{model} + {code} = {sum}, not {total}"),
        vec![field(case, "claim.metrics.total_bytes").found(total).expected(sum)],
    )
}

fn sizes(case: &ManifestCase) -> Outcome {
    let metrics = &case.manifest.claim.metrics;
    let names_code = !case.manifest.code.is_empty() || case.manifest.program.is_some();
    let code = Budget::code_of(case.manifest).0;
    let pairs = [
        ("model_bytes", &metrics.model_bytes, case.manifest.artifact.as_ref().map(|artifact| artifact.bytes.0)),
        ("code_bytes", &metrics.code_bytes, names_code.then_some(code)),
    ];
    let mut compared = 0;
    let mut violations = Vec::new();
    for (name, claimed, named) in pairs {
        let (Some(claimed), Some(named)) = (claimed, named) else { continue };
        compared += 1;
        if (claimed.value() - named as f64).abs() > 2.0 * claimed.rounding() {
            let message =
                format!("{name} is claimed as {claimed}; the files named add up to {}", group_digits(named.into()));
            violations.push(Violation::new(
                message,
                vec![field(case, &format!("claim.metrics.{name}")).found(claimed).expected(named)],
            ));
        }
    }
    if compared == 0 {
        return Outcome::unknown("no claimed size has a named file to compare with");
    }
    Outcome::from_violations(violations)
}

fn implied_bytes(case: &ManifestCase) -> Outcome {
    let metrics = &case.manifest.claim.metrics;
    let (Some(tokens), Some(loss), Some(bpb)) = (&metrics.val_tokens, &metrics.val_loss, &metrics.val_bpb) else {
        return Outcome::unknown("val_tokens, val_loss and val_bpb are not all claimed");
    };
    let positive = |number: &ClaimedNumber| number.value() > 0.0;
    if !(positive(tokens) && positive(loss) && positive(bpb)) {
        return Outcome::violated(
            "tokens, loss and bits per byte must be positive",
            vec![field(case, "claim.metrics").found(format!("{tokens} tokens, loss {loss}, bpb {bpb}"))],
        );
    }
    let implied = tokens.value() * loss.value() / (LN_2 * bpb.value());
    let rounding = loss.rounding() / loss.value() + bpb.rounding() / bpb.value();
    // What is the text? What was scored says best; else the challenge's, where the data is the challenge's.
    let scored = case.manifest.results.scores.values().map(|score| score.bytes).next();
    let is_fineweb = case.manifest.data.path.to_string_lossy().to_ascii_lowercase().contains("fineweb");
    let expected = match scored {
        Some(bytes) if bytes > 0 => bytes,
        _ if is_fineweb => case.policy.limits.val_text_bytes,
        _ => return Outcome::unknown("the length of the validation text is not known"),
    };
    let distance = implied / expected as f64 - 1.0;
    let text = format!("{} bytes implied, {} expected", group_digits(implied as i128), group_digits(expected.into()));
    if case.policy.limits.text_fits(distance, rounding) {
        return Outcome::holds(text);
    }
    Outcome::violated(
        format!("{text}: {:+.2} %", distance * 100.0),
        vec![field(case, "claim.metrics").found(format!("{tokens} tokens, loss {loss}, bpb {bpb}"))],
    )
}

fn parameters(case: &ManifestCase) -> Outcome {
    let Some(claimed) = &case.manifest.claim.metrics.parameters else {
        return Outcome::unknown("no parameter count is claimed");
    };
    let counted = crate::model::layout(&case.manifest.model)
        .iter()
        .map(|tensor| tensor.shape.iter().map(|&side| side as u64).fold(1, u64::saturating_mul))
        .fold(0u64, u64::saturating_add);
    if claimed.agrees_with(counted as f64) {
        return Outcome::holds(format!("{} parameters", group_digits(counted.into())));
    }
    Outcome::violated(
        format!("{claimed} parameters claimed; the model section describes {}", group_digits(counted.into())),
        vec![field(case, "claim.metrics.parameters").found(claimed).expected(counted)],
    )
}

fn reproduced(case: &ManifestCase) -> Outcome {
    let (Some(claimed), results) = (&case.manifest.claim.metrics.val_bpb, &case.manifest.results) else {
        return Outcome::unknown("no val_bpb is claimed");
    };
    let Some((label, score)) = super::headline_score(results) else {
        return Outcome::unknown(match super::headline_sample(results) {
            Some(sample) => format!("no score of the whole split is recorded, only {sample}"),
            None => "no score is recorded; run `score` or `reproduce`".into(),
        });
    };
    let retrained = results.training.is_some();
    let tolerance = &case.manifest.tolerance;
    let (allowed, how) =
        if retrained { (tolerance.retrained_bpb, "retrained") } else { (tolerance.rescored_bpb, "rescored") };
    let difference = score.val_bpb.0 - claimed.value();
    let text = format!("claimed {claimed}, {how} {:.8} ({difference:+.8}, tolerance {allowed})", score.val_bpb.0);
    if difference.abs() <= allowed + claimed.rounding() {
        return Outcome::holds(text);
    }
    Outcome::violated(
        text,
        vec![field(case, &format!("results.scores[{label}].val_bpb")).found(score.val_bpb).expected(claimed)],
    )
}
