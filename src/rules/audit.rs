//! From a path to a report.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::profile;
pub use super::stopped::report as stopped;
use super::{Case, ChangeCase, FolderCase, ManifestCase, Policy, PolicyError, PolicyFile, assurance, evaluate};
use crate::manifest::{LoadError, Manifest, Track, load};
use crate::report::{Assurance, Fact, Finding, Level, Report, Status, SubjectFile, SubjectKind};
use crate::stats::Board;
use crate::submission::change::{Change, ChangeError, LeftOut, MAX_NEW_FOLDERS};
use crate::submission::{Found, ManifestFiles, RecordFolder, Step, Steps};
use crate::units::Bytes;

/// How to check, as far as the caller wants a say.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Apply the rules of this track instead of the one the subject names.
    pub track: Option<Track>,
    /// Apply the revision in force on this day instead of the latest.
    pub as_of: Option<String>,
    /// A policy file instead of the built-in ones.
    pub policy: Option<PolicyFile>,
    /// Rules whose violations are suppressed.
    pub allow: Vec<String>,
    /// Standing records to compare claims with.
    pub against: Option<Board>,
    /// Whether to gather what pages show besides the report.
    pub profile: Profiling,
    /// What the running process computed itself. Results that a manifest records are claims without it.
    #[serde(skip)]
    pub computed: Computed,
    /// Told what is read next.
    #[serde(skip)]
    pub steps: Steps,
}

/// Whether profiles of record folders are gathered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profiling {
    /// Reports alone.
    #[default]
    Skip,
    /// Reports with profiles.
    Collect,
}

/// Which results of a manifest the running process computed, rather than read from the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Computed {
    /// It scored the artifact.
    pub scored: bool,
    /// It trained the weights.
    pub trained: bool,
}

impl Options {
    /// The policy for a subject of this track.
    pub fn policy_for(&self, track: Track) -> Result<Policy, PolicyError> {
        let builtin;
        let file = match &self.policy {
            Some(file) => file,
            None => {
                builtin = PolicyFile::builtin(track)?;
                &builtin
            }
        };
        let policy = file.on(self.as_of.as_deref()).allowing(self.allow.iter().map(String::as_str))?;
        Ok(policy.against(self.against.clone()))
    }

    /// Refuses unknown names of rules before anything is read.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.policy_for(self.track_for(Track::TenMinutes)).map(drop)
    }

    /// The track whose rules apply: asked for, else the policy file's, else what the subject says.
    pub fn track_for(&self, subject: Track) -> Track {
        self.track.or(self.policy.as_ref().map(PolicyFile::track)).unwrap_or(subject)
    }
}

