//! Who works in a run folder: one session, or tasks that each have a seed of their own.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::SessionError;
use crate::run_folder::{LockError, RunFolder, RunLock, open_lock};

/// One that was killed a moment ago may still be on its way out.
const PATIENCE: Duration = Duration::from_secs(2);
/// The seeds: a session holds them alone, tasks and readers hold them together.
pub(super) const SEEDS: &str = ".golf-harness-seeds.lock";

/// Keeps others out as long as it is there. The system gives it back when the process ends, however it ends.
#[derive(Debug)]
pub struct Hold {
    _files: Vec<File>,
    /// What a session has beside: the run folder, as every command that works in one.
    _folder: Option<RunLock>,
}

impl Hold {
    /// The whole folder, which is made if need be.
    pub fn folder(out: &Path) -> Result<Self, SessionError> {
        let folder = owned(out)?;
        Ok(Hold { _files: vec![taken(out, SEEDS, File::try_lock)?], _folder: Some(folder) })
    }

    /// One seed, beside others that hold theirs.
    pub fn seed(out: &Path, seed: u64) -> Result<Self, SessionError> {
        let seeds = taken(out, SEEDS, File::try_lock_shared)?;
        let seed = taken(out, &format!(".golf-harness-seed-{seed}.lock"), File::try_lock)?;
        Ok(Hold { _files: vec![seeds, seed], _folder: None })
    }

    /// Nothing but that no session holds the folder alone.
    pub fn shared(out: &Path) -> Result<Self, SessionError> {
        Ok(Hold { _files: vec![taken(out, SEEDS, File::try_lock_shared)?], _folder: None })
    }
}

fn owned(out: &Path) -> Result<RunLock, LockError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match RunFolder::new(out).lock() {
            Err(LockError::Owned { .. }) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            outcome => return outcome,
        }
    }
}

fn taken(out: &Path, name: &str, lock: impl Fn(&File) -> Result<(), TryLockError>) -> Result<File, SessionError> {
    let in_folder = |source| SessionError::Folder { folder: out.to_path_buf(), source };
    fs::create_dir_all(out).map_err(in_folder)?;
    let file = open_lock(&out.join(name)).map_err(in_folder)?;
    // Whoever a container's processes run as looks at it. A folder of another user's may still be held.
    if file.metadata().is_ok_and(|data| data.len() == 0) {
        let _ = file.set_permissions(fs::Permissions::from_mode(0o644));
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match lock(&file) {
            Ok(()) => return Ok(file),
            // Some network file systems have no locks: better no lock than no run.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(file),
            Err(_) if Instant::now() > deadline => return Err(SessionError::InUse(out.to_path_buf())),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_work_beside_each_other_and_a_session_alone() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        let tasks = [Hold::seed(out, 1).unwrap(), Hold::seed(out, 2).unwrap(), Hold::shared(out).unwrap()];
        assert!(matches!(Hold::seed(out, 1), Err(SessionError::InUse(_))));
        assert!(matches!(Hold::folder(out), Err(SessionError::InUse(_))));
        drop(tasks);
        let session = Hold::folder(out).unwrap();
        assert!(matches!(Hold::seed(out, 3), Err(SessionError::InUse(_))));
        assert!(matches!(Hold::shared(out), Err(SessionError::InUse(_))));
        drop(session);
        Hold::seed(out, 3).unwrap();
    }
}
