//! What Slurm says of a job, by its own programs: `squeue`, and `sacct` where there is accounting.

use std::collections::BTreeMap;
use std::process::Command;

use crate::escape::visible;

/// States of tasks that have not ended.
const ALIVE: [&str; 9] = [
    "PENDING",
    "RUNNING",
    "CONFIGURING",
    "COMPLETING",
    "SUSPENDED",
    "REQUEUED",
    "REQUEUE_HOLD",
    "STAGE_OUT",
    "RESIZING",
];

/// A task of an array, as Slurm sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Slurm's word, such as `PENDING`.
    pub state: String,
    /// Why it waits, or where it runs.
    pub detail: String,
}

impl Seen {
    /// It has not ended.
    pub fn is_alive(&self) -> bool {
        ALIVE.contains(&self.state.as_str())
    }
}

/// Tasks of a job that Slurm knows, by their place in the array. `None` where it cannot be asked.
pub fn tasks(job: u64) -> Option<BTreeMap<usize, Seen>> {
    let job = job.to_string();
    let words = ["--noheader", "--array", "--states=all", "--format=%K|%T|%R", "--jobs"];
    let queue = ask("squeue", &words, &job);
    let words = ["--noheader", "--parsable2", "--allocations", "--format=JobID,State,ExitCode", "--jobs"];
    let accounts = ask("sacct", &words, &job);
    if let (Err(Silence::Absent), Err(_)) = (&queue, &accounts) {
        return None;
    }
    let mut seen = accounts.map_or_else(|_| BTreeMap::new(), |text| of_accounts(&text));
    // Of a job that ended a while ago the queue knows nothing, and says so by an error.
    seen.extend(queue.map_or_else(|_| BTreeMap::new(), |text| of_queue(&text)));
    Some(seen)
}

enum Silence {
    Absent,
    Refused,
}

fn ask(program: &str, words: &[&str], job: &str) -> Result<String, Silence> {
    let mut command = Command::new(program);
    command.args(words).arg(job);
    match crate::rerun::ask::ask(command) {
        Err(_) | Ok(None) => Err(Silence::Absent),
        Ok(Some(answer)) if answer.is_good => Ok(String::from_utf8_lossy(&answer.output).into_owned()),
        Ok(Some(_)) => Err(Silence::Refused),
    }
}

fn of_queue(text: &str) -> BTreeMap<usize, Seen> {
    let line = |line: &str| {
        let mut parts = line.trim().splitn(3, '|');
        let (index, state, detail) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
        Some((index, Seen { state: visible(state), detail: visible(detail) }))
    };
    text.lines().filter_map(line).collect()
}

fn of_accounts(text: &str) -> BTreeMap<usize, Seen> {
    let line = |line: &str| {
        let mut parts = line.trim().splitn(3, '|');
        let index = parts.next()?.split_once('_')?.1.parse().ok()?;
        // `CANCELLED by 0`
        let state = parts.next()?.split(' ').next()?;
        Some((index, Seen { state: visible(state), detail: format!("exit code {}", visible(parts.next()?)) }))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slurms_tables_are_read() {
        let queue = of_queue("0|RUNNING|vm\n1|PENDING|(Resources)\nN/A|RUNNING|vm\n2|COMPLETED|vm\n\nx\n");
        let seen = |state: &str, detail: &str| Seen { state: state.into(), detail: detail.into() };
        let expected = [(0, seen("RUNNING", "vm")), (1, seen("PENDING", "(Resources)")), (2, seen("COMPLETED", "vm"))];
        assert_eq!(queue, expected.into());
        assert_eq!(queue.values().map(Seen::is_alive).collect::<Vec<_>>(), [true, true, false]);
        let accounts = of_accounts("12_0|COMPLETED|0:0\n12_1|CANCELLED by 0|0:15\n12_[2-3]|PENDING|0:0\n");
        let expected = [(0, seen("COMPLETED", "exit code 0:0")), (1, seen("CANCELLED", "exit code 0:15"))];
        assert_eq!(accounts, expected.into());
    }
}
