//! Whether a path that somebody else wrote stays inside its folder.

use std::path::{Component, Path, PathBuf};

/// How a path leaves its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeavesFolder {
    /// It is absolute or holds `..`.
    #[error("the path must stay inside the manifest's folder")]
    ByName,
    /// A symbolic link on the way leads out.
    #[error("the path leaves the manifest's folder through a link")]
    ByLink,
}

/// Where `path` leads from `folder`; refused if that is outside. What does not exist leads nowhere and is not refused.
pub fn join_inside(folder: &Path, path: &Path) -> Result<PathBuf, LeavesFolder> {
    if path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(LeavesFolder::ByName);
    }
    let full = folder.join(path);
    match (full.canonicalize().ok(), real(folder)) {
        (Some(target), Some(folder)) if !target.starts_with(&folder) => Err(LeavesFolder::ByLink),
        _ => Ok(full),
    }
}

/// The folder a file lies in; `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The folder itself, links and `..` resolved; `None` while it does not exist. An empty path is the current folder.
pub fn real(folder: &Path) -> Option<PathBuf> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    folder.canonicalize().ok()
}
