//! A view of the machine with almost nothing in it: `bwrap`, from the package bubblewrap.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Place;
use crate::rerun::launch::Launch;

/// The program.
pub(super) const PROGRAM: &str = "bwrap";
/// Where the script works.
pub(super) const WORK: &str = "/rerun/work";
/// The script's home folder.
pub(super) const HOME: &str = "/rerun/home";
/// Its temporary files.
pub(super) const TMP: &str = "/tmp";
/// This program.
pub(super) const ENTRY: &str = "/run/golf-harness/rerun";
/// What programs of the system need; bound where it exists.
const SYSTEM: [&str; 14] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/nix/store",
];

/// User and group of a script.
pub(super) const USER: (u32, u32) = (1000, 1000);

/// Files of `/etc` that name the machine and its user: launchers look up the machine's own name.
pub(crate) fn names((uid, gid): (u32, u32)) -> [(&'static str, String); 4] {
    [
        ("group", format!("rerun:x:{gid}:\n")),
        ("hosts", "127.0.0.1 localhost rerun\n::1 localhost rerun\n".into()),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n".into()),
        ("passwd", format!("rerun:x:{uid}:{gid}:rerun:{HOME}:/bin/sh\n")),
    ]
}

/// Arguments of `bwrap`, up to the program inside.
pub(super) fn arguments(launch: &Launch, place: &Place, entry: &Path) -> Vec<OsString> {
    let mut arguments = Arguments::default();
    arguments.words(&["--unshare-all", "--unshare-user"]);
    arguments.words(&["--uid", &USER.0.to_string(), "--gid", &USER.1.to_string()]);
    if version() >= Some((0, 8)) {
        arguments.words(&["--disable-userns"]);
    }
    arguments.words(&["--hostname", "rerun", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]);
    for path in SYSTEM {
        match std::fs::read_link(path) {
            Ok(target) if Path::new(path).parent() == Some(Path::new("/")) => {
                arguments.0.extend(["--symlink".into(), target.into_os_string(), path.into()]);
            }
            _ => arguments.bind("--ro-bind-try", Path::new(path), Path::new(path)),
        }
    }
    arguments.words(&["--proc", "/proc", "--dev", "/dev"]);
    if version() >= Some((0, 7)) {
        arguments.words(&["--size", &(launch.limits.memory.0 / 2).to_string()]);
    }
    arguments.words(&["--tmpfs", "/dev/shm"]);
    let gpus = super::gpu_devices();
    for device in &gpus {
        arguments.bind("--dev-bind", device, device);
    }
    if !gpus.is_empty() {
        // CUDA reads there which processor is near which GPU.
        arguments.bind("--ro-bind", Path::new("/sys"), Path::new("/sys"));
        arguments.bind("--ro-bind-try", Path::new("/proc/driver/nvidia"), Path::new("/proc/driver/nvidia"));
    }
    for (name, _) in names(USER) {
        arguments.bind("--ro-bind", &place.names.join(name), &Path::new("/etc").join(name));
    }
    arguments.bind("--bind", &place.tmp, Path::new(TMP));
    arguments.bind("--bind", &place.home, Path::new(HOME));
    arguments.bind("--bind", &place.work, Path::new(WORK));
    for root in &launch.python.roots {
        let is_there = ["/usr", "/opt"].iter().any(|system| root.starts_with(system));
        if !is_there {
            arguments.bind("--ro-bind", root, root);
        }
    }
    for mount in &launch.data {
        arguments.bind("--ro-bind", &mount.source, &Path::new(WORK).join(&mount.at));
    }
    for file in &launch.files {
        arguments.bind("--ro-bind", &launch.folder.join(file), &Path::new(WORK).join(file));
    }
    arguments.bind("--ro-bind", entry, Path::new(ENTRY));
    // What holds the mounts together is memory; nobody writes to it. Settings of the kernel are the whole machine's, and
    // whoever is root outside may change them.
    arguments.words(&["--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/"]);
    arguments.words(&["--chdir", WORK, "--", ENTRY]);
    arguments.0
}

/// The version installed: older ones know fewer options.
fn version() -> Option<(u32, u32)> {
    let output = std::process::Command::new(PROGRAM).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut parts = text.split_whitespace().next_back()?.split('.').map_while(|part| part.parse().ok());
    Some((parts.next()?, parts.next()?))
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn bind(&mut self, how: &str, from: &Path, to: &Path) {
        self.0.extend([how.into(), from.into(), PathBuf::from(to).into_os_string()]);
    }
}
