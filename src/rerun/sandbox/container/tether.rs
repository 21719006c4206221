//! A lock that ties a container to its supervisor.
//!
//! The supervisor holds the run folder's lock as long as it lives, however it ends. The entry inside of a container has
//! the file, read-only, and tries to share the lock: once it can, nobody holds it any more. An engine's daemon, or a
//! process that outlived its parents, cannot keep a container beyond that.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// How often the lock is tried.
const TICK: Duration = Duration::from_millis(200);

/// Ends this process, and with it all processes of its container, when nobody holds the lock any more.
pub(crate) fn end_with(lock: &Path) -> std::io::Result<()> {
    let lock = File::open(lock)?;
    std::thread::Builder::new().name("tether".into()).spawn(move || {
        while lock.try_lock_shared().is_err() {
            std::thread::sleep(TICK);
        }
        std::process::exit(2);
    })?;
    Ok(())
}
