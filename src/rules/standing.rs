//! Places a subject on the verdict ladder.

use super::{FolderCase, ManifestCase};
use crate::manifest::Track;
use crate::report::{Finding, Level, Rung, Standing};
use crate::submission::{Found, Part};

/// Where a manifest stands, given what the rules found.
pub fn of_manifest(case: &ManifestCase, findings: &[Finding]) -> Standing {
    let failures: Vec<&str> = names(findings, Level::Fail);
    if !failures.is_empty() {
        return Standing {
            rung: Rung::Undocumented,
            next_needs: vec![format!("no failures: {}", failures.join(", "))],
        };
    }
    let broken: Vec<&str> = findings.iter().filter(|f| f.broken).map(|f| f.rule.0).collect();
    if !broken.is_empty() {
        return Standing {
            rung: Rung::Undocumented,
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
        return Standing { rung: Rung::Documented, next_needs: needs };
    }
    let results = &case.manifest.results;
    if case.manifest.claim.metrics.val_bpb.is_none() {
        return Standing { rung: Rung::Sealed, next_needs: vec!["a claimed val_bpb to compare with".into()] };
    }
    if super::manifest::headline_score(results).is_none() {
        return Standing {
            rung: Rung::Sealed,
            next_needs: vec!["val_bpb recomputed from the artifact: `score` on the validation data".into()],
        };
    }
    if results.training.is_none() {
        return Standing { rung: Rung::Rescored, next_needs: vec!["a fresh training run: `reproduce`".into()] };
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
    Standing { rung: Rung::Retrained, next_needs: needs }
}

/// Where a record folder stands. Nothing in a folder can reach beyond `documented`: its artifact is in a format of its
/// own, so sealing and rescoring start with a manifest.
pub fn of_folder(_case: &FolderCase, findings: &[Finding]) -> Standing {
    let failures = names(findings, Level::Fail);
    if !failures.is_empty() {
        return Standing {
            rung: Rung::Undocumented,
            next_needs: vec![format!("no failures: {}", failures.join(", "))],
        };
    }
    Standing {
        rung: Rung::Documented,
        next_needs: vec![
            "an artifact sealed by a manifest: `verify --init` writes the manifest this folder implies".into(),
        ],
    }
}

fn names(findings: &[Finding], level: Level) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = findings.iter().filter(|f| f.level == level).map(|f| f.rule.0).collect();
    names.dedup();
    names
}
