//! The code: what the file has, what submission.json claims, what the log counted.

use super::runs::sizes;
use super::{DEFAULT, cite};
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Violation};
use crate::submission::log::SizeKind;
use crate::units::{Bytes, group_digits};

const SOURCE: &str = "challenge README, FAQ: code counts; custom (#1394, #1412): at the size of the file as shipped";

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("code_bytes_differ_from_file"),
        statement: "The claimed code size is not that of train_gpt.py.",
        reference: SOURCE,
        why: "The file was edited after the run, or other files are counted, or something was left out.",
        example: "\"bytes_code\": 47686, train_gpt.py has 85,730",
        check: Check::Folder(claimed),
        ..DEFAULT
    },
    Rule {
        id: RuleId("code_bytes_counted_compressed"),
        statement: "The claimed code size looks like that of the code after compression.",
        reference: SOURCE,
        severity: Severity::Review,
        why: "Compressed code counts only if the compressed file is what is shipped.",
        example: "\"bytes_code\": 31730, train_gpt.py has 159,790",
        check: Check::Folder(compressed),
        ..DEFAULT
    },
    Rule {
        id: RuleId("over_budget_if_code_counted_uncompressed"),
        statement: "With train_gpt.py at its shipped size the total is over the cap; the log counts compressed code.",
        reference: SOURCE,
        severity: Severity::Review,
        why: "Whether the shipped file or a packed one counts decides whether it fits.",
        example: "model 15,910,712 + file 124,826 = 16,035,538; the log counted 28,060 bytes of code",
        check: Check::Folder(over_if_plain),
        ..DEFAULT
    },
    Rule {
        id: RuleId("log_code_size_differs_from_file"),
        statement: "No log counted code of the size train_gpt.py has.",
        reference: SOURCE,
        severity: Severity::Note,
        evidence: EvidenceKind::Logs,
        why: "The runs were made with another version of the script.",
        example: "Code size: 54510 bytes; train_gpt.py has 54,361",
        check: Check::Folder(logged),
        ..DEFAULT
    },
    Rule {
        id: RuleId("code_size_varies_between_logs"),
        statement: "The logs counted code of different sizes.",
        reference: "challenge README: all runs from the same submitted configuration (#2124)",
        evidence: EvidenceKind::Logs,
        why: "The seeds were not run with the same script.",
        example: "67,617 and 81,858 bytes",
        check: Check::Folder(varies),
        ..DEFAULT
    },
];

/// Below this part of the file's size a claimed code size is that of something compressed (scripts compress to 20-30 %).
const COMPRESSED_PART: f64 = 0.45;

fn file_size(case: &FolderCase) -> Option<u64> {
    case.folder.main_code().map(|code| code.digest.bytes.0)
}

fn claimed(case: &FolderCase) -> Outcome {
    let Some(json) = &case.folder.submission else { return Outcome::NotApplicable };
    let Some(claim) = json.code() else { return Outcome::unknown("no code size is claimed") };
    let Some(file) = file_size(case) else { return Outcome::unknown("there is no train_gpt.py to compare with") };
    let value = claim.number.value();
    if value <= 0.0 {
        return Outcome::unknown("no code size is claimed");
    }
    if value == file as f64 {
        return Outcome::holds(format!("{} bytes", Bytes(file)));
    }
    if value < COMPRESSED_PART * file as f64 {
        return Outcome::unknown("the claimed size looks compressed; see code_bytes_counted_compressed");
    }
    let all: u64 =
        case.folder.code.iter().filter(|code| code.path.ends_with(".py")).map(|code| code.digest.bytes.0).sum();
    if value == all as f64 {
        return Outcome::holds(format!("{} bytes in all Python files", Bytes(all)));
    }
    let delta = group_digits((value - file as f64) as i128);
    Outcome::violated(
        format!("{} claimed, train_gpt.py has {} ({delta})", claim.number, Bytes(file)),
        vec![cite(json, &claim).expected(file)],
    )
}

