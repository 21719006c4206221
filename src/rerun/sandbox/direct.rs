//! Files and ports for Landlock: the same promises as a file system of its own, kept on the machine's.

use std::path::{Path, PathBuf};

use super::Place;
use super::entry::Opened;
use crate::rerun::launch::Launch;

/// Where programs and libraries lie.
const EXECUTABLE: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix/store"];
/// Settings of the dynamic linker, and what the kernel says.
const READABLE: [&str; 12] = [
    "/etc/alternatives",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/proc",
    "/sys",
];
/// Devices that do nothing.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// What may be opened.
pub(super) fn files(launch: &Launch, place: &Place, program: &Path) -> Opened {
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
    let mut executable = paths(&EXECUTABLE);
    executable.extend(launch.python.roots.iter().cloned());
    executable.push(program.to_path_buf());
    let mut readable = paths(&READABLE);
    readable.extend(launch.data.iter().map(|mount| mount.source.clone()));
    let mut writable: Vec<PathBuf> = place.folders().map(Path::to_path_buf).to_vec();
    writable.extend(paths(&DEVICES));
    writable.extend(super::gpu_devices());
    if launch.processes() > 1 {
        // Processes of one machine exchange tensors there.
        writable.push("/dev/shm".into());
    }
    Opened { readable, executable, writable }
}

/// Ports that may be used. One process needs none; several meet at ports that the system hands out.
pub(super) fn ports(launch: &Launch) -> Vec<(u16, u16)> {
    if launch.processes() == 1 {
        return Vec::new();
    }
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut words = text.split_whitespace().filter_map(|word| word.parse::<u16>().ok());
    let (first, last) = (words.next().unwrap_or(32768), words.next().unwrap_or(60999));
    // torchrun's rendezvous is at port 0, which is any of these.
    vec![(0, 0), (29400, 29500), (first, last)]
}
