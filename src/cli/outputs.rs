//! Where a command writes: never over what it reads, and never over what it did not make.
//!
//! One policy for every flag that names an output. An output that is an input, by whatever path or link, is refused. So
//! are two outputs that are one file. A file that is there already is replaced without a question if its content says
//! that such a command made it, or if it is empty; any other only with `--force`, and in a run folder never.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::previous::{Kind, is_previous};
use crate::manifest::{self, Manifest};
use crate::path_safety::folder_of;
use crate::run_folder::RunFolder;
use crate::{atomic_write, regular_file};

/// Most files looked through when a forced output is held against the files of a folder.
const MAX_LOOKED_AT: usize = 100_000;

/// Something a command reads.
struct Input {
    /// What it is, such as `the manifest`.
    what: String,
    path: PathBuf,
}

/// Something a command writes.
struct Output {
    /// The flag that names it.
    flag: String,
    path: PathBuf,
    kind: Kind,
    /// Whether `--force` may replace a file of other origin.
    can_force: bool,
}

/// What a command will read and write, to be checked before it does anything.
#[derive(Default)]
pub struct Outputs {
    inputs: Vec<Input>,
    folders: Vec<PathBuf>,
    outputs: Vec<Output>,
}

impl Outputs {
    /// A file that is read, and what it is.
    pub fn reads(&mut self, what: &str, path: impl Into<PathBuf>) -> &mut Self {
        self.inputs.push(Input { what: what.to_string(), path: path.into() });
        self
    }

    /// [`Self::reads`] for what may not be given.
    pub fn reads_each<'a>(&mut self, what: &str, paths: impl IntoIterator<Item = &'a PathBuf>) {
        paths.into_iter().for_each(|path| {
            self.reads(what, path);
        });
    }

    /// A folder whose files are read.
    pub fn reads_folder(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.folders.push(path.into());
        self
    }

    /// Data and code that a manifest, whose paths start at `base`, names.
    pub fn reads_named(&mut self, manifest: &Manifest, base: &Path) -> &mut Self {
        for code in &manifest.code {
            self.reads("a code file", base.join(&code.path));
        }
        if let Some(tokenizer) = &manifest.data.tokenizer {
            self.reads("the tokenizer", base.join(&tokenizer.path));
        }
        self.reads_folder(base.join(&manifest.data.path))
    }

    /// [`Self::reads_named`], and the results it records: all that `verify` holds against it.
    pub fn reads_all_named(&mut self, manifest: &Manifest, base: &Path) -> &mut Self {
        self.reads_named(manifest, base);
        if let Some(artifact) = &manifest.artifact {
            self.reads("the artifact", base.join(&artifact.path));
        }
        if let Some(training) = &manifest.results.training {
            let files = [Some(&training.checkpoint), Some(&training.trace), training.log.as_ref()];
            for file in files.into_iter().flatten() {
                self.reads("a result of training", base.join(&file.path));
            }
        }
        self
    }

    /// A file that is written.
    pub fn writes(&mut self, flag: &str, path: impl Into<PathBuf>, kind: Kind) -> &mut Self {
        self.outputs.push(Output { flag: flag.to_string(), path: path.into(), kind, can_force: true });
        self
    }

    /// [`Self::writes`] for what may not be given.
    pub fn writes_each<'a>(&mut self, flag: &str, paths: impl IntoIterator<Item = &'a PathBuf>, kind: Kind) {
        paths.into_iter().for_each(|path| {
            self.writes(flag, path, kind.clone());
        });
    }

    /// What a run folder holds, and the code of `manifest` that is copied there from `base`.
    pub fn writes_run(&mut self, folder: &RunFolder, kinds: &[Kind], manifest: &Manifest, base: &Path) -> &mut Self {
        let mut add = |path: PathBuf, kind| {
            self.outputs.push(Output { flag: "--out".into(), path, kind, can_force: false });
        };
        let of_training = [folder.trace(), folder.training_state(), folder.checkpoint(), folder.train_log()];
        for kind in kinds {
            match kind {
                Kind::OfTraining => of_training.iter().for_each(|path| add(path.clone(), Kind::OfTraining)),
                Kind::Artifact => add(folder.artifact(), Kind::Artifact),
                Kind::Manifest => add(folder.manifest(), Kind::Manifest),
                _ => {}
            }
        }
        for (from, to) in manifest::code_copies(manifest, base, folder.root()) {
            add(to, Kind::CopyOf(from));
        }
        self
    }

    /// An error that names both files where one must not be written; nothing has been done then.
    pub fn check(&self, force: bool) -> anyhow::Result<()> {
        for (i, output) in self.outputs.iter().enumerate() {
            if let Some(other) = self.outputs[..i].iter().find(|other| is_same(&other.path, &output.path)) {
                bail!(
                    "{} {} and {} {} are one file; name two",
                    other.flag,
                    other.path.display(),
                    output.flag,
                    output.path.display()
                );
            }
            self.check_output(output, force)?;
        }
        self.outputs.iter().try_for_each(|output| Ok(atomic_write::check_writable(&output.path)?))
    }

    fn check_output(&self, output: &Output, force: bool) -> anyhow::Result<()> {
        let Output { flag, path, kind, can_force } = output;
        let shown = path.display();
        let is_there = path.symlink_metadata().is_ok();
        let is_special = path.metadata().ok().as_ref().and_then(regular_file::kind);
        if let Some(special) = is_special {
            bail!("{flag} {shown}: {special} is there; name a file");
        }
        let is_ours = is_there && is_previous(path, kind);
        // A manifest that a run wrote is its ledger: results are entered where it lies.
        let is_ledger = is_ours && *kind == Kind::Manifest;
        if let Some(input) = self.inputs.iter().find(|input| !is_ledger && is_same(&input.path, path)) {
            bail!("{flag} {shown} is {} ({}), which is read; name another file", input.what, input.path.display());
        }
        if !is_there || is_ours {
            return Ok(());
        }
        if let Some(folder) = self.folders.iter().find(|folder| is_below(path, folder)) {
            bail!("{flag} {shown} lies in {}, whose files are read; name another file", folder.display());
        }
        if !can_force {
            bail!("{shown} is there and was not made by a run; move it away, or choose another folder with --out");
        }
        if !force {
            bail!("{flag} {shown} is there and was not made by this command; --force replaces it");
        }
        match self.folders.iter().find_map(|folder| find_same(folder, path)) {
            Some(other) => bail!("{flag} {shown} is also {}, which is read; name another file", other.display()),
            None => Ok(()),
        }
    }
}

