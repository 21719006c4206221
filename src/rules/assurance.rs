//! The level of assurance that a subject reaches.

use super::audit::Computed;
use super::{FolderCase, ManifestCase};
use crate::escape::visible;
use crate::manifest::{Manifest, ScoreRecord, Track};
use crate::report::{Assurance, Finding, Level, Severity, Status};
use crate::submission::{Found, Part};

/// How far a manifest was checked, given what the rules found and what the running process computed itself: results
/// that the file records are shown and count for nothing.
pub fn of_manifest(case: &ManifestCase, findings: &[Finding], computed: Computed) -> Assurance {
    let failures: Vec<&str> = names(findings, Severity::Fail);
    if !failures.is_empty() {
        return Assurance {
            level: Level::Unreadable,
            next_needs: vec![format!("no failures: {}", failures.join(", "))],
        };
    }
    if let Some(unexamined) = unexamined(findings) {
        return unexamined;
    }
    let here = |part| {
        let mut files = case.files.of_part(part).peekable();
        files.peek().is_some() && files.all(|file| matches!(file.found, Found::Digest(_)))
    };
    let mut needs = Vec::new();
    if !here(Part::Artifact) {
        needs.push("the artifact, with its digests in the manifest".to_string());
    }
    needs.extend(code_needed(case, here(Part::Code)));
    if !needs.is_empty() {
        return Assurance { level: Level::Documented, next_needs: needs };
    }
    let results = &case.manifest.results;
    if case.manifest.claim.metrics.val_bpb.is_none() {
        return Assurance { level: Level::Sealed, next_needs: vec!["a claimed val_bpb to compare with".into()] };
    }
    let recorded = super::manifest::headline_score(results);
    if recorded.is_none() || !computed.scored {
        let stated = recorded.map(|(_, score)| recorded_by(case.manifest, score));
        let sampled = super::manifest::headline_sample(results).map(ToString::to_string);
        let from = stated.or(sampled).map(|what| format!(" (recorded, not recomputed: {what})"));
        let need = format!(
            "val_bpb recomputed from the artifact: `score` or `reproduce` on the validation data{}",
            from.unwrap_or_default()
        );
        return Assurance { level: Level::Sealed, next_needs: vec![need] };
    }
    if results.training.is_none() || !computed.trained {
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

/// What keeps the code from being known: files, the program that runs in place of a script, or either.
fn code_needed(case: &ManifestCase, are_files_here: bool) -> Option<String> {
    let files = || "the code files that count, with their digests in the manifest".to_string();
    match &case.manifest.program {
        Some(_) if !case.manifest.code.is_empty() && !are_files_here => Some(files()),
        Some(program) if program.is_this_build() => None,
        Some(program) if program.source.is_some() => {
            Some(format!("a check by the build that the manifest counts as code: {program}"))
        }
        Some(_) => Some("the source of the program on record, as `train` and `reproduce` write it".to_string()),
        None => (!are_files_here).then(files),
    }
}

/// A score that a file states, with what it says of its making.
fn recorded_by(manifest: &Manifest, score: &ScoreRecord) -> String {
    let environment = manifest.environment.as_ref();
    let build = environment.map_or(String::new(), |environment| {
        format!(", golf-harness {} on {}", visible(&environment.harness), visible(&environment.platform))
    });
    format!("val_bpb {} by engine {}{build}", score.val_bpb, visible(&score.engine))
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
    if let Some(unexamined) = unexamined(findings) {
        return unexamined;
    }
    Assurance {
        level: Level::Documented,
        next_needs: vec![
            "an artifact sealed by a manifest: `verify --init` writes the manifest this folder implies".into(),
        ],
    }
}

/// The level of what was not wholly examined, whatever the rest of it would reach.
fn unexamined(findings: &[Finding]) -> Option<Assurance> {
    let of = |status: Status| {
        let mut names: Vec<&str> = findings.iter().filter(|f| f.status() == status).map(|f| f.rule.0).collect();
        names.dedup();
        names.join(", ")
    };
    let need = match Status::of(findings) {
        Status::Complete => return None,
        Status::Incomplete => format!("everything examined: {}", of(Status::Incomplete)),
        Status::Broken => format!("checks that run: {}", of(Status::Broken)),
    };
    Some(Assurance { level: Level::Unreadable, next_needs: vec![need] })
}

fn names(findings: &[Finding], severity: Severity) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = findings.iter().filter(|f| f.severity == severity).map(|f| f.rule.0).collect();
    names.dedup();
    names
}
