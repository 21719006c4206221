//! What is to be run: a folder as it was handed in, or a manifest that says how.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::source::{Source, SourceKind};
use super::start::RANK_VARIABLES;
use crate::manifest::{LoadError, Manifest, RunConfig, load};
use crate::path_safety::folder_of;
use crate::submission::code::interface::{self, VariableRead};
use crate::submission::code::{Interface, Origin, Python, SourceFacts};
use crate::submission::{CodeText, RecordFolder};

/// Local modules of one script: more are not read.
const MAX_FILES: usize = 256;

/// Why there is nothing to plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// Neither a folder nor a file.
    #[error("{}: {source}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The manifest is not acceptable.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The manifest does not say how to run something.
    #[error(
        "{} has no `run:` section; `rerun FOLDER --plan -o FILE` writes a manifest with one from a submission's folder",
        .0.display()
    )]
    NoRun(PathBuf),
    /// The folder of the manifest's `run:` section.
    #[error("{}: run.folder: {} is not a folder", manifest.display(), folder.display())]
    NoFolder {
        /// The manifest.
        manifest: PathBuf,
        /// Where its folder should be.
        folder: PathBuf,
    },
}

/// A manifest with a `run:` section.
#[derive(Clone, Debug)]
pub struct ManifestRun {
    /// Path of the manifest, as given.
    pub path: PathBuf,
    /// Everything it says.
    pub manifest: Manifest,
    /// Its `run:` section.
    pub run: RunConfig,
}

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The submission.
    pub folder: RecordFolder,
    /// The manifest, if the plan is made from one.
    pub manifest: Option<ManifestRun>,
}

impl Subject {
    /// Reads a folder, or a manifest and the folder its `run:` section names. Nothing of it is executed.
    pub fn read(path: &Path) -> Result<Self, SubjectError> {
        let missing = |source| SubjectError::Missing { path: path.to_path_buf(), source };
        if std::fs::metadata(path).map_err(missing)?.is_dir() {
            return Ok(Subject::of_folder(RecordFolder::read(path)));
        }
        let manifest = load(path)?;
        let run = manifest.run.clone().ok_or_else(|| SubjectError::NoRun(path.to_path_buf()))?;
        let folder = folder_of(path).join(&run.folder);
        if !folder.is_dir() {
            return Err(SubjectError::NoFolder { manifest: path.to_path_buf(), folder });
        }
        let mut subject = Subject::of_folder(RecordFolder::read(&folder));
        subject.manifest = Some(ManifestRun { path: path.to_path_buf(), manifest, run });
        Ok(subject)
    }

    /// A folder that was read already.
    pub fn of_folder(folder: RecordFolder) -> Self {
        Subject { folder, manifest: None }
    }

    /// What the script, with the local modules it imports, can be told.
    pub(super) fn script(&self, path: &str) -> ScriptFacts {
        let interface = |facts: &SourceFacts| {
            let code = self.folder.code.iter().find(|code| code.path == facts.path)?;
            interface_of(code, facts)
        };
        let mut script = ScriptFacts::default();
        for facts in self.files_of(path).into_iter().take(MAX_FILES) {
            let Some(interface) = interface(facts) else { continue };
            script.reads_computed_names |= interface.reads_computed_names;
            for variable in &interface.variables {
                let known = script.variables.entry(variable.name.clone());
                known.or_insert_with(|| (facts.path.clone(), variable.clone()));
            }
            if facts.path == path {
                script.main = Some(interface);
            }
        }
        script
    }

    /// Whether a script, or a module of it, asks which of several processes it is.
    pub(in crate::rerun) fn reads_rank(&self, script: &str) -> bool {
        let facts = self.script(script);
        RANK_VARIABLES.iter().any(|name| facts.reads(name).is_some())
    }

    /// The script and every local module it imports, directly or not.
    pub(in crate::rerun) fn files_of(&self, script: &str) -> Vec<&SourceFacts> {
        let survey = &self.folder.survey.files;
        let mut by_module: BTreeMap<&str, Vec<&SourceFacts>> = BTreeMap::new();
        for facts in survey {
            let stem = facts.path.strip_suffix(".py").unwrap_or(&facts.path);
            let stem = stem.strip_suffix("/__init__").unwrap_or(stem);
            // `import a` finds `a.py` wherever it lies, and every file of a folder `a`.
            let package = facts.path.split_once('/').map(|(package, _)| package);
            let own = stem.rsplit('/').next();
            for module in own.into_iter().chain(package.filter(|package| Some(*package) != own)) {
                by_module.entry(module).or_default().push(facts);
            }
        }
        let mut files: Vec<&SourceFacts> = survey.iter().filter(|facts| facts.path == script).collect();
        let mut seen: BTreeSet<&str> = files.iter().map(|facts| facts.path.as_str()).collect();
        let mut at = 0;
        while let Some(file) = files.get(at).copied().filter(|_| at < MAX_FILES) {
            at += 1;
            for import in file.imports.iter().filter(|import| import.origin == Origin::Local) {
                let found = by_module.get(import.module.as_str()).into_iter().flatten();
                files.extend(found.filter(|facts| seen.insert(&facts.path)));
            }
        }
        files
    }
}

/// What a script can be told.
#[derive(Clone, Debug, Default)]
pub(super) struct ScriptFacts {
    /// `None` where nothing is known of it: too large, not parsed, or without a statement.
    pub main: Option<Interface>,
    /// Variables that it or its modules read, with the file of the first read.
    pub variables: BTreeMap<String, (String, VariableRead)>,
    /// Names of variables are worked out at run time.
    pub reads_computed_names: bool,
}

impl ScriptFacts {
    /// Where a variable is read.
    pub fn reads(&self, name: &str) -> Option<Source> {
        let (file, variable) = self.variables.get(name)?;
        Some(Source::at(SourceKind::Default, file, variable.line))
    }

    /// Whether it is known what the script reads, and all of it.
    pub fn is_known(&self) -> bool {
        self.main.is_some() && !self.reads_computed_names
    }
}

fn interface_of(code: &CodeText, facts: &SourceFacts) -> Option<Interface> {
    let packed = facts.packed.as_ref().and_then(|packed| packed.as_ref().ok());
    let text = packed.map(|packed| packed.source.as_str()).or(code.text.as_deref())?;
    let python = Python::parse(text).ok()?;
    let says_something = !python.module().body.is_empty() && python.syntax_errors().is_empty();
    says_something.then(|| interface::of(&python))
}
