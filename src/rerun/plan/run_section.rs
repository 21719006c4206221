//! The plan as the `run:` section of a manifest.

use std::path::{Path, PathBuf};

use super::document::{Plan, Problem, ProblemKind};
use super::machine::Machine;
use super::packages::{Interpreter, PackagesError};
use super::request::Request;
use super::subject::Subject;
use crate::manifest::{self, DataMount, LoadError, Manifest, RunConfig, canonical_yaml, is_launcher_variable};
use crate::path_safety::folder_of;
use crate::submission::{GAP, RecordFolder, implied_manifest};

impl Plan {
    /// What the plan would do, with `folder` as the submission's; `None` while script or launcher are open.
    pub fn run_section(&self, folder: &Path) -> Option<RunConfig> {
        let variables =
            self.variables.iter().filter(|variable| variable.is_set && !is_launcher_variable(&variable.name));
        Some(RunConfig {
            folder: folder.to_path_buf(),
            script: PathBuf::from(&self.script.as_ref()?.value),
            launcher: self.launcher.as_ref()?.value,
            processes: self.processes.as_ref()?.value,
            env: variables.map(|variable| (variable.name.clone(), variable.value.clone())).collect(),
            args: self.arguments.iter().map(|arg| arg.value.clone()).collect(),
            setup: self.setup.iter().map(|step| step.value.clone()).collect(),
            data: self
                .data
                .iter()
                .map(|data| DataMount {
                    role: data.role,
                    path: PathBuf::from(data.found.as_ref().unwrap_or(&data.stated)),
                    variable: data.told_by.clone(),
                })
                .collect(),
            seeds: self.seeds.as_ref().map_or_else(Vec::new, |seeds| seeds.value.clone()),
        })
    }
}

/// No machine at all: for what a folder alone says.
struct Nowhere;

impl Machine for Nowhere {
    fn gpus(&self) -> Vec<String> {
        Vec::new()
    }

    fn free_bytes(&self, _: &Path) -> Option<u64> {
        None
    }

    fn has_program(&self, _: &str) -> bool {
        false
    }

    fn packages(&self, _: &[String]) -> Result<Interpreter, PackagesError> {
        Err(PackagesError::NoAnswer { program: PathBuf::new() })
    }
}

/// Adds the `run:` section that a folder implies, where its files leave nothing open about it; else a note on the gap.
/// Nothing is started, no interpreter either.
pub fn imply_run(manifest: &mut Manifest, folder: RecordFolder) {
    let subject = Subject::of_folder(folder);
    let plan = super::plan(&subject, &Request::default(), &Nowhere);
    let open = |problem: &&Problem| problem.kind == ProblemKind::Ambiguous || problem.message.starts_with("script:");
    let open: Vec<&str> = plan.problems.iter().filter(open).map(|problem| problem.message.as_str()).collect();
    match plan.run_section(Path::new(".")).filter(|_| open.is_empty()) {
        Some(run) => {
            manifest.run = Some(run);
            // A README can hold what a manifest cannot.
            if let Err(error) = manifest::parse(&canonical_yaml(manifest), Path::new("")) {
                manifest.run = None;
                manifest.notes.push(format!("{GAP}run: {error}"));
            }
        }
        None => manifest.notes.push(format!("{GAP}run: {}", open.join("; "))),
    }
}

/// Why there is no manifest with the plan in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunSectionError {
    /// The plan leaves too much open.
    #[error("the plan has no script, launcher or number of processes yet; what is missing is listed above")]
    Open,
    /// What the plan says is no acceptable manifest.
    #[error(transparent)]
    Refused(#[from] LoadError),
    /// The current folder is gone.
    #[error("the current folder: {0}")]
    CurrentFolder(#[from] std::io::Error),
}

/// The text of the subject's manifest, or of the one its folder implies, with the plan as its `run:` section, for a file
/// at `output`.
pub fn manifest_with_run(subject: &Subject, plan: &Plan, output: &Path) -> Result<String, RunSectionError> {
    let text = match &subject.manifest {
        Some(known) => {
            let mut manifest = known.manifest.clone();
            put(&mut manifest, plan, &known.run.folder, (folder_of(&known.path), output))?;
            canonical_yaml(&manifest)
        }
        None => {
            let mut implied = implied_manifest(&subject.folder);
            put(&mut implied.manifest, plan, Path::new("."), (&subject.folder.root, output))?;
            implied.to_yaml()
        }
    };
    // What cannot be loaded again is not written.
    manifest::parse(&text, output)?;
    Ok(text)
}

/// Puts the plan into a manifest whose paths start in one folder, and moves the manifest to a file.
fn put(
    manifest: &mut Manifest,
    plan: &Plan,
    folder: &Path,
    (from, output): (&Path, &Path),
) -> Result<(), RunSectionError> {
    manifest.run = Some(plan.run_section(folder).ok_or(RunSectionError::Open)?);
    Ok(manifest::relocate(manifest, from, folder_of(output))?)
}
