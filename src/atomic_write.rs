//! Writing files so that a crash, a full disk or Ctrl-C leaves either the old file or the new one.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::path_safety::folder_of;
use crate::regular_file;

/// What names of temporary files begin with; letters and digits follow.
const TEMPORARY_PREFIX: &str = ".golf-harness-";
const TEMPORARY_RANDOM: usize = 6;

/// Whether a file of this name is one that was being written.
pub fn is_temporary(name: &str) -> bool {
    name.strip_prefix(TEMPORARY_PREFIX)
        .is_some_and(|rest| rest.len() == TEMPORARY_RANDOM && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Files that must not outlive the process: what is being written and has not got its name yet, locks.
static PASSING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
/// Held while several files that belong together are written.
static TOGETHER: Mutex<()> = Mutex::new(());

fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files written while this is held appear together: [`clear_for_exit`] waits for them.
pub fn together() -> impl Drop {
    lock(&TOGETHER)
}

/// Notes a file that [`clear_for_exit`] removes, or that it need not remove any more.
pub fn is_passing(path: &Path, yes: bool) {
    let mut passing = lock(&PASSING);
    if yes {
        passing.insert(path.to_path_buf())
    } else {
        passing.remove(path)
    };
}

/// For a process that ends in the middle of its work: removes unfinished files and lets no other begin.
///
/// Files that belong together and are being written get `patience` to be written. Afterwards every attempt to write
/// waits for the end of the process.
pub fn clear_for_exit(patience: std::time::Duration) {
    let started = std::time::Instant::now();
    let mut together = TOGETHER.try_lock();
    while together.is_err() && started.elapsed() < patience {
        std::thread::sleep(std::time::Duration::from_millis(10));
        together = TOGETHER.try_lock();
    }
    let passing = lock(&PASSING);
    passing.iter().for_each(|path| drop(std::fs::remove_file(path)));
    // Neither lock is given back: the process ends.
    std::mem::forget((passing, together));
}

/// A file that could not be written; the previous content, if any, is untouched.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct WriteError {
    path: PathBuf,
    source: io::Error,
}

impl WriteError {
    /// A file that could not be written for this reason.
    pub fn new(path: &Path, source: io::Error) -> Self {
        // A temporary file adds its own path, which is another one each time.
        let inner = source.get_ref().and_then(|error| error.source()?.downcast_ref::<io::Error>()?.raw_os_error());
        let source = inner.map_or(source, io::Error::from_raw_os_error);
        WriteError { path: path.to_path_buf(), source }
    }
}

/// Writes `path` through a temporary neighbor: write, fsync, rename, fsync the folder.
///
/// Fails without touching an existing file at `path`. Missing parent folders are created.
pub fn write_with(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), WriteError> {
    let mut file = PendingFile::create(path)?;
    write(&mut file.writer).map_err(|source| WriteError::new(path, source))?;
    file.commit().map(drop)
}

/// A file that is being written over a longer time. It appears under its name when committed; dropped before that,
/// nothing is left of it.
#[derive(Debug)]
pub struct PendingFile {
    path: PathBuf,
    writer: BufWriter<Temporary>,
}

/// A temporary file that is noted as long as it exists under its own name.
#[derive(Debug)]
struct Temporary(Option<tempfile::NamedTempFile>);

impl Temporary {
    /// The file, to be given its final name: no longer noted.
    fn take(mut self) -> io::Result<tempfile::NamedTempFile> {
        self.0.take().ok_or_else(|| io::Error::other("the temporary file is gone"))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            let path = file.path().to_path_buf();
            drop(file);
            is_passing(&path, false);
        }
    }
}

impl Write for Temporary {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(0), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl PendingFile {
    /// Starts a temporary neighbor of `path`. Missing parent folders are created.
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        let attempt = || -> io::Result<PendingFile> {
            let folder = folder_of(path);
            refuse_special(path)?;
            std::fs::create_dir_all(folder)?;
            // Made and noted under one lock, so that no end of the process falls between.
            let mut passing = lock(&PASSING);
            let mut builder = tempfile::Builder::new();
            let temporary = builder.prefix(TEMPORARY_PREFIX).rand_bytes(TEMPORARY_RANDOM).tempfile_in(folder)?;
            passing.insert(temporary.path().to_path_buf());
            Ok(PendingFile { path: path.to_path_buf(), writer: BufWriter::new(Temporary(Some(temporary))) })
        };
        attempt().map_err(|source| WriteError::new(path, source))
    }