fn compressed(case: &FolderCase) -> Outcome {
    let Some(json) = &case.folder.submission else { return Outcome::NotApplicable };
    let (Some(claim), Some(file)) = (json.code(), file_size(case)) else {
        return Outcome::unknown("there is no claimed code size and train_gpt.py to compare");
    };
    let value = claim.number.value();
    if value <= 0.0 || value >= COMPRESSED_PART * file as f64 {
        return Outcome::HOLDS;
    }
    Outcome::violated(
        format!("{} claimed, train_gpt.py has {}", claim.number, Bytes(file)),
        vec![cite(json, &claim).expected(file)],
    )
}

fn over_if_plain(case: &FolderCase) -> Outcome {
    let Some(file) = file_size(case) else { return Outcome::unknown("there is no train_gpt.py") };
    let packed = sizes(case.folder, SizeKind::PackedCode);
    let (Some(&packed), Some(&model)) = (packed.last(), sizes(case.folder, SizeKind::Model).last()) else {
        return Outcome::NotApplicable;
    };
    let cap = case.policy.limits.budget_bytes;
    let total = model.saturating_add(file);
    // A shipped file no larger than what the log counted is the packed file itself.
    if total <= cap.0 || file <= packed.saturating_add(1024) || model.saturating_add(packed) > cap.0 {
        return Outcome::HOLDS;
    }
    Outcome::violated(
        format!(
            "model {} + train_gpt.py {} = {}; the logs count {} bytes of code",
            Bytes(model),
            Bytes(file),
            Bytes(total),
            Bytes(packed)
        ),
        vec![
            Evidence::file("train_gpt.py")
                .found(Bytes(file))
                .expected(format!("at most {}", cap.0.saturating_sub(model))),
        ],
    )
}

fn logged(case: &FolderCase) -> Outcome {
    let Some(file) = file_size(case) else { return Outcome::unknown("there is no train_gpt.py to compare with") };
    let logged = sizes(case.folder, SizeKind::Code);
    let packed = sizes(case.folder, SizeKind::PackedCode);
    if logged.is_empty() {
        return Outcome::unknown("no log says how large the code was");
    }
    if logged.contains(&file) || packed.contains(&file) {
        return Outcome::holds(format!("{} bytes", Bytes(file)));
    }
    let list: Vec<String> = logged.iter().map(|&bytes| Bytes(bytes).to_string()).collect();
    let evidence = case
        .folder
        .logs
        .iter()
        .filter_map(|log| log.sizes_of(SizeKind::Code).next().map(|size| (log, size)))
        .map(|(log, size)| Evidence::at(&log.path, size.line).found(Bytes(size.bytes)).expected(Bytes(file)))
        .collect();
    Outcome::violated(format!("logged {}; train_gpt.py has {}", list.join(", "), Bytes(file)), evidence)
}

fn varies(case: &FolderCase) -> Outcome {
    let parts = super::carriers::parts(case.folder);
    // What a run prints last is what it counted.
    let counted = |part: &super::carriers::Part| {
        part.log
            .sizes_of(SizeKind::Code)
            .rfind(|size| part.lines.contains(size.line))
            .map(|size| (size.line, size.bytes))
    };
    let of = |carried: bool| -> Vec<(&str, u64, u64)> {
        let chosen = parts.iter().filter(|part| part.carries || !carried);
        chosen.filter_map(|part| counted(part).map(|(line, bytes)| (part.log.path.as_str(), line, bytes))).collect()
    };
    let sizes = |found: &[(&str, u64, u64)]| {
        found.iter().map(|(_, _, bytes)| *bytes).collect::<std::collections::BTreeSet<u64>>()
    };
    let (of_claim, all) = (of(true), of(false));
    let is_other = sizes(&of_claim).len() <= 1;
    let found = if is_other { all } else { of_claim };
    let different = sizes(&found);
    match different.len() {
        0 => Outcome::unknown("no log says how large the code was"),
        1 => Outcome::HOLDS,
        _ => {
            let list: Vec<String> = different.iter().map(|&bytes| Bytes(bytes).to_string()).collect();
            let cite = |(path, line, bytes): &(&str, u64, u64)| Evidence::at(*path, *line).found(Bytes(*bytes));
            let whose = if is_other { "; those that carry the claim counted one size" } else { "" };
            let message = format!("{} bytes{whose}", list.join(", "));
            let violation = Violation::new(message, found.iter().map(cite).collect());
            Outcome::Violated(vec![if is_other { violation.graded(Severity::Note) } else { violation }])
        }
    }
}
