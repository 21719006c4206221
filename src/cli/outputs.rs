//! Where a command writes: never over what it reads, and never over what it did not make.
//!
//! One policy for every flag that names an output. An output that is an input, by whatever path or link, is refused. So
//! are two outputs that are one file. A file that is there already is replaced without a question if its content says
//! that such a command made it, or if it is empty; any other only with `--force`, and in a run folder never.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::places::{find_same, full, is_below, is_of_kernel, is_same};
use super::previous::{Kind, is_previous};
use super::site::own_files;
use crate::manifest::{self, Manifest};
use crate::path_safety::folder_of;
#[cfg(target_os = "linux")]
use crate::rerun::evidence::{COMMENT, REPORT, STATEMENT};
use crate::run_folder::{OWN_PREFIX, RunFolder};
use crate::{atomic_write, regular_file};

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

/// A folder for the pages of a site.
struct SiteOutput {
    flag: String,
    path: PathBuf,
}

/// What a command will read and write, to be checked before it does anything.
#[derive(Default)]
pub struct Outputs {
    inputs: Vec<Input>,
    folders: Vec<PathBuf>,
    outputs: Vec<Output>,
    sites: Vec<SiteOutput>,
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
        if let Some(run) = &manifest.run {
            self.reads_folder(base.join(&run.folder));
        }
        self
    }

    /// What audits and plans start from: a folder, or a manifest with all that it names.
    pub fn reads_subject(&mut self, path: &Path) -> &mut Self {
        if path.is_dir() {
            return self.reads_folder(path);
        }
        self.reads("the manifest", path);
        match manifest::load(path) {
            Ok(manifest) => self.reads_all_named(&manifest, folder_of(path)),
            Err(_) => self,
        }
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

    /// A folder that gets the pages of a site, beside what else is there.
    pub fn writes_site(&mut self, flag: &str, path: impl Into<PathBuf>) -> &mut Self {
        self.sites.push(SiteOutput { flag: flag.to_string(), path: path.into() });
        self
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
                Kind::Artifact => add(folder.artifact(manifest.quantization.container), Kind::Artifact),
                Kind::Manifest => add(folder.manifest(), Kind::Manifest),
                Kind::Page => add(folder.page(), Kind::Page),
                Kind::Seeds => add(folder.seeds(), Kind::Seeds),
                Kind::TttTrace => add(folder.ttt_trace(), Kind::TttTrace),
                _ => {}
            }
        }
        for (from, to) in manifest::code_copies(manifest, base, folder.root()) {
            add(to, Kind::CopyOf(from));
        }
        self
    }

    /// What `rerun` writes into its run folder beside the folders of seeds.
    #[cfg(target_os = "linux")]
    pub fn writes_rerun(&mut self, folder: &Path) -> &mut Self {
        let names = [REPORT, COMMENT, STATEMENT].map(|name| folder.join(name));
        for path in names.into_iter().chain([RunFolder::new(folder).manifest()]) {
            self.outputs.push(Output { flag: "--out".into(), path, kind: Kind::OfRerun, can_force: false });
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
        self.sites.iter().try_for_each(|site| self.check_site(site, force))?;
        self.outputs.iter().try_for_each(|output| Ok(atomic_write::check_writable(&output.path)?))
    }

    fn check_site(&self, site: &SiteOutput, force: bool) -> anyhow::Result<()> {
        let SiteOutput { flag, path } = site;
        let shown = path.display();
        if let Some(folder) = self.folders.iter().find(|folder| is_below(path, folder)) {
            bail!("{flag} {shown} lies in {}, whose files are read; name another folder", folder.display());
        }
        if path.symlink_metadata().is_ok() && !path.is_dir() {
            bail!("{flag} {shown} is there and is no folder; name another");
        }
        for file in own_files(path)? {
            if let Some(output) = self.outputs.iter().find(|output| is_same(&output.path, &file)) {
                bail!("{} {} is a file of the site {flag} {shown}; name another", output.flag, output.path.display());
            }
            if file.symlink_metadata().is_err() {
                continue;
            }
            if let Some(input) = self.inputs.iter().find(|input| is_same(&input.path, &file)) {
                bail!("{flag} {shown}: {} is {}, which is read; name another folder", file.display(), input.what);
            }
            let is_ours = file.read_link().is_err() && is_previous(&file, &Kind::Page);
            if !is_ours && !force {
                bail!(
                    "{flag} {shown}: {} is there and was not made by this command; --force replaces it",
                    file.display()
                );
            }
        }
        Ok(())
    }

    fn check_output(&self, output: &Output, force: bool) -> anyhow::Result<()> {
        let Output { flag, path, kind, can_force } = output;
        let shown = path.display();
        // `new/../file` is the file itself once `new` is made.
        let path = &full(path).unwrap_or_else(|| path.clone());
        let is_there = path.symlink_metadata().is_ok();
        if is_of_kernel(path) {
            bail!("{flag} {shown} is a device or a descriptor; name a file, or leave {flag} out");
        }
        let is_special = path.metadata().ok().as_ref().and_then(regular_file::kind);
        if let Some(special) = is_special {
            bail!("{flag} {shown}: {special} is there; name a file");
        }
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(OWN_PREFIX)) {
            bail!("{flag} {shown}: names that begin with {OWN_PREFIX} are those of locks and unfinished files");
        }
        // A link is somebody's, whatever it leads to: a file would take its place.
        let link = path.read_link().ok();
        let is_ours = is_there && link.is_none() && is_previous(path, kind);
        // A manifest that a run wrote is its ledger: results are entered where it lies.
        let is_ledger = is_ours && is_manifest_of_run(kind, path);
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
        if let (Some(target), false) = (&link, force) {
            bail!(
                "{flag} {shown} is a link to {}; name that file, or put a file in the link's place with --force",
                target.display()
            );
        }
        if *kind == Kind::Raw && !force {
            bail!("{flag} {shown} is there, and nothing in it tells whose it is; --force replaces it");
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

/// Whether the output is the manifest in a run folder.
fn is_manifest_of_run(kind: &Kind, path: &Path) -> bool {
    match kind {
        Kind::Manifest => true,
        #[cfg(target_os = "linux")]
        Kind::OfRerun => path == RunFolder::new(folder_of(path)).manifest(),
        _ => false,
    }
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
    fn a_link_stays_and_leads_to_no_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("empty"), "").unwrap();
        std::os::unix::fs::symlink("empty", at("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        std::os::unix::fs::symlink("/proc/self/fd", at("fd")).unwrap();
        // A descriptor may be that of a file, and its link can be replaced where /dev can be written.
        let file = std::fs::File::create(at("open")).unwrap();
        let descriptor = format!("fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        std::os::unix::fs::symlink(at(&descriptor), at("out")).unwrap();
        for (name, force, expected) in [
            ("link", false, "a link to empty"),
            ("link", true, ""),
            ("dangling", false, "a link to nowhere"),
            (&descriptor, true, "a descriptor"),
            ("out", true, "a descriptor"),
            ("fd/new", true, "a descriptor"),
            ("new/../open", true, ""),
            (".golf-harness.lock", true, "locks"),
        ] {
            let mut outputs = Outputs::default();
            outputs.writes("-o", at(name), Kind::Report);
            let message = refusal(&outputs, force);
            assert!(message.contains(expected) && message.is_empty() == expected.is_empty(), "{name}: {message}");
        }
    }

    #[test]
    fn two_outputs_are_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut outputs = Outputs::default();
        outputs.writes("-o", folder.path().join("a"), Kind::Report);
        outputs.writes("--also", folder.path().join("./a"), Kind::Report);
        assert!(refusal(&outputs, true).contains("are one file"));
        let mut outputs = Outputs::default();
        outputs.writes("-o", folder.path().join("new/a"), Kind::Report);
        outputs.writes("--also", folder.path().join("new/sub/../a"), Kind::Report);
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
        // The folder on the way would be made, and the way lead there.
        let mut detour = Outputs::default();
        detour.writes("-o", folder.path().join("new/../notes.txt"), Kind::Report);
        assert!(refusal(&detour, false).contains("--force"));
        // Empty files, such as those of `mktemp`, have nothing to lose.
        std::fs::write(&path, "").unwrap();
        outputs.check(false).unwrap();
        let mut outputs = Outputs::default();
        outputs.writes("-o", "/dev/null", Kind::Report);
        assert!(refusal(&outputs, true).contains("a device"));
    }
}
