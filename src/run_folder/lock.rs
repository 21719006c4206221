//! One owner for a run folder: an advisory lock that ends with the process that holds it.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::RunFolder;
use crate::atomic_write;
use crate::regular_file;
use crate::units::Bytes;

/// The file in the folder that is locked; it holds the owner's process id.
const LOCK_NAME: &str = ".golf-harness.lock";
/// What the names of the files begin with that pass: the lock, and what is being written. No output has such a name.
pub const OWN_PREFIX: &str = ".golf-harness";
/// A process id and a line end are no longer.
const MAX_NOTE: u64 = 32;

/// Whether a file of this name and size at the top of a run folder is the lock, and nothing more.
pub fn is_lock(name: &str, bytes: Bytes) -> bool {
    name == LOCK_NAME && bytes.0 <= MAX_NOTE
}

/// A run folder that this process owns until it is dropped.
#[derive(Debug)]
pub struct RunLock {
    /// Closing it gives the lock back.
    _file: File,
    path: PathBuf,
    /// Folders made for it, innermost first; removed again if nothing else was written.
    made: Vec<PathBuf>,
}

/// Why a folder could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process works in it.
    #[error("{} is in use by process {owner}; wait for it to end, or name another folder with --out", folder.display())]
    Owned {
        /// The folder.
        folder: PathBuf,
        /// Process id of the owner as it noted it.
        owner: String,
    },
    /// The lock file could not be made.
    #[error("cannot lock {}: {source}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl RunFolder {
    /// Takes the folder for this process, made if need be, and removes unfinished files that a killed owner left.
    ///
    /// The lock of a process that ended, however it ended, is gone with it.
    pub fn lock(&self) -> Result<RunLock, LockError> {
        let failed = |source| LockError::Io { folder: self.root().to_path_buf(), source };
        let made = make_folders(self.root()).map_err(failed)?;
        let path = self.root().join(LOCK_NAME);
        let file = loop {
            let mut file = open_lock(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut owner = String::new();
                    let _ = Read::by_ref(&mut file).take(MAX_NOTE).read_to_string(&mut owner);
                    let owner = if owner.trim().is_empty() { "unknown" } else { owner.trim() };
                    return Err(LockError::Owned { folder: self.root().to_path_buf(), owner: owner.to_string() });
                }
                // Some network file systems have no locks: better no lock than no run.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // The owner before may have removed the file between our opening and our locking it.
            if is_still_there(&file, &path) {
                check_note(&file, &path).map_err(failed)?;
                break file;
            }
        };
        note_owner(&file).map_err(failed)?;
        atomic_write::is_passing(&path, true);
        let lock = RunLock { _file: file, path, made };
        self.remove_unfinished();
        Ok(lock)
    }

    /// Temporary files of a process that was killed while it wrote; only the owner calls this.
    fn remove_unfinished(&self) {
        for entry in std::fs::read_dir(self.root()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_temporary = atomic_write::is_temporary(&name.to_string_lossy());
            if is_temporary && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        atomic_write::is_passing(&self.path, false);
        // Not empty: there is a run.
        for folder in &self.made {
            if std::fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// Opens a lock file, made if need be, which is no link: what a link leads to is somebody's.
///
/// # Errors
/// If a link or something else that is no file lies there, or the system refuses.
pub fn open_lock(path: &Path) -> io::Result<File> {
    if let Some(kind) = path.symlink_metadata().ok().as_ref().and_then(regular_file::kind) {
        let kind = if path.is_symlink() { "a link" } else { kind };
        return Err(not_a_lock(path, kind));
    }
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32);
    }
    options.open(path)
}

/// An error unless the file is empty or holds an earlier owner's process id: nothing else is written over.
fn check_note(mut file: &File, path: &Path) -> io::Result<()> {
    let mut note = Vec::new();
    file.rewind()?;
    Read::by_ref(&mut file).take(MAX_NOTE + 1).read_to_end(&mut note)?;
    let is_note = note.len() as u64 <= MAX_NOTE && note.iter().all(|byte| byte.is_ascii_digit() || *byte == b'\n');
    if is_note { Ok(()) } else { Err(not_a_lock(path, "no lock of ours")) }
}

fn not_a_lock(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} is {what}; move it away", path.display()))
}

/// This process's id, in place of an earlier owner's.
fn note_owner(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(unix)]
fn is_still_there(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |data: std::fs::Metadata| (data.dev(), data.ino());
    file.metadata().ok().map(identity) == path.metadata().ok().map(identity)
}

#[cfg(not(unix))]
fn is_still_there(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Makes the folder and those above it; what was made, innermost first.
fn make_folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if folder.metadata().is_ok_and(|found| !found.is_dir()) {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is a file, not a folder"));
    }
    let missing = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let missing: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
    std::fs::create_dir_all(folder)?;
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_and_the_second_is_told_which() {
        let here = tempfile::tempdir().unwrap();
        let folder = RunFolder::new(here.path().join("runs/a"));
        let lock = folder.lock().unwrap();
        // A second descriptor is a second owner, as another process would be.
        let message = folder.lock().unwrap_err().to_string();
        assert!(message.contains(&std::process::id().to_string()), "{message}");
        drop(lock);
        assert!(!here.path().join("runs").exists(), "nothing was written, so nothing is left");
    }

    #[test]
    fn what_a_killed_owner_left_is_taken_over() {
        let here = tempfile::tempdir().unwrap();
        let folder = RunFolder::new(here.path());
        std::fs::write(here.path().join(LOCK_NAME), "999999\n").unwrap();
        std::fs::write(here.path().join(".golf-harness-AbC123"), "half").unwrap();
        std::fs::write(here.path().join("train.log"), "log").unwrap();
        std::fs::write(here.path().join(".golf-harness-notes"), "a person's").unwrap();
        let lock = folder.lock().unwrap();
        drop(lock);
        let mut names: Vec<_> =
            std::fs::read_dir(here.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".golf-harness-notes", "train.log"]);
    }

    #[test]
    #[cfg(unix)]
    fn a_file_of_the_locks_name_that_is_no_lock_is_left_alone() {
        let here = tempfile::tempdir().unwrap();
        let at = |name: &str| here.path().join(name);
        std::fs::write(at("thesis.txt"), "years of work").unwrap();
        let refusal = || RunFolder::new(here.path()).lock().unwrap_err().to_string();
        std::os::unix::fs::symlink("thesis.txt", at(LOCK_NAME)).unwrap();
        assert!(refusal().contains("a link; move it away"), "{}", refusal());
        std::fs::remove_file(at(LOCK_NAME)).unwrap();
        std::fs::hard_link(at("thesis.txt"), at(LOCK_NAME)).unwrap();
        assert!(refusal().contains("no lock of ours"), "{}", refusal());
        assert_eq!(std::fs::read(at("thesis.txt")).unwrap(), b"years of work");
        assert!(at(LOCK_NAME).exists());
    }
}
