//! What a range of git commits changes, read through the `git` program without a checkout.
//!
//! The repository is somebody else's. Only plumbing commands run, with no shell, no hooks, no user or system
//! configuration, no network, no external diff or text conversion, no replaced objects; blobs are read from the head
//! commit within bounds and written to a folder of our own.

mod error;
mod git;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

pub use error::ChangeError;
use git::{Ask, Blobs, commit, listing, object_id, output};

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
    /// The path, byte for byte.
    name: Vec<u8>,
    /// Object id of its content at the head.
    blob: String,
}

/// A folder `records/TRACK/NAME` that the range touches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TouchedFolder {
    /// Path in the repository, byte for byte.
    name: Vec<u8>,
    /// Path in the repository; bytes that are no UTF-8 appear as U+FFFD.
    pub path: String,
    /// Whether the merge base has it, too.
    pub is_old: bool,
    /// A folder of the merge base whose name differs from this new one only in case.
    pub twin: Option<String>,
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
    /// There were more files than [`MAX_CHANGED_FILES`], or their names were longer than what is read.
    pub truncated: bool,
    /// `records/TRACK/NAME` folders that the range touches, sorted.
    pub folders: Vec<TouchedFolder>,
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
        let args = ["-r", "-z", "--raw", "--no-abbrev", "--no-renames", "--no-ext-diff", "--no-textconv"];
        let revisions = ["--ignore-submodules=none", "--no-commit-id", &merge_base, &head];
        let (raw, is_cut) = listing(path, "diff-tree", &[args.as_slice(), &revisions].concat())?;
        let (files, truncated) = changed_files(&raw, is_cut)?;
        let touched: BTreeSet<&[u8]> = files.iter().filter_map(|file| record_folder(&file.name)).collect();
        // One question for all folders: a range may touch thousands.
        let before = match touched.is_empty() {
            true => Vec::new(),
            false => output(path, "ls-tree", &["-r", "-d", "-z", "--full-tree", "--name-only", &merge_base])?,
        };
        let before: BTreeSet<&[u8]> = before.split(|byte| *byte == 0).collect();
        let lower = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase();
        let twins: BTreeMap<String, &[u8]> = before.iter().map(|name| (lower(name), *name)).collect();
        let folder = |name: &[u8]| {
            let is_old = before.contains(name);
            let twin = twins.get(&lower(name)).filter(|_| !is_old).map(|twin| shown(twin));
            TouchedFolder { name: name.to_vec(), path: shown(name), is_old, twin }
        };
        let folders = touched.into_iter().map(folder).collect();
        Ok(Change { repository: path.to_path_buf(), base, head, merge_base, files, truncated, folders })
    }

    /// Folders that the range adds.
    pub fn new_folders(&self) -> impl Iterator<Item = &TouchedFolder> {
        self.folders.iter().filter(|folder| !folder.is_old)
    }

    /// Folders that were there before and are changed.
    pub fn old_folders(&self) -> impl Iterator<Item = &TouchedFolder> {
        self.folders.iter().filter(|folder| folder.is_old)
    }

    /// Changed files inside a folder.
    pub fn inside<'a>(&'a self, folder: &'a TouchedFolder) -> impl Iterator<Item = &'a ChangedFile> {
        self.files.iter().filter(move |file| is_inside(&file.name, &folder.name))
    }

    /// Changed files outside all record folders.
    pub fn outside(&self) -> impl Iterator<Item = &ChangedFile> {
        self.files.iter().filter(|file| record_folder(&file.name).is_none())
    }

    /// Writes the head's files of one new folder below `target`, under their path in the repository.
    ///
    /// Links and submodules are not written; neither is what passes a bound or has a name that this file system does not
    /// take, or takes for another. All of that comes back as left out.
    ///
    /// Gives where the folder was written, too.
    pub fn extract(&self, folder: &TouchedFolder, target: &Path) -> Result<(PathBuf, Vec<LeftOut>), ChangeError> {
        let mut left_out = Vec::new();
        let mut leave = |path: &str, reason: &str| {
            left_out.push(LeftOut { path: path.to_string(), reason: reason.to_string() });
        };
        let mut files = Vec::new();
        for file in self.inside(folder) {
            match (file.entry, native(&file.name)) {
                (Entry::None, _) => {}
                (Entry::Link, _) => leave(&file.path, "a symbolic link"),
                (Entry::Submodule, _) => leave(&file.path, "a submodule"),
                (Entry::File, None) => leave(&file.path, "a name that no file can have here"),
                (Entry::File, Some(name)) => files.push((file, target.join(name))),
            }
        }
        let blobs = |files: &[(&ChangedFile, PathBuf)], ask| {
            let blobs: Vec<&str> = files.iter().map(|(file, _)| file.blob.as_str()).collect();
            Blobs::ask(&self.repository, ask, &blobs)
        };
        let mut sizes = blobs(&files, Ask::Size)?;
        let mut total = 0u64;
        let mut fitting = Vec::with_capacity(files.len());
        for (file, place) in files {
            let bytes = sizes.size()?;
            if bytes > MAX_BLOB_BYTES || total.saturating_add(bytes) > MAX_TOTAL_BYTES {
                leave(&file.path, &format!("{bytes} bytes, too large to examine"));
            } else {
                total += bytes;
                fitting.push((file, place));
            }
        }
        let mut contents = blobs(&fitting, Ask::Content)?;
        for (file, place) in fitting {
            match create(&place) {
                Ok(mut out) => contents.copy(&mut out)?,
                Err(error) => {
                    leave(&file.path, unwritable(&error).ok_or(error)?);
                    contents.copy(&mut io::sink())?;
                }
            }
        }
        // Whatever a name is, it was checked before the first file was written below it; without one there is nothing.
        let root = native(&folder.name).map_or_else(|| target.join("nothing"), |name| target.join(name));
        Ok((root, left_out))
    }
}

