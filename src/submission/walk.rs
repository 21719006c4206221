//! Lists the files of a folder without following links and within fixed bounds.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::gits_own::is_gits_own;
use crate::escape::visible;

/// More files than this are not listed: the largest real submission has a few hundred.
pub const MAX_FILES: usize = 20_000;
/// Folders deeper than this are not entered.
pub const MAX_DEPTH: usize = 32;

/// A regular file below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Path for opening.
    pub path: PathBuf,
    /// Path relative to the folder with `/` between parts; bytes that are no UTF-8 appear as U+FFFD.
    pub name: String,
    /// Size when listed.
    pub bytes: u64,
    /// Bytes that it does not occupy on disk: holes, or what a file system saves by compression.
    pub holes: u64,
    /// Size of all that was listed with it.
    pub together: u64,
}

/// Something in a folder that is not simply a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Anomaly {
    /// Path relative to the folder.
    pub path: String,
    /// What kind of thing.
    pub kind: AnomalyKind,
    /// Details, such as a link's target or the system's message.
    pub detail: String,
}

/// Kinds of [`Anomaly`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnomalyKind {
    /// A symbolic link; never followed.
    Link,
    /// A device, socket or pipe.
    Special,
    /// A name that is not UTF-8 or holds control characters.
    Name,
    /// Listed but could not be read.
    Unreadable,
    /// The listing stopped at [`MAX_FILES`], at [`MAX_DEPTH`] or where a path becomes too long for the system.
    TooMuch,
}

impl Anomaly {
    /// What could not be listed, and why.
    fn unlisted(path: &str, error: &io::Error) -> Self {
        let (kind, detail) = match error.kind() {
            io::ErrorKind::InvalidFilename => {
                (AnomalyKind::TooMuch, "its path is too long for this system".to_string())
            }
            _ => (AnomalyKind::Unreadable, error.to_string()),
        };
        Anomaly { path: visible(path), kind, detail }
    }
}

/// All files below `root`, sorted by name, and what else was met. Of a `.git` at the top, which is git's own where the
/// folder is a repository, only what git would not write there is listed.
pub fn list(root: &Path) -> (Vec<Listed>, Vec<Anomaly>) {
    let mut files = Vec::new();
    let mut anomalies = Vec::new();
    let mut folders = vec![(root.to_path_buf(), String::new(), 0usize)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let anomaly = |path: &str, kind, detail: String| Anomaly { path: visible(path), kind, detail };
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                anomalies.push(Anomaly::unlisted(&prefix, &error));
                continue;
            }
        };
        for entry in entries {
            if files.len() >= MAX_FILES {
                anomalies.push(anomaly(&prefix, AnomalyKind::TooMuch, format!("more than {MAX_FILES} files")));
                folders.clear();
                break;
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    anomalies.push(Anomaly::unlisted(&prefix, &error));
                    continue;
                }
            };
            let os_name = entry.file_name();
            let plain = os_name.to_string_lossy();
            let name = if prefix.is_empty() { plain.to_string() } else { format!("{prefix}/{plain}") };
            if os_name.to_str().is_none() || visible(&plain) != plain {
                anomalies.push(anomaly(&name, AnomalyKind::Name, "not plain UTF-8 text".into()));
            }
            // `DirEntry::metadata` does not follow links.
            match entry.metadata() {
                Err(error) => anomalies.push(Anomaly::unlisted(&name, &error)),
                Ok(data) if data.is_file() && is_gits_own(&name, &entry.path(), data.len()) => {}
                Ok(data) if data.is_dir() && depth >= MAX_DEPTH => {
                    anomalies.push(anomaly(&name, AnomalyKind::TooMuch, format!("deeper than {MAX_DEPTH} folders")));
                }
                Ok(data) if data.is_dir() => folders.push((entry.path(), name, depth + 1)),
                Ok(data) if data.is_file() => {
                    let (bytes, holes) = (data.len(), holes(&data));
                    files.push(Listed { path: entry.path(), name, bytes, holes, together: 0 });
                }
                Ok(data) if data.is_symlink() => {
                    let target = std::fs::read_link(entry.path())
                        .map_or_else(|error| error.to_string(), |target| visible(&target.to_string_lossy()));
                    anomalies.push(anomaly(&name, AnomalyKind::Link, target));
                }
                Ok(_) => anomalies.push(anomaly(&name, AnomalyKind::Special, "not a regular file".into())),
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.path.cmp(&b.path)));
    let together = files.iter().fold(0u64, |sum, file| sum.saturating_add(file.bytes));
    files.iter_mut().for_each(|file| file.together = together);
    anomalies.extend(alike(&files));
    anomalies.sort();
    (files, anomalies)
}

