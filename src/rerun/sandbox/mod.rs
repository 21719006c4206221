//! What stands between a script and the machine.
//!
//! * [`Isolation::Bubblewrap`]: name spaces of its own for users, processes, memory and network, and a file system with
//!   nothing in it but the system's programs, the interpreter, code and data (read-only) and its own folders;
//! * [`Isolation::Landlock`]: where user name spaces are refused, as in rented containers: files and ports by Landlock,
//!   system calls by seccomp;
//! * [`Isolation::Container`]: an image's file system, run by podman, docker or apptainer with the same promises;
//! * [`Isolation::Nothing`]: asked for by flag, and said in the report.
//!
//! Which of it holds is tried from inside ([`Sandbox::probe`]) before a script is.

pub(crate) mod bubblewrap;
pub mod container;
mod direct;
pub(crate) mod entry;
mod environment;
pub(crate) mod probe;

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use probe::{Promise, Tried};

use self::container::Container;
use self::container::arguments::{Inside, LOCK};
use self::entry::{Job, Program, Task};
use self::probe::{Known, Questions};
use super::launch::Launch;
use super::supervise::cgroup::Share;
use super::supervise::keeper;

/// Ports of the probe: below those that the system hands out, and no service's.
const PROBE_PORTS: std::ops::Range<u16> = 20_000..29_000;

/// What is around the script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// bubblewrap, and a seccomp filter inside.
    Bubblewrap,
    /// Landlock and a seccomp filter.
    Landlock,
    /// A container, and a seccomp filter inside.
    Container(Box<Container>),
    /// Nothing but limits.
    Nothing,
}

impl Isolation {
    /// In words.
    pub fn words(&self) -> String {
        match self {
            Isolation::Bubblewrap => "bubblewrap with seccomp".into(),
            Isolation::Landlock => "Landlock with seccomp".into(),
            Isolation::Container(container) => container.words(),
            Isolation::Nothing => "NO SANDBOX".into(),
        }
    }

    /// The container, if it is one.
    pub fn container(&self) -> Option<&Container> {
        match self {
            Isolation::Container(container) => Some(container),
            _ => None,
        }
    }

    /// Files of `/etc` that name the machine and the script's user.
    pub(super) fn names(&self) -> [(&'static str, String); 4] {
        let user = self.container().map(|container| (container.user.uid, container.user.gid));
        bubblewrap::names(user.unwrap_or(bubblewrap::USER))
    }

    /// What it promises. Under Landlock the script works on a copy of the code that it can write; the copy is compared
    /// afterwards.
    fn promises(&self, tried: &Tried) -> bool {
        match self {
            Isolation::Bubblewrap | Isolation::Container(_) => true,
            Isolation::Landlock => !matches!(tried.promise, Promise::CodeUnwritable | Promise::SupervisorUnreachable),
            Isolation::Nothing => matches!(tried.promise, Promise::ScratchWritable | Promise::InputsReadable),
        }
    }
}

/// Which isolation is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// bubblewrap; Landlock where user name spaces are refused.
    #[default]
    Best,
    /// This one.
    Exactly(Isolation),
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// bubblewrap is not installed.
    #[error(
        "bubblewrap (bwrap) is not on the path, so the script would have no sandbox; install it (Debian, Ubuntu: \
         apt install bubblewrap; Fedora: dnf install bubblewrap), or pass --sandbox landlock, which bounds files and \
         network by the kernel's Landlock, or --no-sandbox in a machine that may be harmed"
    )]
    NoBubblewrap,
    /// bubblewrap cannot do its work.
    #[error(
        "bubblewrap does not work here: {0}; pass --sandbox landlock, which needs no name spaces, or --no-sandbox in a \
         machine that may be harmed"
    )]
    Refused(String),
    /// The sandbox does not do what it promises.
    #[error("{} does not keep its promises here: {}; pass another --sandbox, or --no-sandbox in a machine that may be harmed", .0, .1)]
    Broken(String, String),
    /// A path that a container engine cannot be told.
    #[error(
        "{}: a container engine cannot be told of a path with commas, quotes or control characters; rename it, or use \
         another --sandbox", crate::escape::visible(&.0.to_string_lossy())
    )]
    OddPath(PathBuf),
    /// The system refused something.
    #[error("cannot probe the sandbox: {0}")]
    Io(#[from] std::io::Error),
}

