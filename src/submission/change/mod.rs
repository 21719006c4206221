//! What a range of git commits changes, read through the `git` program without a checkout.
//!
//! The repository is somebody else's. Only plumbing commands run, with no shell, no hooks, no user or system
//! configuration, no network, no external diff or text conversion, no replaced objects; blobs are read from the head
//! commit within bounds and written to a folder of our own.

mod error;
mod git;

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

pub use error::ChangeError;
use git::{Batch, commit, object_id, output};

/// More changed files than this are not listed.
pub const MAX_CHANGED_FILES: usize = 20_000;
/// More new record folders than this are not examined.
pub const MAX_NEW_FOLDERS: usize = 32;
/// A larger file is not taken out of the repository; no part of a 16 MB submission is larger.
pub const MAX_BLOB_BYTES: u64 = 256 << 20;
/// All files taken out for one change.
pub const MAX_TOTAL_BYTES: u64 = 1 << 30;

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// New.
    Added,
    /// Changed content or mode.
    Modified,
    /// Gone.
    Deleted,
}

/// What an entry of the head's tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// Another repository.
    Submodule,
    /// Deleted.
    None,
}

/// A file that differs between merge base and head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedFile {
    /// Path in the repository; bytes that are no UTF-8 appear as U+FFFD.
    pub path: String,
    /// What happened.
    pub status: Status,
    /// What it is now.
    pub entry: Entry,
    /// Object id of its content at the head.
    blob: String,
    /// Whether the path can be written to disk as it is.
    plain_name: bool,
}

/// A range of commits as a pull request shows it: head against the merge base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    repository: PathBuf,
    /// Commit of the base revision.
    pub base: String,
    /// Commit of the head revision.
    pub head: String,
    /// Commit both descend from.
    pub merge_base: String,
    /// Changed files, sorted by path.
    pub files: Vec<ChangedFile>,
    /// There were more than [`MAX_CHANGED_FILES`].
    pub truncated: bool,
    /// `records/TRACK/NAME` folders that the range adds, sorted.
    pub new_folders: Vec<String>,
    /// `records/TRACK/NAME` folders that were there before and are changed, sorted.
    pub old_folders: Vec<String>,
}

/// A file that stayed in the repository, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Path in the repository.
    pub path: String,
    /// Why.
    pub reason: String,
}

impl Change {
    /// Reads what lies between `base` and `head` in the repository at `path`.
    pub fn read(path: &Path, base: &str, head: &str) -> Result<Self, ChangeError> {
        let base = commit(path, base)?;
        let head = commit(path, head)?;
        let merge_base = match output(path, "merge-base", &[&base, &head]) {
            Ok(text) => object_id("merge-base", &text)?,
            Err(ChangeError::Failed { .. }) => return Err(ChangeError::NoMergeBase { base, head }),
            Err(other) => return Err(other),
        };
        let args = ["-r", "-z", "--raw", "--no-renames", "--no-ext-diff", "--no-textconv", "--abbrev=40"];
        let raw = output(path, "diff-tree", &[args.as_slice(), &["--no-commit-id", &merge_base, &head]].concat())?;
        let (files, truncated) = changed_files(&raw)?;
        let folders: BTreeSet<&str> = files.iter().filter_map(|file| record_folder(&file.path)).collect();
        let (mut new_folders, mut old_folders) = (Vec::new(), Vec::new());
        for folder in folders {
            let before = ["-z", "--name-only", "-d", &merge_base, "--", folder];
            let there = !output(path, "ls-tree", &before)?.is_empty();
            if there { &mut old_folders } else { &mut new_folders }.push(folder.to_string());
        }
        Ok(Change {
            repository: path.to_path_buf(),
            base,
            head,
            merge_base,
            files,
            truncated,
            new_folders,
            old_folders,
        })
    }

    /// Changed files inside a folder, given without a trailing `/`.
    pub fn inside<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a ChangedFile> {
        self.files.iter().filter(move |file| is_inside(&file.path, folder))
    }

    /// Changed files outside all new folders.
    pub fn outside(&self) -> impl Iterator<Item = &ChangedFile> {
        self.files.iter().filter(|file| !self.new_folders.iter().any(|folder| is_inside(&file.path, folder)))
    }

