//! What this machine has: accelerators, room on disk, programs, an interpreter.

use std::path::{Path, PathBuf};

use super::packages::{self, Interpreter, PackagesError, Runner, Unconfined};

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
        let Some(path) = std::env::var_os("PATH") else { return false };
        std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
    }

    fn packages(&self, names: &[String]) -> Result<Interpreter, PackagesError> {
        packages::ask(self.runner.as_ref(), &self.python, names)
    }
}