/// A subject that could not be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The manifest was not accepted.
    #[error(transparent)]
    Manifest(#[from] LoadError),
    /// The policy was not accepted.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The range was not read.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Whoever was to check the subject could not, or refused.
    #[error(transparent)]
    Auditor(#[from] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing to check there.
    #[error("{}: {reason}", path.display())]
    NoSubject {
        /// The path given.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Checks the record folder at `path`; `subject` is how the report names it.
pub fn folder(path: &Path, subject: String, options: &Options) -> Result<Report, AuditError> {
    let folder = RecordFolder::read_telling(path, &options.steps);
    options.steps.tell(Step::Checking);
    let track = options.track_for(folder.track());
    let policy = options.policy_for(track)?;
    let case = FolderCase { folder: &folder, track, policy: &policy };
    let evaluation = evaluate(&Case::Folder(case), track, &policy);
    let assurance = assurance::of_folder(&case, &evaluation.findings);
    let profile = match options.profile {
        Profiling::Skip => None,
        Profiling::Collect => Some(Box::new(profile(&case, &evaluation.findings))),
    };
    Ok(Report {
        subject,
        kind: SubjectKind::RecordFolder,
        policy: policy.reference(),
        status: Status::of(&evaluation.findings),
        assurance,
        facts: folder_facts(&folder, &evaluation.findings),
        findings: evaluation.findings,
        not_applicable: evaluation.not_applicable,
        files: folder
            .files
            .iter()
            .filter_map(|file| {
                let digest = file.digest?;
                Some(SubjectFile { path: crate::escape::visible(&file.path), digest })
            })
            .collect(),
        profile,
    })
}

/// Names of headline facts, in no order.
pub const FACT_NAMES: [&str; 10] = [
    "claim",
    "source",
    "author",
    "date",
    "val_bpb",
    "val_loss",
    "total_bytes",
    "train_seconds",
    "eval_seconds",
    "budget",
];

fn folder_facts(folder: &RecordFolder, findings: &[Finding]) -> Vec<Fact> {
    // What is left of the budget is asked of every folder, whether or not anything is wrong.
    let budget = findings.iter().find(|finding| finding.rule.0 == "over_budget");
    let budget = budget.map(|finding| Fact { name: "budget", value: finding.message.clone() });
    let Some(json) = &folder.submission else { return budget.into_iter().collect() };
    let text = |name, key| json.text_field(key).map(|value| Fact { name, value: crate::report::quote(value) });
    let total = json.total().map(|total| total.number.value()).filter(|total| total.fract() == 0.0 && *total >= 0.0);
    [
        text("claim", "name"),
        text("author", "author"),
        text("date", "date"),
        json.bpb().map(|bpb| Fact { name: "val_bpb", value: bpb.number.to_string() }),
        total.map(|total| Fact { name: "total_bytes", value: Bytes(total as u64).to_string() }),
        budget,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Checks the manifest at `path` and every file it names.
pub fn manifest(path: &Path, options: &Options) -> Result<Report, AuditError> {
    options.steps.tell(Step::Reading(&path.display().to_string()));
    let manifest = load(path)?;
    let track = options.track_for(manifest.claim.track);
    let policy = options.policy_for(track)?;
    let files = ManifestFiles::inspect(&manifest, path, &options.steps);
    options.steps.tell(Step::Checking);
    let case = ManifestCase { manifest: &manifest, files: &files, policy: &policy };
    let evaluation = evaluate(&Case::Manifest(case), track, &policy);
    let assurance = assurance::of_manifest(&case, &evaluation.findings, options.computed);
    Ok(Report {
        subject: path.display().to_string(),
        kind: SubjectKind::Manifest,
        policy: policy.reference(),
        status: Status::of(&evaluation.findings),
        assurance,
        facts: facts(&manifest),
        findings: evaluation.findings,
        not_applicable: evaluation.not_applicable,
        files: files
            .named
            .iter()
            .filter_map(|file| match file.found {
                Found::Digest(digest) => Some(SubjectFile { path: file.stated.path.display().to_string(), digest }),
                _ => None,
            })
            .collect(),
        profile: None,
    })
}

/// Checks a record folder on disk.
pub type FolderCheck<'a> = &'a dyn Fn(&Path, &Options) -> Result<Report, AuditError>;

/// Checks what a git range changes, and each record folder it adds.
///
/// The folders are taken out of the head commit into a temporary place and handed to `check_folder` with their path in
/// the repository; their reports follow the change's own.
pub fn change(
    repository: &Path,
    (base, head): (&str, &str),
    options: &Options,
    check_folder: Option<FolderCheck>,
) -> Result<Vec<Report>, AuditError> {
    let change = Change::read(repository, base, head)?;
    let scratch = tempfile::Builder::new().prefix("golf-harness-").tempdir().map_err(ChangeError::from)?;
    let mut left_out: Vec<LeftOut> = Vec::new();
    let mut reports = Vec::new();
    for (index, folder) in change.new_folders().enumerate() {
        if index >= MAX_NEW_FOLDERS {
            left_out.push(LeftOut { path: folder.path.clone(), reason: format!("folder {} of the change", index + 1) });
            continue;
        }
        let (place, left) = change.extract(folder, scratch.path())?;
        left_out.extend(left);
        if let Some(check_folder) = check_folder {
            let mut report = check_folder(&place, options)?;
            report.subject = folder.path.clone();
            reports.push(report);
        }
    }
    let track = options.track_for(Track::TenMinutes);
    let policy = options.policy_for(track)?;
    let case = ChangeCase { change: &change, left_out: &left_out, policy: &policy };
    let evaluation = evaluate(&Case::Change(case), track, &policy);
    let short = |commit: &str| commit.chars().take(SHORT_COMMIT).collect::<String>();
    let own = Report {
        subject: format!("{}..{}", short(&change.merge_base), short(&change.head)),
        kind: SubjectKind::Change,
        policy: policy.reference(),
        status: Status::of(&evaluation.findings),
        assurance: Assurance { level: Level::Unreadable, next_needs: vec!["a record folder checked by itself".into()] },
        facts: vec![Fact { name: "files_changed", value: change.files.len().to_string() }],
        findings: evaluation.findings,
        not_applicable: evaluation.not_applicable,
        files: Vec::new(),
        profile: None,
    };
    reports.insert(0, own);
    Ok(reports)
}

/// Digits of a commit in names for people.
const SHORT_COMMIT: usize = 12;

fn facts(manifest: &Manifest) -> Vec<Fact> {
    let claim = &manifest.claim;
    let metrics = &claim.metrics;
    let text =
        |name, value: &Option<String>| value.clone().map(|value| Fact { name, value: crate::escape::visible(&value) });
    let number = |name, value: &Option<crate::manifest::ClaimedNumber>| {
        value.as_ref().map(|value| Fact { name, value: value.to_string() })
    };
    let size = |name, value: &Option<crate::manifest::ClaimedNumber>| {
        value.as_ref().map(|value| Fact {
            name,
            value: match value.text().parse::<u64>() {
                Ok(bytes) => Bytes(bytes).to_string(),
                Err(_) => value.to_string(),
            },
        })
    };
    [
        text("claim", &claim.title),
        text("source", &claim.source),
        text("author", &claim.author),
        number("val_bpb", &metrics.val_bpb),
        number("val_loss", &metrics.val_loss),
        size("total_bytes", &metrics.total_bytes),
        number("train_seconds", &metrics.train_seconds),
        number("eval_seconds", &metrics.eval_seconds),
    ]
    .into_iter()
    .flatten()
    .collect()
}
