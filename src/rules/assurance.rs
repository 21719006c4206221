//! The level of assurance that a subject reaches.

use super::{FolderCase, ManifestCase};
use crate::manifest::Track;
use crate::report::{Assurance, Finding, Level, Severity};
use crate::submission::{Found, Part};

/// How far a manifest was checked, given what the rules found.
pub fn of_manifest(case: &ManifestCase, findings: &[Finding]) -> Assurance {
    let failures: Vec<&str> = names(findings, Severity::Fail);
    if !failures.is_empty() {
        return Assurance {
            level: Level::Unreadable,
            next_needs: vec![format!("no failures: {}", failures.join(", "))],
        };
    }
    let broken: Vec<&str> = findings.iter().filter(|f| f.broken).map(|f| f.rule.0).collect();
    if !broken.is_empty() {
        return Assurance {
            level: Level::Unreadable,
            next_needs: vec![format!("checks that run: {}", broken.join(", "))],
        };
    }
    let here = |part| {
        let mut files = case.files.of_part(part).peekable();
        files.peek().is_some() && files.all(|file| matches!(file.found, Found::Digest(_)))
    };
    let mut needs = Vec::new();
    if !here(Part::Artifact) {
        needs.push("the artifact, with its digests in the manifest".to_string());
    }
    if !here(Part::Code) {
        needs.push("the code files that count, with their digests in the manifest".to_string());
    }
    if !needs.is_empty() {
        return Assurance { level: Level::Documented, next_needs: needs };
    }
    let results = &case.manifest.results;
    if case.manifest.claim.metrics.val_bpb.is_none() {
        return Assurance { level: Level::Sealed, next_needs: vec!["a claimed val_bpb to compare with".into()] };
    }
    if super::manifest::headline_score(results).is_none() {
        return Assurance {
            level: Level::Sealed,
            next_needs: vec!["val_bpb recomputed from the artifact: `score` on the validation data".into()],
        };
    }
    if results.training.is_none() {
        return Assurance { level: Level::Rescored, next_needs: vec!["a fresh training run: `reproduce`".into()] };
    }
    let mut needs = Vec::new();
    if case.manifest.claim.track != Track::TenMinutes {
        needs.push("an entry in the 10-minute track".to_string());
    }
    if (case.manifest.claim.seeds.len() as u64) < case.policy.limits.seeds {
        needs.push(format!("{} seeds", case.policy.limits.seeds));
    }
    needs.push(format!(
        "improvement over the standing record by {} nats at p < {}: `--against BOARD.yaml`",
        case.policy.limits.record_margin_nats, case.policy.limits.record_p
    ));
    Assurance { level: Level::Retrained, next_needs: needs }
}

/// How far a record folder was checked. Nothing in a folder can reach beyond `documented`: its artifact is in a format of its
/// own, so sealing and rescoring start with a manifest.
pub fn of_folder(_case: &FolderCase, findings: &[Finding]) -> Assurance {
    let failures = names(findings, Severity::Fail);
    if !failures.is_empty() {
        return Assurance {
            level: Level::Unreadable,
            next_needs: vec![format!("no failures: {}", failures.join(", "))],
        };
    }
    Assurance {
        level: Level::Documented,
        next_needs: vec![
            "an artifact sealed by a manifest: `verify --init` writes the manifest this folder implies".into(),
        ],
    }
}

fn names(findings: &[Finding], severity: Severity) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = findings.iter().filter(|f| f.severity == severity).map(|f| f.rule.0).collect();
    names.dedup();
    names
}
