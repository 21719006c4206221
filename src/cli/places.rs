//! Where a path leads, through links and folders that are not there yet.

use std::path::{Component, Path, PathBuf};

use crate::path_safety::folder_of;

/// File systems of which no file is an output: devices, and what the kernel says.
const NO_FILES: [&str; 3] = ["/dev", "/proc", "/sys"];
/// The part of them in which files lie.
const SHARED_MEMORY: &str = "/dev/shm";

/// Most files looked through when a forced output is held against the files of a folder.
const MAX_LOOKED_AT: usize = 100_000;

/// Whether something is at a path, or will be once the folders on the way are made.
pub fn is_there(path: &Path) -> bool {
    full(path).is_some_and(|path| path.symlink_metadata().is_ok())
}

/// What is written to as a folder must be one, or not be there yet.
pub fn check_folder(flag: &str, path: &Path) -> anyhow::Result<()> {
    let is_other = path.metadata().is_ok_and(|found| !found.is_dir());
    anyhow::ensure!(!is_other, "{flag} {} is a file, not a folder", path.display());
    Ok(())
}

/// Whether two paths lead to one file, links followed; of files that do not exist, whether they would.
pub fn is_same(a: &Path, b: &Path) -> bool {
    let (full_a, full_b) = (full(a), full(b));
    let there = |full: &Option<PathBuf>, path: &Path| identity(full.as_deref().unwrap_or(path));
    match (there(&full_a, a), there(&full_b, b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => full_a == full_b,
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
pub fn full(path: &Path) -> Option<PathBuf> {
    let folder = folder_of(path);
    let folder = std::path::absolute(folder).ok()?;
    // What is not there yet lies where its text says, below the last folder that is there.
    let there = folder.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    let (part, mut resolved) = there?;
    for below in folder.strip_prefix(part).ok()?.components() {
        match below {
            Component::ParentDir => drop(resolved.pop()),
            below => resolved.push(below),
        }
    }
    Some(resolved.join(path.file_name()?))
}

/// Whether a path, or a link on its way, leads to where the kernel keeps devices and descriptors.
pub fn is_of_kernel(path: &Path) -> bool {
    let mut at = path.to_path_buf();
    // As many links as the kernel follows.
    for _ in 0..40 {
        let Some(lies) = full(&at) else { return false };
        if NO_FILES.iter().any(|kernel| lies.starts_with(kernel)) && !lies.starts_with(SHARED_MEMORY) {
            return true;
        }
        match lies.read_link() {
            Ok(target) => at = folder_of(&lies).join(target),
            Err(_) => return false,
        }
    }
    false
}

/// Whether a path lies in a folder, by name or through links.
pub fn is_below(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    full(path).is_some_and(|path| path.starts_with(&folder))
        || path.canonicalize().is_ok_and(|path| path.starts_with(&folder))
}

/// A file in a folder that is the one at `path` under another name.
pub fn find_same(folder: &Path, path: &Path) -> Option<PathBuf> {
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
