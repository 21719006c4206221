//! The command line of an engine: everything that a container of a stranger's script is not to have.

use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::libraries::Libraries;
use super::{Container, Engine, Mapping, gpus};
use crate::rerun::launch::Launch;
use crate::rerun::sandbox::bubblewrap::{ENTRY, HOME, TMP, WORK};
use crate::rerun::sandbox::{Place, SandboxError};
use crate::units::Bytes;

/// Where this program's own libraries are mounted.
const LIBRARIES: &str = "/run/golf-harness/lib";
/// The dynamic loader among them.
const LOADER: &str = "/run/golf-harness/ld.so";
/// The lock of the run folder.
pub(in crate::rerun::sandbox) const LOCK: &str = "/run/golf-harness/lock";
/// More open files than this no script needs.
const MAX_OPEN_FILES: u64 = 1 << 20;
/// Processes and threads of one user; podman itself has no more to give.
const MAX_TASKS: u64 = 1 << 15;

/// What is run inside of a container.
pub(in crate::rerun::sandbox) struct Inside<'a> {
    /// What is run.
    pub launch: &'a Launch,
    /// Its folders.
    pub place: &'a Place,
    /// This program.
    pub program: &'a Path,
    /// The lock of the run folder.
    pub lock: &'a Path,
    /// Whether this machine has GPUs.
    pub has_gpus: bool,
}

impl Container {
    /// The engine's program and its arguments, up to those of the entry.
    ///
    /// # Errors
    /// If a path cannot be told to an engine.
    pub(in crate::rerun::sandbox) fn arguments(&self, inside: &Inside) -> Result<Vec<String>, SandboxError> {
        let mut words = Words(vec![self.program.to_string_lossy().into_owned()]);
        let launch = inside.launch;
        match self.engine {
            Engine::Podman | Engine::Docker => {
                self.run(&Self::name(inside.lock), &mut words);
                words.pair("--workdir", WORK);
                words.pair("--shm-size", &(launch.limits.memory.0 / 2).max(1 << 20).to_string());
                if self.bounds.memory {
                    let memory = hard_memory(launch.limits.memory).to_string();
                    words.pair("--memory", &memory);
                    // No swap beside it.
                    words.pair("--memory-swap", &memory);
                }
                if self.bounds.processes {
                    words.pair("--pids-limit", &(launch.limits.processes + HARD_PROCESSES).to_string());
                }
                for name in ["group", "hosts", "nsswitch.conf", "passwd"] {
                    words.mount(&inside.place.names.join(name), &Path::new("/etc").join(name), false)?;
                }
            }
            Engine::Apptainer => {
                words.words(&APPTAINER);
                words.pair("--pwd", WORK);
            }
        }
        let visible = std::env::var(gpus::VISIBLE).ok();
        words.0.extend(gpus::arguments(self.engine, inside.has_gpus, visible.as_deref()));
        for (from, to) in [(&inside.place.tmp, TMP), (&inside.place.home, HOME), (&inside.place.work, WORK)] {
            words.mount(from, Path::new(to), true)?;
        }
        for mount in &launch.data {
            words.mount(&mount.source, &Path::new(WORK).join(&mount.at), false)?;
        }
        for file in &launch.files {
            words.mount(&launch.folder.join(file), &Path::new(WORK).join(file), false)?;
        }
        words.mount(inside.program, Path::new(ENTRY), false)?;
        words.mount(inside.lock, Path::new(LOCK), false)?;
        self.entry(&mut words)?;
        Ok(words.0)
    }