/// A new file and the folders above it.
///
/// `create_new`: on a file system that ignores case, `README.md` must not replace `readme.md`.
fn create(path: &Path) -> io::Result<std::fs::File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::File::create_new(path)
}

/// Why a name cannot be written here, if it is the name.
fn unwritable(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            Some("a name that this file system takes for another's")
        }
        io::ErrorKind::InvalidFilename => Some("a name that is too long for this file system"),
        io::ErrorKind::InvalidInput => Some("a name that this file system does not take"),
        _ => None,
    }
}

/// `records/TRACK/NAME` of a path inside such a folder.
fn record_folder(path: &[u8]) -> Option<&[u8]> {
    let mut ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
    let end = path.starts_with(b"records/").then(|| ends.nth(2)).flatten()?;
    path.get(..end)
}

fn is_inside(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.first() == Some(&b'/'))
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Records of `diff-tree --raw -z`: `:MODE MODE OID OID STATUS NUL PATH NUL`.
/// If it `is_cut`, the last record may be half of one and is left out.
fn changed_files(raw: &[u8], is_cut: bool) -> Result<(Vec<ChangedFile>, bool), ChangeError> {
    // Whole fields only.
    let end = raw.iter().rposition(|byte| *byte == 0).map_or(0, |end| end + 1);
    let raw = if is_cut { raw.get(..end).unwrap_or(&[]) } else { raw };
    let answer = |field: &[u8]| ChangeError::Answer {
        command: "diff-tree",
        answer: String::from_utf8_lossy(field).chars().take(80).collect(),
    };
    let mut fields = raw.split(|byte| *byte == 0);
    let mut files = Vec::new();
    while let Some(head) = fields.next().filter(|head| !head.is_empty()) {
        // The last of the fields is empty: what stands behind the last zero.
        let name = match fields.next() {
            Some(name) if !(is_cut && name.is_empty()) => name,
            _ if is_cut => break,
            _ => return Err(answer(head)),
        };
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
        files.push(ChangedFile { path: shown(name), status, entry, name: name.to_vec(), blob: blob.to_string() });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((files, is_cut))
}

/// A path of git as one of this system: relative, of ordinary parts, none of them `.git`, which git's own folder is.
fn native(name: &[u8]) -> Option<PathBuf> {
    #[cfg(unix)]
    let path = {
        use std::os::unix::ffi::OsStrExt;
        PathBuf::from(std::ffi::OsStr::from_bytes(name))
    };
    // Elsewhere `\` separates, `:` names a drive or a stream, and names are no bytes.
    #[cfg(not(unix))]
    let path = {
        let name = std::str::from_utf8(name).ok()?;
        let odd = |c: char| c.is_control() || matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
        if name.chars().any(odd) {
            return None;
        }
        PathBuf::from(name)
    };
    let ordinary = path.components().all(|part| matches!(part, Component::Normal(_)));
    // `components` passes over empty parts and `.`.
    let odd = |part: &[u8]| part.is_empty() || part == b"." || part.eq_ignore_ascii_case(b".git");
    (ordinary && !name.split(|byte| *byte == b'/').any(odd)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_records() {
        let folder = |path: &'static str| record_folder(path.as_bytes()).map(shown);
        assert_eq!(folder("records/track_10min_16mb/a/train.log").as_deref(), Some("records/track_10min_16mb/a"));
        assert_eq!(folder("records/track_10min_16mb/a/b/c").as_deref(), Some("records/track_10min_16mb/a"));
        for outside in ["records/track_10min_16mb/README.md", "records/a", "src/records/x/y/z", "README.md"] {
            assert_eq!(folder(outside), None, "{outside}");
        }
        assert!(is_inside(b"records/t/a/x", b"records/t/a") && !is_inside(b"records/t/ab/x", b"records/t/a"));
    }

    #[test]
    fn only_names_below_the_target_are_written() {
        for fine in [&b"records/t/a/train.log"[..], b"a/.gitignore", "a/\u{fc}".as_bytes(), b"-a/*.py"] {
            let fine = native(fine).is_some() || cfg!(windows);
            assert!(fine);
        }
        if cfg!(unix) {
            for odd in [&b"a\\b"[..], b"c:x", b"a\nb", b"a\tb", b"\xff", b":(glob)a"] {
                assert!(native(odd).is_some(), "{}", shown(odd));
            }
        }
        for bad in [&b"../x"[..], b"/etc/x", b"a/../b", b"a/./b", b"a/.git/config", b"a/.GIT/x", b"a//b", b"", b"a/"] {
            assert_eq!(native(bad), None, "{}", shown(bad));
        }
    }

    #[test]
    fn an_unexpected_answer_is_an_error() {
        let zero = "0".repeat(40);
        let one = format!(":100644 100644 {zero} {zero} M\0a\0");
        assert_eq!(changed_files(one.as_bytes(), false).unwrap().0.len(), 1);
        // No fields, an unknown status, and no path.
        for bad in ["x\0a\0", ":100644 100644 a b Q\0a\0", ":100644 100644 a b M"] {
            assert!(matches!(changed_files(bad.as_bytes(), false), Err(ChangeError::Answer { .. })), "{bad:?}");
        }
        // An empty path names no file that could be written.
        let empty = format!(":100644 100644 {zero} {zero} M\0\0");
        let [file] = &changed_files(empty.as_bytes(), false).unwrap().0[..] else { panic!("one file") };
        assert!(file.path.is_empty() && native(&file.name).is_none());
    }

    #[test]
    fn a_listing_that_is_cut_says_so_wherever_it_is_cut() {
        let zero = "0".repeat(40);
        let record = |path: &str| format!(":000000 100644 {zero} {zero} A\0{path}\0");
        let whole = record("a") + &record("b/c");
        for length in 0..whole.len() {
            let (files, truncated) = changed_files(&whole.as_bytes()[..length], true).unwrap();
            let expected = usize::from(length >= record("a").len());
            assert_eq!((files.len(), truncated), (expected, true), "{length}");
        }
    }
}