    /// Appends bytes.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.writer.write_all(bytes).map_err(|source| WriteError::new(&self.path, source))
    }

    /// Makes the content durable and gives it its name; the file stays open behind its last byte.
    pub fn commit(self) -> Result<File, WriteError> {
        let PendingFile { path, writer } = self;
        let attempt = || -> io::Result<File> {
            let temporary = writer.into_inner().map_err(io::IntoInnerError::into_error)?.take()?;
            let name = temporary.path().to_path_buf();
            let done = publish(temporary, &path);
            is_passing(&name, false);
            done
        };
        attempt().map_err(|source| WriteError::new(&path, source))
    }
}

/// Makes the content durable, gives the file its name and makes that durable, too.
fn publish(temporary: tempfile::NamedTempFile, path: &Path) -> io::Result<File> {
    set_default_permissions(temporary.as_file())?;
    temporary.as_file().sync_all()?;
    let file = temporary.persist(path).map_err(|e| e.error)?;
    sync_folder(folder_of(path))?;
    Ok(file)
}

/// A FIFO or a device keeps its place: a rename would put a file there instead.
fn refuse_special(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path).ok().as_ref().and_then(regular_file::kind) {
        None | Some("a folder") => Ok(()),
        Some(kind) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{kind} is there, which a file would replace")))
        }
    }
}

/// [`write_with`] for bytes already in memory.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    write_with(path, |out| out.write_all(bytes))
}

/// [`write()`], for a file that grows: opened again by its name, it could be another by then.
pub fn write_open(path: &Path, bytes: &[u8]) -> Result<File, WriteError> {
    let mut file = PendingFile::create(path)?;
    file.append(bytes)?;
    file.commit()
}

/// Several files that belong together: none gets its name before all of them are on disk.
///
/// # Errors
///
/// Names the first file that could not be written. None is changed then, unless a name was lost between
/// [`check_writable`] and now; the error says so.
pub fn write_all(files: &[(&Path, Vec<u8>)]) -> Result<(), WriteError> {
    let mut pending = Vec::with_capacity(files.len());
    for (path, bytes) in files {
        let mut file = PendingFile::create(path)?;
        file.append(bytes)?;
        file.writer.flush().map_err(|source| WriteError::new(path, source))?;
        pending.push(file);
    }
    for (i, file) in pending.into_iter().enumerate() {
        file.commit().map_err(|error| {
            let written: Vec<String> = files[..i].iter().map(|(path, _)| path.display().to_string()).collect();
            let written = if written.is_empty() { "none".into() } else { written.join(", ") };
            WriteError::new(
                &error.path,
                io::Error::new(error.source.kind(), format!("{} (written: {written})", error.source)),
            )
        })?;
    }
    Ok(())
}

/// Checks early that `path` will be writable, so that an hour of work does not end in "permission denied".
pub fn check_writable(path: &Path) -> Result<(), WriteError> {
    if path.is_dir() {
        let source = io::Error::new(io::ErrorKind::IsADirectory, "a folder of that name exists");
        return Err(WriteError::new(path, source));
    }
    // As it will be written, so that an end of the process in between leaves nothing.
    PendingFile::create(path).map(drop)
}

/// Temporary files are created private (0600); a published file gets the usual 0644 instead.
#[cfg(unix)]
fn set_default_permissions(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_default_permissions(_: &File) -> io::Result<()> {
    Ok(())
}

/// Makes the rename itself durable; folders cannot be opened for this on every platform.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bin");
        write(&path, b"old").unwrap();
        let error = write_with(&path, |out| {
            out.write_all(b"half of the ne")?;
            Err(io::Error::other("no space left on device"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("no space left on device"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_pending_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.bin");
        let mut file = PendingFile::create(&path).unwrap();
        file.append(b"never").unwrap();
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut file = PendingFile::create(&path).unwrap();
        file.append(b"in ").unwrap();
        file.append(b"parts").unwrap();
        assert!(!path.exists());
        file.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"in parts");
    }

    #[test]
    fn files_that_belong_together_are_written_together() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(folder.path().join("file"), b"").unwrap();
        let bad = folder.path().join("file/c");
        let error = write_all(&[(&a, b"1".to_vec()), (&bad, b"2".to_vec()), (&b, b"3".to_vec())]).unwrap_err();
        assert!(error.to_string().contains("file/c"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        write_all(&[(&a, b"1".to_vec()), (&b, b"3".to_vec())]).unwrap();
        assert_eq!((std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap()), (b"1".to_vec(), b"3".to_vec()));
        // A name that is a folder by the time of writing.
        let error = write_all(&[(&a, b"4".to_vec()), (folder.path(), b"5".to_vec())]).unwrap_err();
        assert!(error.to_string().contains("written: "), "{error}");
    }

    #[test]
    fn missing_folders_are_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c.txt");
        write(&path, b"x").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"x");
    }
}
