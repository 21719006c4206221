//! What this machine has: accelerators, room on disk, programs, an interpreter.

use std::path::{Path, PathBuf};

use super::packages::{self, Interpreter, PackagesError, Runner, Unconfined};
use crate::units::Bytes;

/// What a plan asks of the machine; tests answer in its place.
pub trait Machine {
    /// Names of the GPUs.
    fn gpus(&self) -> Vec<String>;
    /// Bytes free for this user where a path lies.
    fn free_bytes(&self, path: &Path) -> Option<u64>;
    /// Whether a program is on the path.
    fn has_program(&self, name: &str) -> bool;
    /// Asks the interpreter which modules it would find.
    fn packages(&self, names: &[String]) -> Result<Interpreter, PackagesError>;
}

/// The machine this process runs on.
pub struct ThisMachine {
    /// The interpreter that would run the script.
    pub python: PathBuf,
    /// Runs the interpreter.
    pub runner: Box<dyn Runner>,
}

impl ThisMachine {
    /// With this interpreter, asked outside of a sandbox.
    pub fn new(python: PathBuf) -> Self {
        ThisMachine { python, runner: Box::new(Unconfined) }
    }
}

/// Where the path leads to a program of this name.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A line of `/proc/meminfo`, such as `MemTotal`.
pub fn memory(key: &str) -> Option<Bytes> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Bytes(kibibytes << 10))
}

/// What NVIDIA's driver says of itself.
pub fn driver() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    Some(text.lines().next()?.trim().to_string())
}

/// Where NVIDIA's driver describes its devices.
const NVIDIA_DEVICES: &str = "/proc/driver/nvidia/gpus";

impl Machine for ThisMachine {
    fn gpus(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(NVIDIA_DEVICES) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("information")).ok())
            .map(|text| {
                let model = text.lines().find_map(|line| line.strip_prefix("Model:"));
                model.map_or("NVIDIA GPU", str::trim).to_string()
            })
            .collect();
        names.sort();
        names
    }

    #[cfg(unix)]
    fn free_bytes(&self, path: &Path) -> Option<u64> {
        let space = rustix::fs::statvfs(path).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }

    #[cfg(not(unix))]
    fn free_bytes(&self, _: &Path) -> Option<u64> {
        None
    }

    fn has_program(&self, name: &str) -> bool {
        program(name).is_some()
    }

    fn packages(&self, names: &[String]) -> Result<Interpreter, PackagesError> {
        packages::ask(self.runner.as_ref(), &self.python, names)
    }
}
