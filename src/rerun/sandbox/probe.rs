//! What the sandbox keeps from a script, tried from inside before the script is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::escape::visible;

/// What to try. Paths are those that the script would use.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Questions {
    /// A port on which this machine listens.
    pub port: u16,
    /// What lies in the user's home folder.
    pub home: Vec<Known>,
    /// Data.
    pub data: Vec<PathBuf>,
    /// Code.
    pub code: Vec<PathBuf>,
    /// Where writing is allowed.
    pub scratch: Vec<PathBuf>,
    /// The supervisor.
    pub supervisor: u32,
}

/// A file or folder of this machine. An image may have another one at the same path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Known {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Known {
    /// What lies at a path, if it is a file or a folder: opening a pipe could wait for ever.
    pub fn new(path: PathBuf) -> Option<Self> {
        let data = fs::metadata(&path).ok().filter(|data| data.is_file() || data.is_dir())?;
        Some(Known { path, device: data.dev(), inode: data.ino() })
    }

    /// Whether it is there, and can be read.
    fn is_readable(&self) -> bool {
        match fs::metadata(&self.path) {
            Ok(data) if (data.dev(), data.ino()) != (self.device, self.inode) => false,
            Ok(data) if data.is_dir() => fs::read_dir(&self.path).is_ok(),
            _ => File::open(&self.path).is_ok(),
        }
    }
}

/// What a sandbox promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// No connection out of it, neither to this machine nor to others.
    NetworkRefused,
    /// Nothing of the home folder can be read.
    HomeUnreadable,
    /// Data cannot be changed.
    DataUnwritable,
    /// The submission's files cannot be changed.
    CodeUnwritable,
    /// Disks and the kernel's memory cannot be opened.
    DevicesClosed,
    /// The supervisor cannot be signaled.
    SupervisorUnreachable,
    /// The memory and the environment of other processes cannot be read.
    OthersUnreadable,
    /// Its own folders can be written.
    ScratchWritable,
    /// Code and data can be read.
    InputsReadable,
}

impl Promise {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Promise::NetworkRefused => "network refused",
            Promise::HomeUnreadable => "home unreadable",
            Promise::DataUnwritable => "data unwritable",
            Promise::CodeUnwritable => "code unwritable",
            Promise::DevicesClosed => "devices closed",
            Promise::SupervisorUnreachable => "supervisor unreachable",
            Promise::OthersUnreadable => "other processes unreadable",
            Promise::ScratchWritable => "scratch writable",
            Promise::InputsReadable => "inputs readable",
        }
    }
}

/// A promise, tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    /// What was promised.
    pub promise: Promise,
    /// It holds.
    pub held: bool,
    /// What happened.
    pub found: String,
}

/// Tries all of it.
pub(crate) fn answers(questions: &Questions) -> Vec<Tried> {
    let tried = |promise, outcome: Result<String, String>| match outcome {
        Ok(found) => Tried { promise, held: true, found: visible(&found) },
        Err(found) => Tried { promise, held: false, found: visible(&found) },
    };
    vec![
        tried(Promise::NetworkRefused, network(questions.port)),
        tried(Promise::HomeUnreadable, unreadable(&questions.home)),
        tried(Promise::DataUnwritable, unwritable(&questions.data)),
        tried(Promise::CodeUnwritable, unwritable(&questions.code)),
        tried(Promise::DevicesClosed, devices()),
        tried(Promise::SupervisorUnreachable, supervisor(questions.supervisor)),
        tried(Promise::OthersUnreadable, others(questions.supervisor)),
        tried(Promise::ScratchWritable, writable(&questions.scratch)),
        tried(Promise::InputsReadable, readable(&[questions.code.as_slice(), &questions.data].concat())),
    ]
}

fn network(port: u16) -> Result<String, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let local = match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        Ok(_) => return Err(format!("a connection to port {port} of this machine was made")),
        Err(error) => error,
    };
    // A datagram socket looks for a way at once and sends nothing. The address is one that is reserved for examples.
    let far =
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)));
    match far {
        Ok(()) => Err("there is a way to other machines".into()),
        Err(error) => Ok(format!("this machine: {local}; others: {error}")),
    }
}

fn unreadable(known: &[Known]) -> Result<String, String> {
    match known.iter().find(|known| known.is_readable()) {
        Some(known) => Err(format!("{} can be read", known.path.display())),
        None => Ok(format!("none of {} files and folders can be opened", known.len())),
    }
}

/// Code and data, each file and the first files of each folder.
fn readable(paths: &[PathBuf]) -> Result<String, String> {
    for path in paths {
        let is_folder = path.is_dir();
        let opened = if is_folder { fs::read_dir(path).map(drop) } else { File::open(path).map(drop) };
        opened.map_err(|error| format!("{}: {error}", path.display()))?;
        let inside = fs::read_dir(path).into_iter().flatten().flatten().take(64).map(|entry| entry.path());
        for file in inside.filter(|file| is_folder && file.is_file()) {
            File::open(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    Ok(format!("{} files and folders", paths.len()))
}

fn unwritable(paths: &[PathBuf]) -> Result<String, String> {
    let mut files = 0;
    for path in paths {
        let written = if path.is_dir() { touch(path) } else { OpenOptions::new().write(true).open(path).map(drop) };
        if written.is_ok() {
            return Err(format!("{} can be written", path.display()));
        }
        files += 1;
        let inside = fs::read_dir(path).into_iter().flatten().flatten().take(64).map(|entry| entry.path());
        for file in inside.filter(|file| file.is_file()) {
            if OpenOptions::new().write(true).open(&file).is_ok() {
                return Err(format!("{} can be written", file.display()));
            }
            files += 1;
        }
    }
    Ok(format!("none of {files} files and folders can be opened for writing"))
}

fn writable(folders: &[PathBuf]) -> Result<String, String> {
    for folder in folders {
        touch(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    Ok(format!("{} folders", folders.len()))
}

/// Makes a file in a folder and removes it.
fn touch(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".golf-harness-probe-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)
}

fn devices() -> Result<String, String> {
    let mut tried = 0;
    for entry in fs::read_dir("/dev").into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name();
        // Opening other devices may do something; these only read.
        if !kind.is_block_device() && name != "mem" && name != "kmsg" {
            continue;
        }
        tried += 1;
        if File::open(entry.path()).is_ok() {
            return Err(format!("{} can be opened", entry.path().display()));
        }
    }
    Ok(format!("none of {tried} disks can be opened"))
}

fn others(pid: u32) -> Result<String, String> {
    for file in ["environ", "mem", "maps"] {
        let path = format!("/proc/{pid}/{file}");
        // Opening is where it is decided.
        if File::open(&path).is_ok() {
            return Err(format!("{path} can be opened"));
        }
    }
    Ok(format!("nothing of process {pid} can be opened"))
}

fn supervisor(pid: u32) -> Result<String, String> {
    let Some(pid) = Pid::from_raw(pid as i32) else { return Ok("no process".into()) };
    match test_kill_process(pid) {
        Ok(()) => Err("it can be signaled".into()),
        Err(error) => Ok(error.to_string()),
    }
}
