//! What each command needs.

use super::diagnosis::{Machine, Missing, Readiness, State};
use crate::units::Bytes;

/// Memory that an audit worker may take.
const WORKER_MEMORY: Bytes = Bytes(512_000_000);
/// Room for an artifact, its manifest and what is written beside them before they take their names.
const PACKING_ROOM: Bytes = Bytes(64_000_000);

const NO_ENGINE: Missing = Missing {
    what: "numeric engines",
    effect: "nothing is trained, scored or fitted",
    remedy: "a build with the feature `engine`: cargo build --release --bin golf-harness",
    is_essential: true,
};

/// The commands with what they lack.
pub(super) fn commands(machine: &Machine) -> Vec<Readiness> {
    let numeric = |command| ready(command, numeric(machine));
    vec![
        ready("verify", verify(machine)),
        ready("pack", pack(machine)),
        numeric("train"),
        numeric("score"),
        numeric("reproduce"),
        ready("rerun", rerun(machine)),
    ]
}

fn ready(command: &'static str, missing: Vec<Missing>) -> Readiness {
    let state = match missing.iter().any(|missing| missing.is_essential) {
        true => State::Unavailable,
        false if missing.is_empty() => State::Ready,
        false => State::Limited,
    };
    Readiness { command, state, missing }
}

fn limit(what: &'static str, effect: &'static str, remedy: &'static str) -> Missing {
    Missing { what, effect, remedy, is_essential: false }
}

fn essential(what: &'static str, effect: &'static str, remedy: &'static str) -> Missing {
    Missing { what, effect, remedy, is_essential: true }
}

fn verify(machine: &Machine) -> Vec<Missing> {
    let mut missing = Vec::new();
    if machine.memory_available.is_some_and(|free| free < WORKER_MEMORY) {
        missing.push(essential("512 MB of free memory", "a large model stops its audit", "free some"));
    }
    if cfg!(not(unix)) {
        missing.push(limit("Unix", "audits run without limits on memory and time", "run it on Linux, or in WSL"));
    } else if machine.lacks("Landlock") || machine.lacks("seccomp") {
        let effect = "audit workers are held by limits alone; -v says so";
        missing.push(limit("Landlock or seccomp", effect, "Linux 5.13 or newer with both enabled"));
    }
    if machine.find("git").is_none() {
        missing.push(limit("git", "--base and --head", "install git"));
    }
    missing
}

fn pack(machine: &Machine) -> Vec<Missing> {
    let mut missing = Vec::new();
    let free = machine.disks.first().and_then(|disk| disk.free);
    if free.is_some_and(|free| free < PACKING_ROOM) {
        missing.push(essential("64 MB of room in the current folder", "no artifact can be written", "free some"));
    }
    if cfg!(not(feature = "engine")) {
        missing.push(Missing { is_essential: false, effect: "--fit", ..NO_ENGINE });
    }
    missing
}

fn numeric(machine: &Machine) -> Vec<Missing> {
    if cfg!(not(feature = "engine")) {
        return vec![NO_ENGINE];
    }
    let mut missing = Vec::new();
    if machine.lacks("AVX2") || machine.lacks("FMA") {
        missing.push(limit("AVX2 and FMA", "kernels are slow", "an x86-64 processor of 2013 or newer"));
    }
    missing.extend(gpu(machine));
    if machine.gpus.is_empty() {
        return missing;
    }
    let libraries = [
        ("libnvrtc.so", "--device cuda", "CUDA toolkit 13, its lib64 on LD_LIBRARY_PATH (docs/cuda.md)"),
        ("libcublasLt.so", "--device cuda", "CUDA toolkit 13, its lib64 on LD_LIBRARY_PATH (docs/cuda.md)"),
        ("libnccl.so", "gradients go through the host between GPUs", "NCCL 2 on LD_LIBRARY_PATH (docs/cuda.md)"),
    ];
    let absent = libraries.into_iter().filter(|(name, ..)| machine.find(name).is_none());
    missing.extend(absent.map(|(name, effect, remedy)| limit(name, effect, remedy)));
    missing
}