/// Whether two paths lead to one file, links followed; of files that do not exist, whether they would.
fn is_same(a: &Path, b: &Path) -> bool {
    match (identity(a), identity(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => full(a) == full(b),
        _ => false,
    }
}

/// What tells a file from every other, under whatever name.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    path.metadata().ok().map(|data| (data.dev(), data.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

/// The path with the links on its way resolved, the last part as it is.
fn full(path: &Path) -> Option<PathBuf> {
    let folder = folder_of(path);
    // A folder that is not there yet lies where its text says.
    let folder = folder.canonicalize().or_else(|_| std::path::absolute(folder)).ok()?;
    Some(folder.join(path.file_name()?))
}

/// Whether a path lies in a folder, by name or through links.
fn is_below(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    full(path).is_some_and(|path| path.starts_with(&folder))
        || path.canonicalize().is_ok_and(|path| path.starts_with(&folder))
}

/// A file in a folder that is the one at `path` under another name.
fn find_same(folder: &Path, path: &Path) -> Option<PathBuf> {
    let wanted = identity(path)?;
    let mut folders = vec![folder.to_path_buf()];
    let mut looked_at = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            looked_at += 1;
            if looked_at > MAX_LOOKED_AT {
                return None;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() && identity(&entry.path()).as_ref() == Some(&wanted) => {
                    return Some(entry.path());
                }
                _ => {}
            }
        }
    }
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn refusal(outputs: &Outputs, force: bool) -> String {
        outputs.check(force).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn an_input_is_recognized_under_every_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        std::fs::write(at("in"), "content").unwrap();
        std::fs::hard_link(at("in"), at("hard")).unwrap();
        std::os::unix::fs::symlink("in", at("soft")).unwrap();
        std::os::unix::fs::symlink(".", at("here")).unwrap();
        for name in ["in", "hard", "soft", "sub/../in", "here/in", "./in"] {
            let mut outputs = Outputs::default();
            outputs.reads("the manifest", at("in")).writes("-o", at(name), Kind::Report);
            for force in [false, true] {
                let message = refusal(&outputs, force);
                assert!(message.contains("the manifest") && message.contains(name), "{name}: {message}");
            }
        }
        let mut outputs = Outputs::default();
        outputs.reads("the manifest", at("in")).writes("-o", at("new"), Kind::Report);
        outputs.check(false).unwrap();
        assert_eq!(std::fs::read(at("in")).unwrap(), b"content");
    }

    #[test]
    fn what_lies_in_a_folder_that_is_read_stays_even_by_force() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("rec/sub")).unwrap();
        std::fs::write(at("rec/sub/train.log"), "log").unwrap();
        std::fs::hard_link(at("rec/sub/train.log"), at("elsewhere")).unwrap();
        for name in ["rec/sub/train.log", "elsewhere"] {
            let mut outputs = Outputs::default();
            outputs.reads_folder(at("rec")).writes("-o", at(name), Kind::Report);
            assert!(refusal(&outputs, true).contains("train.log"), "{name}");
        }
    }

    #[test]
    fn two_outputs_are_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut outputs = Outputs::default();
        outputs.writes("-o", folder.path().join("a"), Kind::Report);
        outputs.writes("--also", folder.path().join("./a"), Kind::Report);
        assert!(refusal(&outputs, true).contains("are one file"));
    }

    #[test]
    fn another_file_needs_force_and_a_device_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "mine").unwrap();
        let mut outputs = Outputs::default();
        outputs.writes("-o", &path, Kind::Report);
        assert!(refusal(&outputs, false).contains("--force"));
        outputs.check(true).unwrap();
        // Empty files, such as those of `mktemp`, have nothing to lose.
        std::fs::write(&path, "").unwrap();
        outputs.check(false).unwrap();
        let mut outputs = Outputs::default();
        outputs.writes("-o", "/dev/null", Kind::Report);
        assert!(refusal(&outputs, true).contains("a device"));
    }
}
