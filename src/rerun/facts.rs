//! What a reader of a verdict needs to know of the machine, where the machine itself has to be asked.

use super::interpreter::package_versions;
use super::judge::MachineFacts;
use super::launch::Python;
use super::plan::packages::Runner;
use super::plan::{driver, memory};
use crate::escape::visible;
use crate::units::Bytes;

/// Facts of this machine. `packages` are the modules that a script imports, and whether they are here, in the interpreter
/// that `runner` runs.
pub fn machine_facts<'a>(
    runner: &dyn Runner,
    python: &Python,
    gpus: Vec<String>,
    packages: impl Iterator<Item = (&'a str, bool)>,
) -> MachineFacts {
    let packages: Vec<(&str, bool)> = packages.collect();
    let modules: Vec<String> = packages.iter().map(|(name, _)| name.to_string()).collect();
    MachineFacts {
        gpus,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        python: format!("Python {}", python.version),
        driver: driver().map(|driver| visible(&driver)),
        packages: package_versions(runner, python, &modules),
        absent_packages: packages.iter().filter(|(_, is_here)| !is_here).map(|(name, _)| name.to_string()).collect(),
    }
}

/// Memory that a seed may take where nothing is stated: nine tenths of the machine's.
pub fn usual_memory() -> Bytes {
    // Every Linux has the line; without it, a small machine is assumed.
    Bytes(memory("MemTotal").map_or(4 << 30, |total| total.0) / 10 * 9)
}
