//! What became of the seeds of a job.

use std::collections::BTreeMap;
use std::path::Path;

use super::job::{End, Job, JobError, JobFolder, Node, Note};
use super::queue::{self, Seen};
use crate::rerun::judge::{MachineFacts, MissingSeed, SeedState};
use crate::rerun::launch::Launch;
use crate::rerun::session::{Finished, Found, Hold, SessionError, found, inputs};

/// Why nothing was collected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// The job.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The run folder.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// What there is of a job.
pub struct Collected {
    /// The job.
    pub job: Job,
    /// What is finished.
    pub finished: Finished,
    /// What is not.
    pub missing: Vec<MissingSeed>,
    /// The machines, as one where they are alike.
    pub machine: MachineFacts,
    /// Machines by name, where they are not alike.
    pub unlike: Vec<String>,
    _hold: Hold,
}

/// Looks at every seed.
pub fn collect(out: &Path) -> Result<Collected, CollectError> {
    let folder = JobFolder::of(out);
    let job = folder.job()?;
    let hold = Hold::shared(out)?;
    let inputs = inputs(&job.launch)?;
    let mut finished = Finished { records: Vec::new(), kept: Vec::new(), inputs, changed: Vec::new() };
    let mut missing = Vec::new();
    let mut nodes = Vec::new();
    let mut asked = Asked { folder: &folder, known: BTreeMap::new() };
    for (index, &seed) in job.seeds.iter().enumerate() {
        let note = folder.note(seed)?;
        let node = note.as_ref().and_then(|note| note.found.as_ref());
        let record = node.map_or(Found::Nothing, |node| {
            let launch = Launch { python: node.python.clone(), ..job.launch.clone() };
            found(&launch, &node.isolation, out, seed, &finished.inputs)
        });
        match (record, note) {
            (Found::Record(record), Some(note)) => {
                finished.records.push(*record);
                if let Some(End::Recorded(changed)) = &note.end {
                    finished.changed.extend(changed.iter().cloned());
                }
                nodes.extend(note.found.map(|node| (seed, note.node, node)));
            }
            (found, note) => missing.push(asked.missing(index, seed, &found, note.as_ref())?),
        }
    }
    finished.changed.sort();
    finished.changed.dedup();
    let (machine, unlike) = machines(&nodes);
    Ok(Collected { job, finished, missing, machine, unlike, _hold: hold })
}

/// What Slurm says, asked once for each job.
struct Asked<'a> {
    folder: &'a JobFolder,
    known: BTreeMap<u64, Option<BTreeMap<usize, Seen>>>,
}

impl Asked<'_> {
    fn missing(
        &mut self,
        index: usize,
        seed: u64,
        found: &Found,
        note: Option<&Note>,
    ) -> Result<MissingSeed, JobError> {
        let jobs = self.folder.submitted()?.jobs;
        let job = jobs.iter().rev().find(|job| job.seeds.contains(&seed)).map(|job| job.id);
        let tasks = job.and_then(|id| self.known.entry(id).or_insert_with(|| queue::tasks(id)).as_ref());
        let seen = tasks.and_then(|tasks| tasks.get(&index));
        let task = job.map_or(String::new(), |id| format!("task {id}_{index}: "));
        let printed = self.folder.printed(index);
        let printed = if printed.exists() { format!("; it printed {}", printed.display()) } else { String::new() };
        let missing = |state, words: String| Ok(MissingSeed { seed, state, words: crate::escape::visible(&words) });
        if let Some(seen) = seen.filter(|seen| seen.is_alive()) {
            let state = if seen.state == "PENDING" { SeedState::Pending } else { SeedState::Running };
            return missing(state, format!("{task}{} {}", seen.state, seen.detail));
        }
        let slurm = seen.map_or(String::new(), |seen| format!(" (Slurm: {}, {})", seen.state, seen.detail));
        match (note, found) {
            (Some(Note { end: Some(End::Failed(reason)), node, .. }), _) => {
                missing(SeedState::Failed, format!("{task}on {node}: {reason}{printed}"))
            }
            (Some(note), _) if note.end.is_none() && job.is_some() && tasks.is_none() => {
                missing(SeedState::Unknown, format!("{task}begun on {}; Slurm cannot be asked here", note.node))
            }
            (Some(note), _) if note.end.is_none() => {
                missing(SeedState::Failed, format!("{task}it ended in the middle, on {}{slurm}{printed}", note.node))
            }
            (_, Found::Other) => missing(
                SeedState::Other,
                format!("{task}it was run with other code, data or settings than the job has; submit it again"),
            ),
            _ if job.is_some() && tasks.is_none() => {
                missing(SeedState::Unknown, format!("{task}nothing is there; Slurm cannot be asked here"))
            }
            _ if job.is_some() => missing(SeedState::Failed, format!("{task}it left nothing{slurm}{printed}")),
            _ => missing(SeedState::Unknown, "it was not started, or left nothing".into()),
        }
    }
}

/// One machine for all, and the names of those that are unlike. GPUs of unlike machines are counted together: what needs
/// so many of one kind is not fulfilled by a mixture.
fn machines(nodes: &[(u64, String, Node)]) -> (MachineFacts, Vec<String>) {
    let mut kinds: Vec<&(u64, String, Node)> = Vec::new();
    for node in nodes {
        if !kinds.iter().any(|known| known.2.machine == node.2.machine) {
            kinds.push(node);
        }
    }
    let Some((_, _, first)) = kinds.first() else { return (MachineFacts::default(), Vec::new()) };
    let mut machine = first.machine.clone();
    for (_, _, other) in kinds.iter().filter(|(_, _, other)| other.machine.gpus != first.machine.gpus) {
        machine.gpus.extend(other.machine.gpus.iter().cloned());
    }
    let describe = |(seed, name, node): &&(u64, String, Node)| {
        let machine = &node.machine;
        let gpus = machine.gpus.first().map_or("no GPU".to_string(), |gpu| format!("{} x {gpu}", machine.gpus.len()));
        format!("seed {seed} on {name} ({gpus}, {} processors, {})", machine.processors, machine.python)
    };
    let unlike = if kinds.len() > 1 { kinds.iter().map(describe).collect() } else { Vec::new() };
    (machine, unlike)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rerun::launch::Python;
    use crate::rerun::sandbox::Isolation;

    #[test]
    fn gpus_of_unlike_machines_are_no_machine_that_a_track_is_timed_on() {
        let node = |seed: u64, gpu: &str| {
            let machine = MachineFacts { gpus: vec![gpu.to_string(); 8], ..MachineFacts::default() };
            let node = Node { isolation: Isolation::Landlock, python: Python::default(), machine };
            (seed, format!("node{seed}"), node)
        };
        let (machine, unlike) = machines(&[node(1, "H100"), node(2, "H100")]);
        assert_eq!((machine.gpus.len(), unlike.len()), (8, 0));
        let (machine, unlike) = machines(&[node(1, "H100"), node(2, "A100"), node(3, "H100")]);
        assert_eq!(machine.gpus.len(), 16);
        assert!(unlike.len() == 2 && unlike[1].starts_with("seed 2 on node2 (8 x A100"), "{unlike:?}");
    }
}
