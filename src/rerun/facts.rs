//! What a reader of a verdict needs to know of the machine, where the machine itself has to be asked.

use super::interpreter::package_versions;
use super::judge::MachineFacts;
use super::launch::Python;
use super::plan::packages::Runner;
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
        driver: driver(),
        packages: package_versions(runner, python, &modules),
        absent_packages: packages.iter().filter(|(_, is_here)| !is_here).map(|(name, _)| name.to_string()).collect(),
    }
}

/// What NVIDIA's driver says of itself.
fn driver() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    Some(visible(text.lines().next()?.trim()))
}

/// Memory that a seed may take where nothing is stated: nine tenths of the machine's.
pub fn usual_memory() -> Bytes {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    // Every Linux has the line; without it, a small machine is assumed.
    Bytes(kibibytes.map_or(4 << 30, |kibibytes| kibibytes << 10) / 10 * 9)
}
