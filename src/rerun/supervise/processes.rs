//! Processes below one of ours, as `/proc` shows them.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use crate::units::Bytes;

/// More processes than this are not listed.
const MAX_LISTED: usize = 100_000;

/// Every process below `root`, itself left out: children before their own children.
pub fn below(root: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut waiting = vec![root];
    while let Some(parent) = waiting.pop() {
        let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for task in tasks {
            // A process that has ended meanwhile has no children left.
            let Ok(children) = fs::read_to_string(task.path().join("children")) else { continue };
            let children = children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
            let children: Vec<u32> = children.take(MAX_LISTED.saturating_sub(found.len())).collect();
            found.extend(&children);
            waiting.extend(children);
        }
    }
    found
}

/// [`below`] without those that have ended and are not waited for yet.
pub fn alive_below(root: u32) -> Vec<u32> {
    below(root).into_iter().filter(|pid| !is_zombie(*pid)).collect()
}

/// Memory of its own: pages in memory that no file is behind.
pub fn memory(pid: u32) -> Bytes {
    let Ok(statm) = fs::read_to_string(format!("/proc/{pid}/statm")) else { return Bytes(0) };
    let mut pages = statm.split_whitespace().skip(1).map(|word| word.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    Bytes(resident.saturating_sub(shared).saturating_mul(rustix::param::page_size() as u64))
}

/// Ends every process below this one, and waits for them. Gives how many were there at first; `Err` those that are
/// still there after so long.
pub fn end_all(patience: Duration) -> Result<usize, usize> {
    let own = std::process::id();
    let deadline = Instant::now() + patience;
    let mut first = None;
    loop {
        let alive = alive_below(own);
        let first = *first.get_or_insert(alive.len());
        // Those that ended are waited for, so that their numbers are free again.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        if alive.is_empty() {
            return Ok(first);
        }
        if Instant::now() > deadline {
            return Err(alive.len());
        }
        // Stopped first: what is stopped starts no others.
        for signal in [Signal::STOP, Signal::KILL] {
            for pid in alive.iter().filter_map(|pid| Pid::from_raw(*pid as i32)) {
                // It may have ended by itself.
                let _ = kill_process(pid, signal);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_zombie(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // The name in parentheses may hold anything.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}
