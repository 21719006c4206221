//! What a run takes, looked at while it runs: memory, processes, disk.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::processes;
use crate::rerun::launch::Limits;
use crate::rerun::record::Peak;
use crate::rerun::sandbox::Place;
use crate::rerun::sandbox::container::Watch;
use crate::units::Bytes;

/// More files than this are more than any submission writes.
const MAX_FILES: u64 = 100_000;
/// Folders deeper than this are deeper than any cache: what lies there would be counted for nothing.
const MAX_DEPTH: usize = 64;
/// A folder that cannot be looked into for so many looks in a row is closed on purpose.
const MAX_CLOSED: u32 = 10;
/// Room that is left to others where the run's folders lie.
const RESERVE: Bytes = Bytes(256 << 20);
/// How often disk is looked at, at most, and which share of the time that may take.
const DISK_TICK: Duration = Duration::from_millis(200);
const DISK_SHARE: u32 = 100;

/// Looks at a run.
pub(super) struct Bounds<'a> {
    limits: &'a Limits,
    place: &'a Place,
    root: Root,
    next_disk: Instant,
    /// Looks in a row that found a folder closed.
    closed: u32,
    /// The most seen.
    pub peak: Peak,
}

impl<'a> Bounds<'a> {
    /// For what runs below this keeper, or in a container whose first process is looked for.
    pub fn new(limits: &'a Limits, place: &'a Place, keeper: u32, container: Option<Watch>) -> Self {
        let root = container.map_or(Root::Keeper(keeper), Root::Awaited);
        Bounds { limits, place, root, next_disk: Instant::now(), closed: 0, peak: Peak::default() }
    }

    /// The bound that is broken, in words.
    pub fn broken(&mut self) -> Option<String> {
        self.processes().or_else(|| self.disk())
    }

    fn processes(&mut self) -> Option<String> {
        let processes = self.root.processes();
        let memory = Bytes(processes.iter().map(|pid| processes::memory(*pid).0).sum());
        self.peak.memory = self.peak.memory.max(memory);
        self.peak.processes = self.peak.processes.max(processes.len());
        if memory > self.limits.memory {
            return Some(format!("took {memory} bytes of memory; {} are allowed (--memory)", self.limits.memory));
        }
        (processes.len() > self.limits.processes)
            .then(|| format!("started {} processes; {} are allowed", processes.len(), self.limits.processes))
    }

    fn disk(&mut self) -> Option<String> {
        let begun = Instant::now();
        if begun < self.next_disk {
            return None;
        }
        let mut used = Used::default();
        self.place.folders().iter().for_each(|folder| used.add(folder));
        self.peak.disk = self.peak.disk.max(used.bytes);
        self.next_disk = Instant::now() + DISK_TICK.max(begun.elapsed() * DISK_SHARE);
        if used.bytes > self.limits.disk {
            return Some(format!("wrote {} bytes to disk; {} are allowed (--disk)", used.bytes, self.limits.disk));
        }
        if used.files > MAX_FILES {
            return Some(format!("made more than {MAX_FILES} files"));
        }
        if used.is_too_deep {
            return Some(format!("made folders deeper than {MAX_DEPTH}"));
        }
        self.closed = if used.is_closed { self.closed + 1 } else { 0 };
        if self.closed > MAX_CLOSED {
            return Some("keeps a folder closed to its supervisor".into());
        }
        // Files that were removed and are still written to are in no folder.
        let space = rustix::fs::statvfs(&self.place.work).ok()?;
        let free = Bytes(space.f_bavail.saturating_mul(space.f_frsize));
        (free < RESERVE).then(|| format!("the disk is full: {free} bytes are free"))
    }
}

/// What the processes of a run are below of.
enum Root {
    /// The keeper, which is not one of them.
    Keeper(u32),
    /// A container that is not known yet. Until then the engine's own bounds are all there is.
    Awaited(Watch),
    /// The first process of a container.
    Container(u32),
}

impl Root {
    fn processes(&mut self) -> Vec<u32> {
        if let Root::Awaited(watch) = self
            && let Some(pid) = watch.look()
        {
            *self = Root::Container(pid);
        }
        match self {
            Root::Keeper(keeper) => processes::below(*keeper),
            Root::Awaited(_) => Vec::new(),
            Root::Container(first) => std::iter::once(*first).chain(processes::below(*first)).collect(),
        }
    }
}

/// What lies on disk.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    bytes: Bytes,
    files: u64,
    is_too_deep: bool,
    is_closed: bool,
}

impl Used {
    fn add(&mut self, folder: &Path) {
        let mut folders = vec![(folder.to_path_buf(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let entries = match fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error) => {
                    // What has gone meanwhile is nothing.
                    self.is_closed |= error.kind() == io::ErrorKind::PermissionDenied;
                    self.is_too_deep |= error.raw_os_error() == Some(rustix::io::Errno::NAMETOOLONG.raw_os_error());
                    continue;
                }
            };
            for entry in entries.flatten() {
                if self.files > MAX_FILES {
                    return;
                }
                self.files += 1;
                let Ok(data) = entry.metadata() else { continue };
                self.bytes.0 += data.blocks() * 512;
                match data.is_dir() {
                    true if depth >= MAX_DEPTH => self.is_too_deep = true,
                    true => folders.push((entry.path(), depth + 1)),
                    false => {}
                }
            }
        }
    }
}