/// Folders of one run that the script may write.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it works.
    pub work: PathBuf,
    /// Its temporary files.
    pub tmp: PathBuf,
    /// Its home folder.
    pub home: PathBuf,
    /// Names of the machine and of the user, which the script reads.
    pub names: PathBuf,
}

impl Place {
    /// Below one folder.
    pub fn below(folder: &Path) -> Self {
        Place {
            work: folder.join("work"),
            tmp: folder.join("tmp"),
            home: folder.join("home"),
            names: folder.join("names"),
        }
    }

    /// What the script may write.
    pub fn folders(&self) -> [&Path; 3] {
        [&self.work, &self.tmp, &self.home]
    }
}

/// A sandbox for one run.
pub struct Sandbox<'a> {
    /// What is around the script.
    pub isolation: &'a Isolation,
    /// What is run.
    pub launch: &'a Launch,
    /// Its folders.
    pub place: &'a Place,
    /// This program: it starts itself as keeper and as entry.
    pub program: &'a Path,
    /// A file that the supervisor holds locked as long as it lives.
    pub lock: &'a Path,
}

/// Decides what is around the script.
pub fn choose(wanted: Wanted) -> Result<Isolation, SandboxError> {
    let is_best = wanted == Wanted::Best;
    if let Wanted::Exactly(isolation) = wanted
        && isolation != Isolation::Bubblewrap
    {
        return Ok(isolation);
    }
    let tried = Command::new(bubblewrap::PROGRAM)
        .args(["--unshare-all", "--unshare-user", "--ro-bind", "/", "/", "--", "/bin/true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output();
    let works = match tried {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(error.to_string())),
        Ok(output) if output.status.success() => Some(Ok(())),
        Ok(output) => Some(Err(crate::report::quote(&String::from_utf8_lossy(&output.stderr)))),
    };
    match (works, is_best) {
        (Some(Ok(())), _) => Ok(Isolation::Bubblewrap),
        (_, true) if !has_user_name_spaces() => Ok(Isolation::Landlock),
        (Some(Err(_)), true) => Ok(Isolation::Landlock),
        (Some(Err(words)), _) => Err(SandboxError::Refused(words)),
        (None, _) => Err(SandboxError::NoBubblewrap),
    }
}

/// Whether the kernel has user name spaces to give, as far as its settings tell.
pub fn has_user_name_spaces() -> bool {
    let is_zero = |path| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "0");
    !is_zero("/proc/sys/user/max_user_namespaces") && !is_zero("/proc/sys/kernel/unprivileged_userns_clone")
}

/// Devices of NVIDIA's driver.
fn gpu_devices() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut devices: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("nvidia"))
        .map(|entry| entry.path())
        .collect();
    devices.sort();
    devices
}

