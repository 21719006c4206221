//! Looks at this machine.

use std::path::{Path, PathBuf};

use super::diagnosis::{Disk, Found, Machine, Present, Python};
use crate::confine;
use crate::manifest::environment;
use crate::regular_file;
use crate::rerun::plan::packages::PackagesError;
use crate::rerun::plan::{Machine as _, ThisMachine, driver, memory, program};
use crate::units::Bytes;

/// Packages that the challenge's scripts import.
const PACKAGES: [&str; 5] = ["torch", "numpy", "sentencepiece", "zstandard", "flash_attn_interface"];
/// Programs that a command starts, or that start a command.
const PROGRAMS: [&str; 7] = ["bwrap", "git", "torchrun", "srun", "sbatch", "podman", "docker"];
/// Libraries that are opened by the engine on a GPU.
const LIBRARIES: [&str; 4] = ["libcuda.so", "libnvrtc.so", "libcublasLt.so", "libnccl.so"];
/// Where shared libraries lie that no variable names.
const LIBRARY_FOLDERS: [&str; 8] = [
    "/usr/local/cuda/lib64",
    "/usr/local/cuda/targets/x86_64-linux/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/wsl/lib",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
];

/// Everything that can be told.
pub(super) fn look(python: &Path) -> Machine {
    let here = ThisMachine::new(python.to_path_buf());
    let disk = |what, path: PathBuf| Disk { what, free: here.free_bytes(&path).map(Bytes), path };
    let (python, python_error) = match ask(&here) {
        Ok(python) => (Some(python), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let current = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    Machine {
        platform: environment::platform(),
        kernel: line("/proc/sys/kernel/osrelease"),
        processor: environment::processor(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        instructions: instructions(),
        memory: memory("MemTotal"),
        memory_available: memory("MemAvailable"),
        disks: vec![disk("current folder", current), disk("temporary files", std::env::temp_dir())],
        gpus: here.gpus(),
        driver: driver(),
        libraries: LIBRARIES.iter().map(|name| Found { name, path: library(name) }).collect(),
        confinement: confinement(),
        python,
        python_error,
        programs: PROGRAMS.iter().map(|name| Found { name, path: program(name) }).collect(),
    }
}

#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<Present> {
    let flags = cpu_flags();
    let amx = flags.as_ref().map(|flags| ["amx_tile", "amx_bf16"].iter().all(|flag| flags.iter().any(|f| f == flag)));
    vec![
        Present { name: "AVX2", is_there: Some(is_x86_feature_detected!("avx2")) },
        Present { name: "FMA", is_there: Some(is_x86_feature_detected!("fma")) },
        Present { name: "AVX-512", is_there: Some(is_x86_feature_detected!("avx512f")) },
        Present { name: "AMX", is_there: amx },
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<Present> {
    Vec::new()
}

/// What the kernel calls the processor's abilities.
#[cfg(target_arch = "x86_64")]
fn cpu_flags() -> Option<Vec<String>> {
    let text = text("/proc/cpuinfo")?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'))?;
    Some(flags.1.split_whitespace().map(str::to_string).collect())
}

fn confinement() -> Vec<Present> {
    #[cfg(target_os = "linux")]
    let has_name_spaces = crate::rerun::sandbox::has_user_name_spaces();
    #[cfg(not(target_os = "linux"))]
    let has_name_spaces = false;
    vec![
        Present { name: "Landlock", is_there: Some(confine::has_landlock()) },
        Present { name: "seccomp", is_there: Some(confine::has_seccomp()) },
        Present { name: "user name spaces", is_there: Some(has_name_spaces) },
    ]
}

fn ask(here: &ThisMachine) -> Result<Python, PackagesError> {
    let names = PACKAGES.map(str::to_string);
    let answer = here.packages(&names)?;
    let is_found = |name: &str| answer.found.iter().any(|found| found == name);
    let packages = PACKAGES.map(|name| Present { name, is_there: Some(is_found(name)) }).to_vec();
    Ok(Python { executable: answer.executable, version: answer.version, packages })
}

/// A file whose name begins with that of the library, where the loader may look for it.
fn library(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let folders = std::env::split_paths(&named).chain(LIBRARY_FOLDERS.iter().map(PathBuf::from));
    folders.filter(|folder| folder.is_absolute()).find_map(|folder| {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .ok()?
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(name))
            .map(|entry| entry.path())
            .collect();
        // The shortest name is the one that others are versions of.
        files.sort();
        files.into_iter().next()
    })
}

/// The first line of a file of the kernel.
fn line(path: &str) -> Option<String> {
    Some(text(path)?.lines().next()?.trim().to_string())
}

fn text(path: &str) -> Option<String> {
    Some(String::from_utf8_lossy(&regular_file::read(Path::new(path)).ok()?).into_owned())
}