fn gpu(machine: &Machine) -> Option<Missing> {
    let remedy = "an NVIDIA GPU with its driver (nvidia-smi shows it)";
    machine.gpus.is_empty().then(|| limit("GPU", "recipes of full size take days on a processor", remedy))
}

fn rerun(machine: &Machine) -> Vec<Missing> {
    let mut missing = Vec::new();
    if cfg!(not(target_os = "linux")) {
        missing.push(limit("Linux", "only --plan works", "run it on Linux"));
        return missing;
    }
    match &machine.python {
        None => missing.push(essential("Python 3", "only --plan works", "install Python, or name one by --python")),
        Some(python) => {
            let lacks_torch = python.packages.iter().any(|part| part.name == "torch" && part.is_there == Some(false));
            if lacks_torch {
                let remedy = "pip install torch, in the environment that --python names";
                missing.push(limit("torch", "nearly every script stops at its import", remedy));
            }
        }
    }
    let has_landlock = !machine.lacks("Landlock");
    match (machine.find("bwrap").is_some(), machine.lacks("user name spaces"), has_landlock) {
        (true, false, _) => {}
        (false, false, true) => missing.push(limit(
            "bubblewrap",
            "--sandbox landlock must be asked for",
            "apt install bubblewrap, or dnf install bubblewrap",
        )),
        (_, true, true) => missing.push(limit(
            "user name spaces",
            "Landlock stands around the script, not bubblewrap",
            "sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone",
        )),
        (_, _, false) => missing.push(essential(
            "a sandbox (bubblewrap or Landlock)",
            "a script is started only with --no-sandbox",
            "apt install bubblewrap, on a kernel with user name spaces",
        )),
    }
    missing.extend(gpu(machine));
    missing
}

#[cfg(test)]
mod tests {
    use super::super::diagnosis::{Diagnosis, Found, Present, Python};
    use super::*;

    /// A machine with everything.
    fn complete() -> Machine {
        let present = |name| Present { name, is_there: Some(true) };
        let found = |name: &'static str| Found { name, path: Some(name.into()) };
        Machine {
            memory_available: Some(Bytes(1 << 40)),
            instructions: ["AVX2", "FMA"].map(present).to_vec(),
            gpus: vec!["NVIDIA H100".into()],
            libraries: ["libcuda.so", "libnvrtc.so", "libcublasLt.so", "libnccl.so"].map(found).to_vec(),
            confinement: ["Landlock", "seccomp", "user name spaces"].map(present).to_vec(),
            python: Some(Python { executable: "p".into(), version: "3.12.1".into(), packages: vec![present("torch")] }),
            programs: ["bwrap", "git"].map(found).to_vec(),
            ..Machine::default()
        }
    }

    fn state(machine: &Machine, command: &str) -> State {
        commands(machine).into_iter().find(|found| found.command == command).unwrap().state
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_complete_machine_lacks_nothing_and_each_gap_limits_what_needs_it() {
        let machine = complete();
        let numeric = if cfg!(feature = "engine") { State::Ready } else { State::Unavailable };
        assert_eq!(
            ["verify", "rerun", "train"].map(|name| state(&machine, name)),
            [State::Ready, State::Ready, numeric]
        );

        let mut without = complete();
        without.programs.clear();
        assert_eq!(["verify", "rerun"].map(|name| state(&without, name)), [State::Limited; 2]);
        // Landlock is no way out of a missing bubblewrap where the kernel has neither.
        without.confinement.iter_mut().for_each(|part| part.is_there = Some(false));
        assert_eq!(state(&without, "rerun"), State::Unavailable);
        assert!(Diagnosis::of(without).basics_work());
    }

    #[test]
    #[cfg(unix)]
    fn too_little_memory_for_one_worker_is_missing_for_the_basics() {
        let machine = |free| Machine { memory_available: Some(free), ..complete() };
        assert!(Diagnosis::of(machine(WORKER_MEMORY)).basics_work());
        assert!(!Diagnosis::of(machine(Bytes(WORKER_MEMORY.0 - 1))).basics_work());
    }
}
