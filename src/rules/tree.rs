//! From the paths somebody gives to the subjects to check: manifests, record folders, trees of them.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Auditor;
use super::audit::{AuditError, Options};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::regular_file;
use crate::report::{Report, SkipCause, Skipped};

/// Folders entered below a path given; a clone of the challenge has about 2,000 record folders.
const MAX_FOLDERS: usize = 200_000;
/// Depth below a path given.
const MAX_DEPTH: usize = 16;

/// Something to check, and how reports name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AuditSubject {
    name: String,
    path: PathBuf,
    is_manifest: bool,
}

/// What checking some paths gave.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// One report a subject, in path order.
    pub reports: Vec<Report>,
    /// What lay in the way and was not examined.
    pub skipped: Vec<Skipped>,
}

/// Checks everything at or below `paths`, on all cores, in path order; gives the reports and what was not examined.
///
/// Interrupting gives `Ok(None)`: a report that leaves subjects out must not look complete.
pub fn paths(
    paths: &[PathBuf],
    options: &Options,
    auditor: &dyn Auditor,
    interrupt: &Interrupt,
    progress: &Progress,
) -> Result<Option<Checked>, AuditError> {
    let mut subjects = Vec::new();
    let mut skipped = Vec::new();
    for path in paths {
        find(path, &mut subjects, &mut skipped)?;
    }
    subjects.sort();
    subjects.dedup_by(|a, b| a.path == b.path);
    progress.set_len(subjects.len() as u64);
    let checked: Vec<Result<Option<Report>, AuditError>> = subjects
        .par_iter()
        .map(|subject| {
            if interrupt.is_raised() {
                return Ok(None);
            }
            let report = if subject.is_manifest {
                auditor.manifest(&subject.path, options, interrupt)
            } else {
                auditor.folder(&subject.path, subject.name.clone(), options, interrupt)
            };
            progress.advance(1);
            report.map(Some)
        })
        .collect();
    if interrupt.is_raised() {
        return Ok(None);
    }
    let mut reports = Vec::with_capacity(checked.len());
    for report in checked {
        reports.extend(report?);
    }
    skipped.sort();
    Ok(Some(Checked { reports, skipped }))
}

fn find(path: &Path, subjects: &mut Vec<AuditSubject>, skipped: &mut Vec<Skipped>) -> Result<(), AuditError> {
    let no_subject = |reason: String| AuditError::NoSubject { path: path.to_path_buf(), reason };
    let data = std::fs::metadata(path).map_err(|error| no_subject(error.to_string()))?;
    let name = path.to_string_lossy().into_owned();
    if data.is_file() {
        let is_yaml = path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml");
        if !is_yaml {
            return Err(no_subject("is neither a manifest (.yaml) nor a folder".into()));
        }
        subjects.push(AuditSubject { name, path: path.to_path_buf(), is_manifest: true });
        return Ok(());
    }
    if let Some(kind) = regular_file::kind(&data).filter(|_| !data.is_dir()) {
        return Err(no_subject(format!("it is {kind}, neither a manifest (.yaml) nor a folder")));
    }
    if is_record_folder(path) {
        subjects.push(AuditSubject { name, path: path.to_path_buf(), is_manifest: false });
        return Ok(());
    }
    let before = subjects.len();
    descend(path, subjects, skipped);
    if subjects.len() == before {
        // A folder given by name is checked even if it has nothing of a submission; that is then the finding.
        subjects.push(AuditSubject { name, path: path.to_path_buf(), is_manifest: false });
    }
    Ok(())
}

/// The record folders below a folder that is none itself.
pub fn record_folders_below(path: &Path) -> Vec<PathBuf> {
    let (mut subjects, mut skipped) = (Vec::new(), Vec::new());
    if !is_record_folder(path) {
        descend(path, &mut subjects, &mut skipped);
    }
    subjects.sort();
    subjects.into_iter().map(|subject| subject.path).collect()
}

/// Holds a submission.json or a train_gpt.py.
fn is_record_folder(path: &Path) -> bool {
    ["submission.json", "train_gpt.py"].iter().any(|file| path.join(file).symlink_metadata().is_ok())
}

fn descend(root: &Path, subjects: &mut Vec<AuditSubject>, skipped: &mut Vec<Skipped>) {
    let mut entered = 0;
    let mut folders = vec![(root.to_path_buf(), 0usize)];
    while let Some((folder, depth)) = folders.pop() {
        entered += 1;
        let skip =
            |reason: &str, cause| Skipped { path: folder.to_string_lossy().into_owned(), reason: reason.into(), cause };
        if entered > MAX_FOLDERS || depth > MAX_DEPTH {
            skipped.push(skip("too many folders, or too deep", SkipCause::OutOfReach));
            continue;
        }
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                skipped.push(skip(&error.to_string(), SkipCause::OutOfReach));
                continue;
            }
        };
        let is_track = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("track_"));
        let mut loose = 0;
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_symlink() {
                let path = path.to_string_lossy().into_owned();
                skipped.push(Skipped { path, reason: "a link; never followed".into(), cause: SkipCause::NoSubject });
            } else if kind.is_dir() {
                if entry.file_name() == ".git" {
                } else if is_track || is_record_folder(&path) {
                    subjects.push(AuditSubject { name: path.to_string_lossy().into_owned(), path, is_manifest: false });
                } else {
                    folders.push((path, depth + 1));
                }
            } else {
                loose += 1;
            }
        }
        if is_track && loose > 0 {
            skipped.push(skip("loose files in a track folder", SkipCause::NoSubject));
        }
    }
}
