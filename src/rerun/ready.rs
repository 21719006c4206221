//! From a plan to something that can be started.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::launch::{Caps, Launch, Limits, Mount, Python, Start, Steps};
use super::plan::{DataWanted, Plan, SourceKind, Subject};
use crate::data::SHARD_MAGIC;
use crate::manifest::{Launcher, MountRole, is_launcher_variable};
use crate::regular_file;
use crate::submission::FileKind;

/// Why a plan cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// Something is missing or ambiguous.
    #[error("the plan cannot be started: what is missing is listed above")]
    Open,
    /// A folder does not exist any more.
    #[error("{}: {source}", path.display())]
    Gone {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The submission names something as data that does not look like it.
    #[error(
        "the submission names {} as {what} ({place}), and that is not plainly so; if its script may read it, say so: \
         {flag} {}", path.display(), path.display()
    )]
    NotData {
        /// What it names.
        path: PathBuf,
        /// `data` or `tokenizer`.
        what: &'static str,
        /// Where.
        place: String,
        /// The flag that confirms it.
        flag: &'static str,
    },
}

/// What is not in the plan.
pub struct Terms {
    /// The interpreter.
    pub python: Python,
    /// What one seed may take.
    pub limits: Limits,
    /// How long.
    pub caps: Caps,
    /// How `srun` starts the script's own processes, where there is no sandbox; their number is the plan's.
    pub steps: Option<Steps>,
}

/// Makes a plan startable.
pub fn launch(subject: &Subject, plan: &Plan, terms: Terms) -> Result<Launch, NotReady> {
    let (Some(script), Some(launcher), true) = (&plan.script, &plan.launcher, plan.startable) else {
        return Err(NotReady::Open);
    };
    let processes = plan.processes.as_ref().map_or(1, |processes| processes.value);
    let start = match (launcher.value, terms.steps) {
        (Launcher::Python, _) => Start::Python,
        (Launcher::Torchrun, _) => Start::Torchrun(processes),
        (Launcher::Srun | Launcher::Sbatch, Some(steps)) => Start::Srun(Steps { processes, ..steps }),
        // Slurm chooses the machine; there, processes of one sandbox are started together.
        (Launcher::Srun | Launcher::Sbatch, None) if processes > 1 || subject.reads_rank(&script.value) => {
            Start::Torchrun(processes)
        }
        (Launcher::Srun | Launcher::Sbatch, None) => Start::Python,
    };
    let folder = real(&subject.folder.root)?;
    let mut launch = Launch {
        name: plan.name.clone(),
        files: shown(subject, &script.value),
        counted: subject.files_of(&script.value).into_iter().map(|facts| facts.path.clone()).collect(),
        start,
        script: script.value.clone(),
        arguments: plan.arguments.iter().map(|argument| argument.value.clone()).collect(),
        variables: plan
            .variables
            .iter()
            .filter(|variable| variable.is_set && !is_launcher_variable(&variable.name))
            .map(|variable| (variable.name.clone(), variable.value.clone()))
            .collect(),
        stated: BTreeMap::new(),
        data: Vec::new(),
        python: terms.python,
        limits: terms.limits,
        caps: terms.caps,
        folder,
    };
    if launch.counted.is_empty() {
        launch.counted.push(script.value.clone());
    }
    for wanted in &plan.data {
        mount(wanted, &mut launch)?;
    }
    Ok(launch)
}

/// Files of the folder that the script sees: not what it claims, and nothing that it made before.
fn shown(subject: &Subject, script: &str) -> Vec<String> {
    let is_shown = |kind| matches!(kind, FileKind::Code | FileKind::Tokenizer | FileKind::Other);
    let files = subject.folder.files.iter().filter(|file| is_shown(file.kind) || file.path == script);
    // A name with replaced characters is the name of no file.
    files.map(|file| file.path.clone()).filter(|path| !path.contains('\u{fffd}')).collect()
}

fn real(path: &Path) -> Result<PathBuf, NotReady> {
    path.canonicalize().map_err(|source| NotReady::Gone { path: path.to_path_buf(), source })
}

/// Puts data where the script looks for it, or tells the script where it is.
fn mount(wanted: &DataWanted, launch: &mut Launch) -> Result<(), NotReady> {
    let Some(found) = &wanted.found else { return Err(NotReady::Open) };
    let source = real(Path::new(found))?;
    let (what, flag) = match wanted.role {
        MountRole::Data => ("data", "--data-path"),
        MountRole::Tokenizer => ("tokenizer", "--tokenizer-path"),
    };
    if wanted.source.kind != SourceKind::Flag && !is_plainly(wanted.role, &source) {
        return Err(NotReady::NotData { path: source, what, place: wanted.source.to_string(), flag });
    }
    let stated = Path::new(&wanted.stated);
    let plain: PathBuf = stated.components().filter(|part| *part != Component::CurDir).collect();
    let is_below = plain.components().all(|part| matches!(part, Component::Normal(_)));
    let at = if is_below && !plain.as_os_str().is_empty() && !launch.folder.join(&plain).exists() {
        plain
    } else {
        // The path leads out of the working folder, or to the submission's own files: the script is told the real one.
        tell(wanted, &source, launch);
        source.clone()
    };
    if !launch.data.iter().any(|known| known.at == at) {
        launch.data.push(Mount { source, at });
    }
    // What lies inside of another mount comes after it.
    launch.data.sort_by(|a, b| a.at.cmp(&b.at));
    Ok(())
}

fn tell(wanted: &DataWanted, source: &Path, launch: &mut Launch) {
    let value = source.to_string_lossy().into_owned();
    let Some(told_by) = &wanted.told_by else { return };
    if !told_by.starts_with('-') {
        launch.stated.insert(told_by.clone(), wanted.stated.clone());
        launch.variables.insert(told_by.clone(), value);
        return;
    }
    for at in 0..launch.arguments.len() {
        if launch.arguments[at] == format!("{told_by}={}", wanted.stated) {
            launch.arguments[at] = format!("{told_by}={value}");
        } else if at > 0 && launch.arguments[at - 1] == *told_by && launch.arguments[at] == wanted.stated {
            launch.arguments[at].clone_from(&value);
        }
    }
}

/// Whether a path that nobody but the submission names is what it is said to be. A README that calls the home folder its
/// data must not open it.
fn is_plainly(role: MountRole, path: &Path) -> bool {
    let is_hidden = path.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'));
    let is_above = |other: Option<PathBuf>| other.is_some_and(|other| other.starts_with(path));
    if is_hidden || is_above(std::env::home_dir()) || is_above(std::env::current_dir().ok()) {
        return false;
    }
    match role {
        MountRole::Tokenizer => {
            let extension = path.extension().and_then(|extension| extension.to_str());
            path.is_file() && matches!(extension, Some("model" | "vocab" | "json"))
        }
        MountRole::Data => {
            holds_shard(path) || ["datasets", "tokenizers"].iter().all(|folder| path.join(folder).is_dir())
        }
    }
}

fn holds_shard(folder: &Path) -> bool {
    let magic = SHARD_MAGIC.to_le_bytes();
    let is_shard = |path: &Path| regular_file::read_head(path, magic.len() as u64).is_ok_and(|head| head == magic);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(4096).map(|entry| entry.path());
    let mut shards = entries.filter(|path| path.extension().is_some_and(|end| end == "bin") && path.is_file());
    shards.any(|path| is_shard(&path))
}