/// Bytes of a file that are nowhere on disk, where the system says how much a file occupies.
#[cfg(unix)]
fn holes(data: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    data.len().saturating_sub(data.blocks().saturating_mul(512))
}

#[cfg(not(unix))]
fn holes(_: &std::fs::Metadata) -> u64 {
    0
}

/// Files of which one replaces the other where a disk ignores case, as those of Windows and macOS do.
fn alike(files: &[Listed]) -> Vec<Anomaly> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for file in files {
        if let Some(other) = seen.insert(file.name.to_lowercase(), &file.name) {
            let detail = format!("it differs from {} in case only", visible(other));
            found.push(Anomaly { path: visible(&file.name), kind: AnomalyKind::Name, detail });
        }
    }
    found
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn links_are_reported_and_never_followed() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), b"x").unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        std::fs::write(folder.path().join("sub/a.txt"), b"abc").unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("out")).unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("sub/loop")).unwrap();
        let (files, anomalies) = list(folder.path());
        assert_eq!(files.iter().map(|f| (f.name.as_str(), f.bytes)).collect::<Vec<_>>(), [("sub/a.txt", 3)]);
        let links: Vec<_> = anomalies.iter().map(|a| (a.path.as_str(), a.kind)).collect();
        assert_eq!(links, [("out", AnomalyKind::Link), ("sub/loop", AnomalyKind::Link)]);
    }

    #[test]
    fn paths_that_grow_too_long_end_the_listing_in_words() {
        use rustix::fs::{Mode, OFlags};
        let root = tempfile::tempdir().unwrap();
        let name = "d".repeat(200);
        let mut folder = rustix::fs::open(root.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        // Below MAX_DEPTH, and longer than the 4,096 bytes that Linux takes (1,024 on macOS).
        for _ in 0..MAX_DEPTH - 1 {
            rustix::fs::mkdirat(&folder, &name, Mode::RWXU).unwrap();
            folder = rustix::fs::openat(&folder, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        let (files, anomalies) = list(root.path());
        assert_eq!((files.len(), anomalies.len()), (0, 1));
        assert_eq!(anomalies[0].kind, AnomalyKind::TooMuch);
        assert_eq!(anomalies[0].detail, "its path is too long for this system");
    }

    #[test]
    fn git_s_own_files_are_left_out_and_nothing_else_of_that_name() {
        let folder = tempfile::tempdir().unwrap();
        let object = format!(".git/objects/ab/{}", "0".repeat(38));
        let pack = format!(".git/objects/pack/pack-{}.pack", "0".repeat(40));
        for (path, content) in [
            (object.as_str(), &b"x\x9c"[..]),
            (pack.as_str(), b"PACK\0\0\0\x02"),
            (".git/HEAD", b"ref: refs/heads/main\n"),
            (".git/modules/sub/HEAD", b"ref: refs/heads/main\n"),
            (".git/hooks/pre-commit.sample", b"#!/bin/sh\n"),
            (".git/objects/ab/cd", b"x\x9c"),
            (".git/objects/pack/weights.pack", b"PACK"),
            (".git/hooks/model", &[0; 1 << 17]),
            (".git/weights.bin", b"x"),
            (".git/w/HEAD", b"x"),
            ("sub/.git/HEAD", b"x"),
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let (files, anomalies) = list(folder.path());
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            [
                ".git/hooks/model",
                ".git/objects/ab/cd",
                ".git/objects/pack/weights.pack",
                ".git/w/HEAD",
                ".git/weights.bin",
                "sub/.git/HEAD"
            ]
        );
        assert_eq!(anomalies, []);
    }

    #[test]
    fn names_that_look_like_others_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["train_gpt.py", "Train_GPT.py", "train\u{200b}_gpt.py", "r\u{e9}sum\u{e9}.md"] {
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        let (files, anomalies) = list(folder.path());
        if files.len() < 4 {
            println!("skipped: this disk ignores case");
            return;
        }
        let found: Vec<_> = anomalies.iter().map(|a| (a.path.as_str(), a.detail.as_str())).collect();
        assert_eq!(
            found,
            [
                ("train\\u{200b}_gpt.py", "not plain UTF-8 text"),
                ("train_gpt.py", "it differs from Train_GPT.py in case only")
            ]
        );
    }

    #[test]
    fn names_that_are_not_utf8_are_listed_and_reported() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"a\xff.log")), b"x").unwrap();
        let (files, anomalies) = list(folder.path());
        assert_eq!(files[0].name, "a\u{fffd}.log");
        assert_eq!(anomalies[0].kind, AnomalyKind::Name);
    }
}