impl Sandbox<'_> {
    /// The folders as the script sees them.
    pub fn inside(&self) -> Place {
        match self.isolation {
            Isolation::Bubblewrap | Isolation::Container(_) => Place {
                work: bubblewrap::WORK.into(),
                tmp: bubblewrap::TMP.into(),
                home: bubblewrap::HOME.into(),
                names: "/etc".into(),
            },
            Isolation::Landlock | Isolation::Nothing => self.place.clone(),
        }
    }

    /// The script's environment for a seed.
    pub fn variables(&self, seed: u64) -> std::collections::BTreeMap<String, String> {
        environment::variables(self.launch, &self.inside(), seed)
    }

    /// Starts a seed: below a keeper, inside of the sandbox.
    pub fn start(&self, seed: u64) -> Result<Command, SandboxError> {
        let inside = self.inside();
        let command = self.launch.command(seed, &inside.work);
        let mut variables = self.variables(seed);
        let hands_input_on = self.launch.is_by_steps();
        if hands_input_on {
            variables.extend(environment::of_slurm());
        }
        let program = Program { command, variables, folder: inside.work, hands_input_on };
        self.command(Task::Run(program))
    }

    fn command(&self, task: Task) -> Result<Command, SandboxError> {
        let mut job = Job {
            files: None,
            ports: None,
            refuses_calls: *self.isolation != Isolation::Nothing,
            file_size: Some(self.launch.limits.disk),
            lock: self.isolation.container().map(|_| LOCK.into()),
            task,
        };
        if *self.isolation == Isolation::Landlock {
            job.files = Some(direct::files(self.launch, self.place, self.program));
            job.ports = Some(direct::ports(self.launch));
        }
        let mut command = Command::new(self.program);
        let is_gentle = self.launch.is_by_steps() && matches!(job.task, Task::Run(_));
        command.arg(if is_gentle { keeper::GENTLE_ARGUMENT } else { keeper::ARGUMENT }).env_clear();
        // A probe takes nothing, and a container has bounds of its engine's.
        let share = (matches!(job.task, Task::Run(_)) && self.isolation.container().is_none())
            .then_some(Share { memory: self.launch.limits.memory, processes: self.launch.limits.processes });
        command.arg(serde_json::to_string(&share).map_err(std::io::Error::other)?);
        // Only to find programs: what the script gets to see is in the job.
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        match self.isolation {
            Isolation::Bubblewrap => {
                command.arg(bubblewrap::PROGRAM);
                command.args(bubblewrap::arguments(self.launch, self.place, self.program));
            }
            Isolation::Container(container) => {
                // Podman's monitor leaves a file where it is started when memory runs out.
                command.envs(container::engine::variables()).current_dir(&self.place.tmp);
                if let Some(removal) = container.removal(&Container::name(self.lock)) {
                    command.arg(keeper::FINALLY);
                    command.arg(serde_json::to_string(&removal).map_err(std::io::Error::other)?);
                }
                let (launch, place, program, lock) = (self.launch, self.place, self.program, self.lock);
                let has_gpus = !gpu_devices().is_empty();
                command.args(container.arguments(&Inside { launch, place, program, lock, has_gpus })?);
            }
            Isolation::Landlock | Isolation::Nothing => {
                command.arg(self.program);
            }
        }
        command.arg(entry::ARGUMENT).arg(serde_json::to_string(&job).map_err(std::io::Error::other)?);
        Ok(command)
    }

    /// Removes what an earlier start may have left running or half-made.
    pub fn clear(&self) {
        if let Some(container) = self.isolation.container() {
            container.remove(self.lock);
        }
    }

    /// Tries from inside what the sandbox promises.
    ///
    /// # Errors
    /// If a promise does not hold, or the probe does not run.
    pub fn probe(&self) -> Result<Vec<Tried>, SandboxError> {
        let inside = self.inside();
        // Listens to nobody; that it is there makes a refusal mean something. No port that processes of one run meet at.
        let mut ports = PROBE_PORTS.step_by(89).filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
        let listener = ports.next().ok_or_else(|| std::io::Error::other("no port is free for the probe"))?;
        let questions = Questions {
            port: listener.local_addr()?.port(),
            home: self.home_entries(),
            data: self.launch.data.iter().map(|mount| inside.work.join(&mount.at)).collect(),
            code: self.launch.files.iter().take(256).map(|file| inside.work.join(file)).collect(),
            scratch: inside.folders().map(Path::to_path_buf).to_vec(),
            supervisor: std::process::id(),
        };
        let mut command = self.command(Task::Probe(questions))?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (mut output, mut said) = (Vec::new(), String::new());
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            stdout.take(1 << 20).read_to_end(&mut output)?;
            stderr.take(1 << 16).read_to_string(&mut said)?;
        }
        child.wait()?;
        let Ok(tried) = serde_json::from_slice::<Vec<Tried>>(&output) else {
            let words = said.lines().next().unwrap_or("the probe gave no answer");
            return Err(SandboxError::Broken(self.isolation.words(), crate::report::quote(words)));
        };
        match tried.iter().find(|tried| !tried.held && self.isolation.promises(tried)) {
            Some(broken) => {
                let words = format!("{}: {}", broken.promise.words(), broken.found);
                Err(SandboxError::Broken(self.isolation.words(), words))
            }
            None => Ok(tried),
        }
    }

    /// What lies in the user's home folder, as far as the run has nothing to do with it.
    fn home_entries(&self) -> Vec<Known> {
        let Some(home) = std::env::home_dir().filter(|home| home.parent().is_some()) else { return Vec::new() };
        let launch = self.launch;
        let sources = launch.data.iter().map(|mount| mount.source.as_path());
        let used: Vec<&Path> = launch
            .python
            .roots
            .iter()
            .map(PathBuf::as_path)
            .chain(sources)
            .chain(self.place.folders())
            .chain([launch.folder.as_path(), self.program])
            .collect();
        let entries = std::fs::read_dir(home).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut entries: Vec<PathBuf> =
            entries.filter(|path| !used.iter().any(|used| used.starts_with(path) || path.starts_with(used))).collect();
        entries.sort();
        entries.into_iter().take(64).filter_map(Known::new).collect()
    }
}