    /// `run` with everything that holds for any container of this image.
    pub(super) fn run(&self, name: &str, words: &mut Words) {
        words.words(&COMMON);
        words.pair("--name", name);
        words.pair("--user", &format!("{}:{}", self.user.uid, self.user.gid));
        if self.user.mapping == Mapping::KeptId {
            words.words(&["--userns", "keep-id"]);
        }
        if self.engine == Engine::Podman {
            words.words(&["--read-only-tmpfs=false", "--http-proxy=false"]);
        }
        // An engine sets its own, which may be more than it can give where it is no full root itself.
        for (name, resource, most) in
            [("nofile", Resource::Nofile, MAX_OPEN_FILES), ("nproc", Resource::Nproc, MAX_TASKS)]
        {
            let limit = getrlimit(resource).maximum.unwrap_or(most).min(most);
            words.pair("--ulimit", &format!("{name}={limit}:{limit}"));
        }
    }

    /// Image and entry: the entry is started by the loader and the libraries that it was built with.
    fn entry(&self, words: &mut Words) -> Result<(), SandboxError> {
        let libraries = Libraries::own();
        if let Some(loader) = &libraries.loader {
            words.mount(loader, Path::new(LOADER), false)?;
            for library in &libraries.shared {
                let name = library.file_name().unwrap_or_default();
                words.mount(library, &Path::new(LIBRARIES).join(name), false)?;
            }
        }
        let mut command = vec![ENTRY.to_string()];
        if libraries.loader.is_some() {
            command = vec![LOADER.into(), "--library-path".into(), LIBRARIES.into(), ENTRY.into()];
        }
        match self.engine {
            Engine::Podman | Engine::Docker => {
                words.pair("--entrypoint", &command.remove(0));
                words.0.push(self.id.clone());
            }
            Engine::Apptainer => words.0.push(self.id.clone()),
        }
        words.0.extend(command);
        Ok(())
    }
}

/// Of podman and docker alike.
const COMMON: [&str; 17] = [
    "run",
    "--rm",
    "--pull=never",
    "--network=none",
    "--hostname=rerun",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    // Files of this machine keep their SELinux labels, so the container cannot have one of its own.
    "--security-opt=label=disable",
    "--ipc=private",
    "--log-driver=none",
    "--no-healthcheck",
    "--sig-proxy=false",
    "--stop-timeout=0",
    "--ulimit",
    "core=0:0",
    "--label=golf-harness=rerun",
];

/// Of apptainer. Its own bounds by cgroups need a delegation that few machines have; memory and processes are looked at.
const APPTAINER: [&str; 14] = [
    "exec",
    "--containall",
    "--cleanenv",
    "--no-home",
    "--no-mount",
    "home,cwd,tmp,hostfs,bind-paths",
    "--no-privs",
    "--drop-caps",
    "ALL",
    "--net",
    "--network",
    "none",
    "--hostname",
    "rerun",
];

/// The kernel's bound lies a little above the one that is looked at, so that a run that grows slowly is ended with a word.
fn hard_memory(memory: Bytes) -> u64 {
    memory.0.saturating_add(memory.0 / 16).saturating_add(64 << 20)
}

/// Threads, which a cgroup counts, too, beside the processes that are looked at.
const HARD_PROCESSES: usize = 1 << 15;

/// Words of a command line.
pub(super) struct Words(pub Vec<String>);

impl Words {
    /// These.
    pub fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|word| word.to_string()));
    }

    /// An option and its value.
    pub fn pair(&mut self, option: &str, value: &str) {
        self.words(&[option, value]);
    }

    /// A file or folder of this machine, at a place inside.
    fn mount(&mut self, from: &Path, to: &Path, is_writable: bool) -> Result<(), SandboxError> {
        let plain = |path: &Path| {
            // Engines take a list of fields here, each with its own way to read commas and quotes.
            let text = path.to_str().filter(|text| !text.contains(|c: char| c.is_control() || matches!(c, ',' | '"')));
            text.map(str::to_string).ok_or_else(|| SandboxError::OddPath(path.to_path_buf()))
        };
        let mode = if is_writable { "" } else { ",ro" };
        let text = format!("type=bind,source={},destination={}{mode}", plain(from)?, plain(to)?);
        self.pair("--mount", &text);
        Ok(())
    }
}
