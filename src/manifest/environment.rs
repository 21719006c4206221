//! Where numbers are made: recorded beside every result, because a rerun elsewhere may differ.

use super::{Environment, ProgramSource};
use crate::units::Bytes;

/// This machine and build. `devices` are accelerators found by the engines, already described.
pub fn current(threads: usize, devices: Vec<String>) -> Environment {
    Environment {
        harness: env!("CARGO_PKG_VERSION").to_string(),
        platform: platform(),
        cpu: format!("{} ({threads} threads)", processor()),
        devices,
        zstd: zstd::zstd_safe::version_string().to_string(),
    }
}

/// The build: version, digest of its source and settings, profile and features. The same for every binary of a build.
pub fn build() -> String {
    let (version, source) = (env!("CARGO_PKG_VERSION"), env!("GOLF_HARNESS_SOURCE"));
    format!("{version} source {source} {}", env!("GOLF_HARNESS_BUILD"))
}

/// What this build was made from: manifest and lock file of the crate, its build script, everything below `src` and
/// `bins`.
pub fn source() -> ProgramSource {
    ProgramSource {
        version: env!("CARGO_PKG_VERSION").to_string(),
        digest: env!("GOLF_HARNESS_SOURCE").to_string(),
        // The build script writes a number.
        bytes: Bytes(env!("GOLF_HARNESS_SOURCE_BYTES").parse().unwrap_or_default()),
    }
}

/// The processor's name where the system tells it in a file; no program is run to find out.
pub fn processor() -> String {
    let text = crate::regular_file::read(std::path::Path::new("/proc/cpuinfo")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    model_name(&text).unwrap_or("unknown CPU").to_string()
}

/// Operating system and architecture, such as `linux-x86_64`.
pub fn platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// The first `model name` of a Linux `/proc/cpuinfo`.
fn model_name(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_name_is_found_in_cpuinfo() {
        let text =
            "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Processor\nflags\t: fpu\n";
        assert_eq!(model_name(text), Some("Intel(R) Xeon(R) Processor"));
        assert_eq!(model_name("processor\t: 0\n"), None);
    }
}
