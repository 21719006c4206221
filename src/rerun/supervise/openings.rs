//! Which data files were opened when, by inotify. Watches lie on the files themselves, so they work from outside of the
//! sandbox; another program that opens the same file meanwhile is seen, too.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};

use crate::escape::visible;
use crate::rerun::launch::Launch;
use crate::rerun::record::{Opening, Phase};

/// Most folders watched.
const MAX_FOLDERS: usize = 256;
/// Most files recorded.
const MAX_FILES: usize = 1000;

/// Watches over data.
pub(super) struct Openings {
    /// None where the kernel gives no watches.
    queue: Option<OwnedFd>,
    /// Where the script finds what a watch lies on.
    watched: BTreeMap<i32, String>,
    first: BTreeMap<String, (Duration, Phase)>,
}

impl Openings {
    /// Watches the data of a launch.
    pub fn of(launch: &Launch) -> Self {
        let queue = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        let mut openings = Openings { queue, watched: BTreeMap::new(), first: BTreeMap::new() };
        for mount in &launch.data {
            openings.watch(&mount.source, &visible(&mount.at.to_string_lossy()));
        }
        openings
    }

    fn watch(&mut self, source: &Path, at: &str) {
        let Some(queue) = &self.queue else { return };
        let mut waiting = vec![(source.to_path_buf(), at.to_string())];
        while let Some((path, at)) = waiting.pop() {
            if self.watched.len() >= MAX_FOLDERS {
                return;
            }
            // What cannot be watched is not recorded; the run itself does not depend on it.
            let Ok(watch) = add_watch(queue, &path, WatchFlags::OPEN) else { continue };
            self.watched.insert(watch, at.clone());
            for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    waiting.push((entry.path(), format!("{at}/{}", visible(&entry.file_name().to_string_lossy()))));
                }
            }
        }
    }

    /// What was opened since the last look, at this time and in this phase.
    pub fn look(&mut self, at: Duration, phase: Phase) {
        let Some(queue) = &self.queue else { return };
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = Reader::new(queue, &mut buffer);
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::ISDIR) || self.first.len() >= MAX_FILES {
                continue;
            }
            let Some(folder) = self.watched.get(&event.wd()) else { continue };
            let name = match event.file_name() {
                Some(name) => format!("{folder}/{}", visible(&name.to_string_lossy())),
                None => folder.clone(),
            };
            self.first.entry(name).or_insert((at, phase));
        }
    }

    /// First openings, in the order of time.
    pub fn list(self) -> Vec<Opening> {
        let mut list: Vec<Opening> = self
            .first
            .into_iter()
            .map(|(path, (at, phase))| Opening { path, seconds: at.as_secs_f64(), phase })
            .collect();
        list.sort_by(|a, b| a.seconds.total_cmp(&b.seconds).then_with(|| a.path.cmp(&b.path)));
        list
    }
}
