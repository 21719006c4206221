//! What a process may take: `setrlimit(2)`.

use std::time::Duration;

use super::{ConfineError, Held};
use crate::units::Bytes;

/// Bounds on one process. `None` leaves a bound as it is; a lower one that holds already stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Address space: memory, mapped files, stacks. A larger allocation fails.
    pub address_space: Option<Bytes>,
    /// Processor time, whole seconds: SIGXCPU, and a second later SIGKILL.
    pub cpu: Option<Duration>,
    /// Size of a file written: 0 forbids writing to files. Pipes are not bounded.
    pub file_size: Option<Bytes>,
    /// Files open at a time.
    pub open_files: Option<u64>,
}

#[cfg(unix)]
impl Limits {
    /// Sets the limits, and forbids core dumps.
    pub(super) fn apply(&self, held: &mut Held) -> Result<(), ConfineError> {
        use rustix::process::Resource;
        let mut words = vec!["no core dumps".to_string()];
        set(Resource::Core, "core dumps", 0, 0)?;
        if let Some(bytes) = self.address_space {
            set(Resource::As, "memory", bytes.0, bytes.0)?;
            words.push(format!("memory {bytes}"));
        }
        if let Some(time) = self.cpu {
            set(Resource::Cpu, "processor time", time.as_secs(), time.as_secs() + 1)?;
            words.push(format!("processor time {} s", time.as_secs()));
        }
        if let Some(bytes) = self.file_size {
            set(Resource::Fsize, "file sizes", bytes.0, bytes.0)?;
            words.push(format!("files written {bytes}"));
        }
        if let Some(files) = self.open_files {
            set(Resource::Nofile, "open files", files, files)?;
            words.push(format!("{files} open files"));
        }
        held.held.push(format!("limits: {}", words.join(", ")));
        Ok(())
    }
}

/// From now on this process may take so much processor time, rounded up to whole seconds, before SIGXCPU ends it.
/// Unlike [`Limits::cpu`] it can be said again, for the next piece of work.
#[cfg(unix)]
pub fn cpu_time_from_now(time: Duration) -> Result<(), ConfineError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let used = u64::try_from(used.tv_sec).unwrap_or(0) + 1;
    let maximum = getrlimit(Resource::Cpu).maximum;
    let current = used + time.as_secs();
    let limit = Rlimit { current: Some(maximum.map_or(current, |maximum| maximum.min(current))), maximum };
    setrlimit(Resource::Cpu, limit).map_err(|error| ConfineError { what: "processor time", source: error.into() })
}

/// There are no limits here.
#[cfg(not(unix))]
pub fn cpu_time_from_now(_: Duration) -> Result<(), ConfineError> {
    Ok(())
}

/// Lowers a limit; one that is lower already stays.
#[cfg(unix)]
fn set(resource: rustix::process::Resource, what: &'static str, soft: u64, hard: u64) -> Result<(), ConfineError> {
    use rustix::process::{Rlimit, getrlimit, setrlimit};
    let present = getrlimit(resource);
    let maximum = present.maximum.map_or(hard, |maximum| maximum.min(hard));
    let current = present.current.map_or(soft, |current| current.min(soft)).min(maximum);
    setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })
        .map_err(|error| ConfineError { what, source: error.into() })
}

#[cfg(not(unix))]
impl Limits {
    /// There are none here.
    pub(super) fn apply(&self, held: &mut Held) -> Result<(), ConfineError> {
        held.missing.push("limits: Unix only".into());
        Ok(())
    }
}
