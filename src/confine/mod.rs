//! Takes away from a process what it does not need before it touches a stranger's bytes.
//!
//! A [`Confinement`] says what is left; [`Confinement::apply`] takes away the rest of the calling process, for good:
//! limits are hard, and what is started from it inherits them. Four layers, each of its own file:
//!
//! * `limits`: memory, processor time, size of written files, open files, no core dumps (rlimits, every Unix);
//! * `landlock`: which files may be read and written, which TCP ports reached (Linux 5.13 and later, 6.7 for ports);
//! * `seccomp`: which system calls there are at all (Linux on x86-64, aarch64 and riscv64);
//! * death together with the parent (Linux).
//!
//! Limits must hold; what a kernel does not have is named in [`Held`] and is no error, because the other layers still
//! stand. Call it in a process with one thread: Linux confines the calling thread and what comes after it.

mod abilities;
#[cfg(target_os = "linux")]
mod landlock;
mod limits;
#[cfg(target_os = "linux")]
mod seccomp;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use abilities::{has_landlock, has_seccomp};
pub use limits::{Limits, cpu_time_from_now};

/// What a process keeps.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// Bounds on what it takes.
    pub limits: Limits,
    /// Files it may open; `None` leaves them as they are.
    pub files: Option<Files>,
    /// What it may reach.
    pub network: Network,
    /// System calls it may make.
    pub calls: Calls,
    /// Killed when the thread that started it ends.
    pub dies_with_parent: bool,
}

/// Files a process may open, with everything below them. A path that does not exist grants nothing.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// To read.
    pub readable: Vec<PathBuf>,
    /// To start programs from, and read.
    pub executable: Vec<PathBuf>,
    /// To read, write, make and remove.
    pub writable: Vec<PathBuf>,
}

/// What a process may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// As before.
    #[default]
    Unchanged,
    /// Nothing: no socket can be made.
    Nothing,
    /// TCP at these ports, to connect to and to listen at, whatever the address; port 0 lets the system choose one to
    /// listen at. No UDP, no raw sockets. The kernel can be asked for its interfaces.
    Tcp(Vec<u16>),
}

/// System calls a process may make. What is refused gives the error EPERM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calls {
    /// As before.
    #[default]
    Unchanged,
    /// Only what a single thread needs to read files, take memory and write to what is open: no programs, threads,
    /// sockets, signals to others, or changes to files.
    Reading,
    /// All but those that no computation needs: looking into other processes, mounting, loading of code into the kernel,
    /// keys, namespaces, clocks.
    Computing,
}

/// What stands between a confined process and the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Layers that hold, in words.
    pub held: Vec<String>,
    /// Layers asked for that do not, or hold in part, and why.
    pub missing: Vec<String>,
}

/// A limit that every Unix has was refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot limit {what}: {source}")]
pub struct ConfineError {
    /// What was to be limited.
    pub what: &'static str,
    /// What the system said.
    pub source: std::io::Error,
}

impl Confinement {
    /// Confines the calling process, for good. On error it may be confined in part: end it.
    pub fn apply(&self) -> Result<Held, ConfineError> {
        let mut held = Held::default();
        self.bind_to_parent(&mut held)?;
        self.limits.apply(&mut held)?;
        // Files before calls: the filter of `Reading` refuses those that restrict files.
        self.apply_kernel_layers(&mut held);
        Ok(held)
    }

    #[cfg(target_os = "linux")]
    fn bind_to_parent(&self, held: &mut Held) -> Result<(), ConfineError> {
        if self.dies_with_parent {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                .map_err(|error| ConfineError { what: "life beyond the parent's", source: error.into() })?;
            held.held.push("ends with its parent".into());
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn bind_to_parent(&self, held: &mut Held) -> Result<(), ConfineError> {
        if self.dies_with_parent {
            held.missing.push("ends with its parent: Linux only".into());
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn apply_kernel_layers(&self, held: &mut Held) {
        if self.files.is_some() || self.network != Network::Unchanged {
            held.add("Landlock", landlock::restrict(self.files.as_ref(), &self.network));
        }
        if self.calls != Calls::Unchanged || self.network != Network::Unchanged {
            held.add("seccomp", seccomp::filter(self.calls, &self.network));
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn apply_kernel_layers(&self, held: &mut Held) {
        if self.files.is_some() || self.network != Network::Unchanged || self.calls != Calls::Unchanged {
            held.missing.push("Landlock and seccomp: Linux only".into());
        }
    }
}

#[cfg(target_os = "linux")]
impl Held {
    fn add(&mut self, layer: &str, outcome: Result<String, String>) {
        match outcome {
            Ok(words) => self.held.push(format!("{layer}: {words}")),
            Err(words) => self.missing.push(format!("{layer}: {words}")),
        }
    }
}
