//! A small audit for the formats' tests: one failing folder, one clean manifest.

use super::{
    Assurance, Audit, Evidence, Fact, Finding, Level, PolicyRef, Report, Reporter, RuleId, Severity, SkipCause,
    Skipped, Status, SubjectFile, SubjectKind,
};
use crate::digest::ContentDigest;

/// Invented findings of every severity.
pub fn audit() -> Audit {
    let finding = |rule, severity, message: &str, evidence| Finding {
        rule: RuleId(rule),
        severity,
        message: message.into(),
        evidence,
        broken: false,
        incomplete: false,
        allowed: false,
    };
    let policy = PolicyRef { name: "10min_16mb".into(), effective: "2026-03-20".into() };
    let mut broken = finding("artifact_opens", Severity::Unknown, "the check stopped: disk error", Vec::new());
    broken.broken = true;
    let mut unread = finding(
        "code_not_parsed",
        Severity::Unknown,
        "tables.py: 5,000,000 bytes of source, not parsed",
        vec![Evidence::file("tables.py")],
    );
    unread.incomplete = true;
    let mut allowed =
        finding("date_not_iso", Severity::Note, "date is `pending`", vec![Evidence::at("submission.json", 7)]);
    allowed.allowed = true;
    let folder = Report {
        profile: None,
        subject: "records/track_10min_16mb/2026-03-20_Ten Layers".into(),
        kind: SubjectKind::RecordFolder,
        policy: policy.clone(),
        status: Status::Broken,
        assurance: Assurance { level: Level::Unreadable, next_needs: vec!["no failures: over_budget".into()] },
        facts: vec![Fact { name: "val_bpb", value: "1.1628".into() }],
        findings: vec![
            finding("single_seed", Severity::Pass, "3 seeds", Vec::new()),
            allowed,
            broken,
            unread,
            finding("hardware", Severity::Unknown, "no log names the GPUs", Vec::new()),
            finding(
                "code_network",
                Severity::Review,
                "urllib is imported",
                vec![Evidence::at("train_gpt.py", 12).found("import urllib.request")],
            ),
            finding(
                "readme_placeholder",
                Severity::Warning,
                "README calls its numbers placeholders",
                vec![
                    Evidence::at("README.md", 3).found("`submission.json` and `train.log` are placeholders | for now"),
                ],
            ),
            finding(
                "over_budget",
                Severity::Fail,
                "total 16,071,321 bytes is 71,321 over 16,000,000",
                vec![
                    Evidence::at("train.log", 210)
                        .found("Total submission size: 16071321 bytes")
                        .expected("16,000,000"),
                    Evidence::file("train_gpt.py"),
                ],
            ),
        ],
        not_applicable: Vec::new(),
        files: vec![SubjectFile { path: "train_gpt.py".into(), digest: ContentDigest::of(b"abc") }],
    };
    let manifest = Report {
        profile: None,
        subject: "manifests/smoke.yaml".into(),
        kind: SubjectKind::Manifest,
        policy,
        status: Status::Complete,
        assurance: Assurance { level: Level::Sealed, next_needs: Vec::new() },
        facts: Vec::new(),
        findings: vec![finding("over_budget", Severity::Pass, "15,481,841 bytes", Vec::new())],
        not_applicable: Vec::new(),
        files: vec![SubjectFile { path: "model.bin".into(), digest: ContentDigest::of(b"") }],
    };
    let skipped =
        vec![Skipped { path: "records/link".into(), reason: "a symbolic link".into(), cause: SkipCause::NoSubject }];
    Audit::new(vec![folder, manifest], skipped)
}

/// The sample in a format.
pub fn written(reporter: &dyn Reporter) -> String {
    written_of(reporter, &audit())
}

/// Any audit in a format.
pub fn written_of(reporter: &dyn Reporter, audit: &Audit) -> String {
    let mut out = Vec::new();
    reporter.write(audit, &mut out).expect("a Vec takes everything");
    String::from_utf8(out).expect("reports are UTF-8")
}