    /// Writes the head's files of one new folder below `target`, under their path in the repository.
    ///
    /// Links and submodules are not written; neither is what passes a bound or has a name that a file system could take
    /// for another. All of that comes back as left out.
    pub fn extract(&self, folder: &str, target: &Path) -> Result<Vec<LeftOut>, ChangeError> {
        let mut left_out = Vec::new();
        let mut leave = |path: &str, reason: &str| {
            left_out.push(LeftOut { path: path.to_string(), reason: reason.to_string() });
        };
        let mut batch = Batch::open(&self.repository)?;
        let mut total = 0u64;
        for file in self.inside(folder) {
            match file.entry {
                Entry::None => continue,
                Entry::Link => leave(&file.path, "a symbolic link"),
                Entry::Submodule => leave(&file.path, "a submodule"),
                Entry::File if !file.plain_name => leave(&file.path, "a name that is not plain"),
                Entry::File => {
                    let bytes = batch.size(&file.blob)?;
                    if bytes > MAX_BLOB_BYTES || total.saturating_add(bytes) > MAX_TOTAL_BYTES {
                        leave(&file.path, &format!("{bytes} bytes, too large to examine"));
                        continue;
                    }
                    total += bytes;
                    let destination = target.join(&file.path);
                    if let Some(parent) = destination.parent() {
                        std::fs::create_dir_all(parent)?;
                    }
                    // `create_new`: on a file system that ignores case, `README.md` must not replace `readme.md`.
                    match std::fs::File::create_new(&destination) {
                        Ok(mut out) => batch.copy(&file.blob, &mut out)?,
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                            leave(&file.path, "a name that differs from another only in case");
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        batch.close()?;
        Ok(left_out)
    }
}

/// `records/TRACK/NAME` of a path inside such a folder.
fn record_folder(path: &str) -> Option<&str> {
    let mut ends = path.match_indices('/').map(|(index, _)| index);
    let end = (path.starts_with("records/")).then(|| ends.nth(2)).flatten()?;
    path.get(..end)
}

fn is_inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Records of `diff-tree --raw -z`: `:MODE MODE OID OID STATUS NUL PATH NUL`.
fn changed_files(raw: &[u8]) -> Result<(Vec<ChangedFile>, bool), ChangeError> {
    let answer = |field: &[u8]| ChangeError::Answer {
        command: "diff-tree",
        answer: String::from_utf8_lossy(field).chars().take(80).collect(),
    };
    let mut fields = raw.split(|byte| *byte == 0);
    let mut files = Vec::new();
    while let Some(head) = fields.next().filter(|head| !head.is_empty()) {
        let name = fields.next().ok_or_else(|| answer(head))?;
        let text = std::str::from_utf8(head).map_err(|_| answer(head))?;
        let parts: Vec<&str> = text.trim_start_matches(':').split(' ').collect();
        let [_, mode, _, blob, status] = parts.as_slice() else { return Err(answer(head)) };
        let status = match status.bytes().next() {
            Some(b'A') => Status::Added,
            Some(b'D') => Status::Deleted,
            Some(b'M' | b'T') => Status::Modified,
            _ => return Err(answer(head)),
        };
        let entry = match *mode {
            "000000" => Entry::None,
            "120000" => Entry::Link,
            "160000" => Entry::Submodule,
            _ => Entry::File,
        };
        if files.len() == MAX_CHANGED_FILES {
            return Ok((files, true));
        }
        let plain_name = is_plain(name);
        let path = String::from_utf8_lossy(name).into_owned();
        files.push(ChangedFile { path, status, entry, blob: blob.to_string(), plain_name });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((files, false))
}

/// A relative path of ordinary parts, in UTF-8, without control characters, `\`, `:` or a part that git's own folder
/// could hide behind.
fn is_plain(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let ordinary = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    ordinary
        && !name.chars().any(|c| c.is_control() || matches!(c, '\\' | ':'))
        && !name
            .split('/')
            .any(|part| part.is_empty() || part.to_ascii_lowercase().starts_with(".git") && part.len() <= 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_records() {
        assert_eq!(record_folder("records/track_10min_16mb/a/train.log"), Some("records/track_10min_16mb/a"));
        assert_eq!(record_folder("records/track_10min_16mb/a/b/c"), Some("records/track_10min_16mb/a"));
        for outside in ["records/track_10min_16mb/README.md", "records/a", "src/records/x/y/z", "README.md"] {
            assert_eq!(record_folder(outside), None, "{outside}");
        }
        assert!(is_inside("records/t/a/x", "records/t/a") && !is_inside("records/t/ab/x", "records/t/a"));
    }

    #[test]
    fn only_plain_names_are_written() {
        for plain in [&b"records/t/a/train.log"[..], b"a/.gitignore", "a/\u{fc}".as_bytes()] {
            assert!(is_plain(plain), "{}", String::from_utf8_lossy(plain));
        }
        for odd in [
            &b"../x"[..],
            b"/etc/x",
            b"a/../b",
            b"a/.git/config",
            b"a/.GIT/x",
            b"a\\b",
            b"c:x",
            b"a\nb",
            b"\xff",
            b"a//b",
        ] {
            assert!(!is_plain(odd), "{}", String::from_utf8_lossy(odd));
        }
    }

    #[test]
    fn an_unexpected_answer_is_an_error() {
        let zero = "0".repeat(40);
        let one = format!(":100644 100644 {zero} {zero} M\0a\0");
        assert_eq!(changed_files(one.as_bytes()).unwrap().0.len(), 1);
        // No fields, an unknown status, and no path.
        for bad in ["x\0a\0", ":100644 100644 a b Q\0a\0", ":100644 100644 a b M"] {
            assert!(matches!(changed_files(bad.as_bytes()), Err(ChangeError::Answer { .. })), "{bad:?}");
        }
        // An empty path names no file that could be written.
        let empty = format!(":100644 100644 {zero} {zero} M\0\0");
        let [file] = &changed_files(empty.as_bytes()).unwrap().0[..] else { panic!("one file") };
        assert!(file.path.is_empty() && !file.plain_name);
    }
}
