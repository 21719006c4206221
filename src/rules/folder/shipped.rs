//! The script as it lies in the folder against the code the log counted.

use super::DEFAULT;
use super::carriers::parts;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule};
use crate::submission::log::SizeKind;
use crate::units::Bytes;

pub(super) const RULES: &[Rule] = &[Rule {
    id: RuleId("shipped_code_larger_than_logged"),
    statement: "With train_gpt.py as it is shipped the logged model is over the cap; the log counted less code.",
    reference: "challenge README, FAQ (launch commit a15093ada, 2026-03-18): code plus compressed model; custom (#1394, 2026-04-05; #1835, 2026-04-26): at the size of the file as shipped",
    severity: Severity::Fail,
    evidence: EvidenceKind::Logs,
    why: "The file that is shipped is the code that counts; the log's total was printed for a smaller one. False alarms: a packed script of the counted size that is shipped under another name.",
    example: "log: 15,940,000 + 59,000 = 15,999,000; train_gpt.py has 61,500: 16,001,500",
    check: Check::Folder(larger),
    ..DEFAULT
}];

fn larger(case: &FolderCase) -> Outcome {
    let Some(file) = case.folder.main_code() else { return Outcome::unknown("there is no train_gpt.py") };
    let bytes = file.digest.bytes.0;
    let cap = case.policy.limits.budget_bytes.0;
    let shipped: Vec<u64> =
        case.folder.code.iter().filter(|code| code.path.ends_with(".py")).map(|code| code.digest.bytes.0).collect();
    let mut compared = 0;
    let mut evidence = Vec::new();
    let mut worst = 0;
    for part in parts(case.folder).iter().filter(|part| part.carries) {
        let last = |kind| part.log.sizes_of(kind).rfind(|size| part.lines.contains(size.line));
        // What a script counts compressed is judged elsewhere.
        let (Some(model), Some(code), None) = (last(SizeKind::Model), last(SizeKind::Code), last(SizeKind::PackedCode))
        else {
            continue;
        };
        compared += 1;
        let counted = model.bytes.saturating_add(code.bytes);
        let total = model.bytes.saturating_add(bytes);
        if code.bytes < bytes && counted <= cap && total > cap && !shipped.contains(&code.bytes) {
            worst = worst.max(total);
            let found = format!("model {}, code {}", Bytes(model.bytes), Bytes(code.bytes));
            evidence.push(Evidence::at(&part.log.path, code.line).found(found));
        }
    }
    if compared == 0 {
        return Outcome::unknown("no log gives the sizes of model and code");
    }
    if evidence.is_empty() {
        return Outcome::HOLDS;
    }
    evidence.insert(0, Evidence::file(&file.path).found(format!("{} bytes", Bytes(bytes))));
    Outcome::violated(format!("with train_gpt.py as shipped {} bytes, over {}", Bytes(worst), Bytes(cap)), evidence)
}
