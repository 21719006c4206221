//! Where the file is looked for, and where it is not believed.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::path_safety::folder_of;

/// The file's name.
const NAME: &str = "golf-harness.toml";

/// Why a file is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// It lies inside of what is audited.
    Audited(PathBuf),
    /// It belongs to somebody else.
    Owner,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distrust::Audited(path) => {
                write!(f, "it lies in {}, which is audited and must not configure its audit", path.display())
            }
            Distrust::Owner => f.write_str("it belongs to another user; --config names it all the same"),
        }
    }
}

/// The nearest file in a folder or above it, up to the root of a repository.
pub(super) fn upwards(from: &Path) -> Option<PathBuf> {
    for folder in from.ancestors() {
        let file = folder.join(NAME);
        if file.symlink_metadata().is_ok() {
            return Some(file);
        }
        if folder.join(".git").symlink_metadata().is_ok() {
            return None;
        }
    }
    None
}

/// Whether the file, by its name or through links, lies in a folder that is audited, or beside a file that is.
pub(super) fn distrust_of_place(file: &Path, audited: &[PathBuf]) -> Option<Distrust> {
    let place = folder_of(file).canonicalize().ok();
    let target = file.canonicalize().ok();
    let is_below = |folder: &Path| [&place, &target].into_iter().flatten().any(|path| path.starts_with(folder));
    audited.iter().find_map(|path| {
        let folder = if path.is_dir() { path.as_path() } else { folder_of(path) };
        folder.canonicalize().is_ok_and(|folder| is_below(&folder)).then(|| Distrust::Audited(path.clone()))
    })
}

/// A file that somebody else put above the current folder, as anybody can in a shared one.
#[cfg(unix)]
pub(super) fn distrust_of_owner(file: &Path) -> Option<Distrust> {
    use std::os::unix::fs::MetadataExt;
    let owner = file.metadata().ok()?.uid();
    let is_trusted = owner == 0 || owner == rustix::process::geteuid().as_raw();
    (!is_trusted).then_some(Distrust::Owner)
}

/// Not told elsewhere.
#[cfg(not(unix))]
pub(super) fn distrust_of_owner(_: &Path) -> Option<Distrust> {
    None
}

/// The work tree that a folder is part of.
pub fn repository(folder: &Path) -> PathBuf {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let root = folder.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok());
    root.unwrap_or(&folder).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_counts_up_to_the_root_of_a_repository() {
        let root = tempfile::tempdir().unwrap();
        let [outside, repository, deep] = ["", "repository", "repository/a/b"].map(|path| root.path().join(path));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::create_dir(repository.join(".git")).unwrap();
        std::fs::write(outside.join(NAME), "").unwrap();
        assert_eq!(upwards(&deep), None);
        std::fs::write(repository.join(NAME), "").unwrap();
        assert_eq!(upwards(&deep), Some(repository.join(NAME)));
        std::fs::write(deep.join(NAME), "").unwrap();
        assert_eq!(upwards(&deep), Some(deep.join(NAME)));
        assert_eq!(super::repository(&deep), repository.canonicalize().unwrap());
    }

    #[test]
    fn a_file_in_what_is_audited_is_not_believed_by_whatever_name() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at("records/new")).unwrap();
        for file in ["golf-harness.toml", "records/new/golf-harness.toml", "records/new/manifest.yaml"] {
            std::fs::write(at(file), "").unwrap();
        }
        let inside = at("records/new/golf-harness.toml");
        for audited in ["records/new", "records", "records/new/manifest.yaml", ".", "records/../records/new"] {
            assert!(distrust_of_place(&inside, &[at(audited)]).is_some(), "{audited}");
        }
        assert_eq!(distrust_of_place(&at("golf-harness.toml"), &[at("records/new")]), None);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&inside, at("link.toml")).unwrap();
            assert!(distrust_of_place(&at("link.toml"), &[at("records")]).is_some());
        }
    }
}
