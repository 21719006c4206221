//! What it ran on.

use super::DEFAULT;
use super::carriers::parts;
use crate::report::{Evidence, RuleId, Severity};
use crate::rules::{Check, EvidenceKind, FolderCase, Outcome, Rule, Tracks};

const MACHINE: Rule = Rule {
    tracks: Tracks::TenMinutes,
    evidence: EvidenceKind::Logs,
    reference: "challenge README: 10 minutes on 8xH100 SXM",
    ..DEFAULT
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: RuleId("not_8_gpus"),
        statement: "No run used 8 devices.",
        severity: Severity::Fail,
        why: "Ten minutes on another number of devices are other ten minutes.",
        example: "world_size:1",
        check: Check::Folder(world_size),
        ..MACHINE
    },
    Rule {
        id: RuleId("not_h100"),
        statement: "A log names other devices than H100.",
        why: "Seconds on other devices are other seconds.",
        example: "NVIDIA A100 80GB PCIe",
        check: Check::Folder(devices),
        ..MACHINE
    },
    Rule {
        id: RuleId("not_8xh100_by_claim"),
        statement: "submission.json names other hardware than 8xH100.",
        evidence: EvidenceKind::Files,
        why: "The caps are for 8xH100.",
        example: "\"hardware\": \"1xH100 SXM 80GB\"",
        check: Check::Folder(claimed),
        ..MACHINE
    },
];

fn world_size(case: &FolderCase) -> Outcome {
    let parts = parts(case.folder);
    let all = || case.folder.logs.iter().filter_map(|log| log.world_size.as_ref().map(|noted| (log, noted)));
    // A trial on one device beside the runs that carry the claim says nothing about them, and the other way round.
    let of_claim: Vec<_> = all().filter(|(log, noted)| parts.carry(log, noted.line)).collect();
    let noted = if of_claim.is_empty() { all().collect() } else { of_claim };
    if noted.is_empty() {
        return Outcome::unknown("no log gives the world size");
    }
    let wanted = case.policy.limits.devices;
    if noted.iter().any(|(_, noted)| noted.value == wanted) {
        return Outcome::HOLDS;
    }
    let evidence = noted
        .iter()
        .map(|(log, noted)| {
            Evidence::at(&log.path, noted.line).found(format!("world_size {}", noted.value)).expected(wanted)
        })
        .collect();
    let first = noted.first().map_or(0, |(_, noted)| noted.value);
    Outcome::violated(format!("world size {first}, {wanted} expected"), evidence)
}

fn devices(case: &FolderCase) -> Outcome {
    let kind = &case.policy.limits.device_kind;
    let mut any = false;
    let mut evidence = Vec::new();
    for log in &case.folder.logs {
        for device in &log.devices {
            any = true;
            if !device.value.contains(kind.as_str()) {
                evidence.push(Evidence::at(&log.path, device.line).found(&device.value).expected(kind));
            }
        }
    }
    match (any, evidence.first()) {
        (false, _) => Outcome::unknown("no log names the devices"),
        (true, None) => Outcome::HOLDS,
        (true, Some(first)) => {
            Outcome::violated(format!("ran on {}", first.found.clone().unwrap_or_default()), evidence)
        }
    }
}

fn claimed(case: &FolderCase) -> Outcome {
    let Some(json) = &case.folder.submission else { return Outcome::NotApplicable };
    let Some((key, text)) =
        ["hardware", "gpu", "gpus"].iter().find_map(|key| json.text_field(key).map(|text| (key, text)))
    else {
        return Outcome::unknown("submission.json names no hardware");
    };
    let limits = &case.policy.limits;
    let upper: String = text.to_ascii_uppercase().replace('×', "X").chars().filter(|c| !c.is_whitespace()).collect();
    let kind = upper.contains(&limits.device_kind.to_ascii_uppercase());
    let wanted = limits.devices.to_string();
    // "8xH100", "H100x8", "8 NVIDIA H100"; no count at all says nothing.
    let counts: Vec<String> = upper
        .match_indices('X')
        .flat_map(|(at, _)| {
            let before: String =
                upper[..at].chars().rev().take_while(char::is_ascii_digit).collect::<String>().chars().rev().collect();
            let after: String = upper[at + 1..].chars().take_while(char::is_ascii_digit).collect();
            [before, after]
        })
        .filter(|count| !count.is_empty() && count.len() <= 3)
        .collect();
    let count = counts.is_empty() || counts.contains(&wanted);
    if !upper.bytes().any(|byte| byte.is_ascii_digit()) {
        return Outcome::unknown("the hardware named is no machine");
    }
    if kind && count {
        return Outcome::holds(crate::report::quote(text));
    }
    Outcome::violated(
        format!("claimed on {}", crate::report::quote(text)),
        vec![
            Evidence::at(&json.path, json.line_of(key))
                .found(text)
                .expected(format!("{wanted}x{}", limits.device_kind)),
        ],
    )
}
