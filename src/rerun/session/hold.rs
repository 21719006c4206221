//! Who works in a run folder: one session, or tasks that each have a seed of their own.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::SessionError;

/// One that was killed a moment ago may still be on its way out.
const PATIENCE: Duration = Duration::from_secs(2);
/// The whole folder: a session holds it alone, tasks and readers hold it together.
pub(super) const FOLDER: &str = ".lock";

/// Keeps others out as long as it is there. The system gives it back when the process ends, however it ends.
#[derive(Debug)]
pub struct Hold {
    _files: Vec<File>,
}

impl Hold {
    /// The whole folder, which is made if need be.
    pub fn folder(out: &Path) -> Result<Self, SessionError> {
        Ok(Hold { _files: vec![taken(out, FOLDER, File::try_lock)?] })
    }

    /// One seed, beside others that hold theirs.
    pub fn seed(out: &Path, seed: u64) -> Result<Self, SessionError> {
        let folder = taken(out, FOLDER, File::try_lock_shared)?;
        Ok(Hold { _files: vec![folder, taken(out, &format!(".lock-seed-{seed}"), File::try_lock)?] })
    }

    /// Nothing but that no session holds the folder alone.
    pub fn shared(out: &Path) -> Result<Self, SessionError> {
        Ok(Hold { _files: vec![taken(out, FOLDER, File::try_lock_shared)?] })
    }
}

fn taken(out: &Path, name: &str, lock: impl Fn(&File) -> Result<(), TryLockError>) -> Result<File, SessionError> {
    let in_folder = |source| SessionError::Folder { folder: out.to_path_buf(), source };
    fs::create_dir_all(out).map_err(in_folder)?;
    let file = File::create(out.join(name)).map_err(in_folder)?;
    // Whoever a container's processes run as looks at it. A folder of another user's may still be held.
    let _ = file.set_permissions(fs::Permissions::from_mode(0o644));
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
