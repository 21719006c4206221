//! A control group of its own for what a keeper runs: the kernel bounds memory and tasks, at every moment.
//!
//! Version 2, beside the group that this process is in, where that is delegated to this user or the user is root. A
//! group cannot hold processes and bounded groups at a time, so beneath the own group there is no place for one. Where
//! there is none, memory and processes are looked at while a run goes on, and that has to do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// What names of groups begin with; the keeper's process id follows.
const PREFIX: &str = "golf-harness-rerun-";
/// How long a group may be busy after its last process has ended.
const PATIENCE: Duration = Duration::from_secs(2);
/// Threads count as tasks, and a process has many.
const TASKS_A_PROCESS: usize = 16;

/// What a group may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Memory, page cache included, which the kernel takes back first.
    pub memory: Bytes,
    /// Processes.
    pub processes: usize,
}

impl Share {
    fn tasks(&self) -> usize {
        self.processes.saturating_mul(TASKS_A_PROCESS)
    }
}

/// A group with this process in it.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
    /// The group that this process was in.
    before: PathBuf,
    share: Share,
}

impl Group {
    /// Makes a group and moves this process into it, and so everything that it starts.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn enter(share: Share) -> Result<Self, String> {
        let before = own_group(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)?;
        let parent = before.parent().filter(|parent| parent.join("cgroup.procs").exists()).unwrap_or(&before);
        clear(parent);
        Group::make(parent, &before, share)
    }

    fn make(parent: &Path, before: &Path, share: Share) -> Result<Self, String> {
        let controllers = read(parent.join("cgroup.subtree_control"))?;
        let missing = ["memory", "pids"].iter().find(|name| !controllers.split_whitespace().any(|word| word == **name));
        if let Some(missing) = missing {
            return Err(format!("{} hands on no `{missing}`", parent.display()));
        }
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        let said = |error: io::Error| format!("{}: {error}", path.display());
        fs::create_dir(&path).map_err(said)?;
        let group = Group { path: path.clone(), before: before.to_path_buf(), share };
        let set = |name: &str, value: String| fs::write(path.join(name), value);
        let entered = set("memory.max", share.memory.0.to_string())
            .and_then(|()| set("pids.max", share.tasks().to_string()))
            .and_then(|()| set("cgroup.procs", std::process::id().to_string()));
        // Memory that is swapped out is memory; a kernel without swap has no such file.
        let _ = set("memory.swap.max", "0".into());
        match entered {
            Ok(()) => Ok(group),
            Err(error) => {
                group.leave();
                Err(said(error))
            }
        }
    }

    /// What it bounds, in words.
    pub fn words(&self) -> String {
        format!("cgroup: memory {} bytes, {} tasks", self.share.memory, self.share.tasks())
    }

    /// The bound that something ran against, in words.
    pub fn broken(&self) -> Option<String> {
        let count = |file: &str, name: &str| {
            let text = fs::read_to_string(self.path.join(file)).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
            line.unwrap_or(0)
        };
        if count("memory.events", "oom_kill ") > 0 {
            let memory = self.share.memory;
            return Some(format!("took more than {memory} bytes of memory, and the kernel ended it (--memory)"));
        }
        (count("pids.events", "max ") > 0).then(|| {
            format!("started more than {} tasks; {} processes; threads count", self.share.tasks(), self.share.processes)
        })
    }

    /// Moves this process back and removes the group, which is empty then.
    pub fn leave(self) {
        // If it fails, the next start removes it.
        let _ = fs::write(self.before.join("cgroup.procs"), std::process::id().to_string());
        let deadline = Instant::now() + PATIENCE;
        while fs::remove_dir(&self.path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
            if Instant::now() > deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn read(path: impl AsRef<Path>) -> Result<String, String> {
    let path = path.as_ref();
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The group of this process, as a folder.
fn own_group(mounts: &str, groups: &str) -> Result<PathBuf, String> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).ok_or("there is no cgroup of version 2")?;
    // Fields end with ` - `, then the kind of file system; the fourth is what of it is mounted, the fifth where.
    let mounted = mounts.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup2 ").then_some((root, at))
    });
    let (root, at) = mounted.ok_or("no cgroup of version 2 is mounted")?;
    let below = Path::new(own).strip_prefix(root).map_err(|_| "the own cgroup is not mounted".to_string())?;
    if below.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Err("the own cgroup is not mounted".into());
    }
    Ok(Path::new(at).join(below))
}

/// Removes groups whose keeper was killed. Those that still hold processes stay.
fn clear(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let keeper = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if keeper.is_some_and(|keeper| !Path::new("/proc").join(keeper.to_string()).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_where_it_is_mounted() {
        let mounts = "25 30 0:23 / /proc rw - proc proc rw\n31 25 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        let of = |mounts: &str, groups: &str| own_group(mounts, groups).map(|path| path.display().to_string());
        assert_eq!(of(mounts, "0::/user.slice/a.scope\n").as_deref(), Ok("/sys/fs/cgroup/user.slice/a.scope"));
        assert_eq!(of(mounts, "4:memory:/x\n0::/\n").as_deref(), Ok("/sys/fs/cgroup/"));
        let part = mounts.replace("0:27 / ", "0:27 /pod/c1 ");
        assert_eq!(of(&part, "0::/pod/c1/s\n").as_deref(), Ok("/sys/fs/cgroup/s"));
        for (mounts, groups) in
            [(mounts, "4:memory:/x\n"), (&part, "0::/other\n"), ("", "0::/\n"), (mounts, "0::/../x\n")]
        {
            assert!(own_group(mounts, groups).is_err(), "{groups}");
        }
    }

    #[test]
    fn a_group_is_made_only_where_it_would_bound() {
        let parent = tempfile::tempdir().unwrap();
        let share = Share { memory: Bytes(1 << 20), processes: 4 };
        let control = parent.path().join("cgroup.subtree_control");
        fs::write(&control, "cpu memory\n").unwrap();
        let refused = Group::make(parent.path(), parent.path(), share).unwrap_err();
        assert!(refused.contains("no `pids`"), "{refused}");
        fs::write(&control, "cpu memory pids\n").unwrap();
        let group = Group::make(parent.path(), parent.path(), share).unwrap();
        let said = |name: &str| fs::read_to_string(group.path.join(name)).unwrap();
        assert_eq!((said("memory.max"), said("pids.max")), ("1048576".to_string(), "64".to_string()));
        assert_eq!(said("cgroup.procs"), std::process::id().to_string());
        assert_eq!(group.broken(), None);
        fs::write(group.path.join("pids.events"), "max 3\n").unwrap();
        assert!(group.broken().unwrap().contains("4 processes"));
        fs::write(group.path.join("memory.events"), "low 0\noom 1\noom_kill 1\n").unwrap();
        assert!(group.broken().unwrap().contains("1,048,576 bytes of memory"));
    }

    #[test]
    fn groups_of_keepers_that_were_killed_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let own = parent.path().join(format!("{PREFIX}{}", std::process::id()));
        // Beyond the highest number that a process can have.
        let killed = parent.path().join(format!("{PREFIX}{}", 1u32 << 23));
        let other = parent.path().join("user.slice");
        [&own, &killed, &other].into_iter().for_each(|path| fs::create_dir(path).unwrap());
        clear(parent.path());
        assert!(own.exists() && other.exists() && !killed.exists());
    }
}
