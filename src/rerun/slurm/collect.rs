//! What became of the seeds of a job.

use std::collections::BTreeMap;
use std::path::Path;

use super::job::{End, Job, JobError, JobFolder, Note};
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
    let mut notes = Vec::new();
    let mut asked = Asked { folder: &folder, known: BTreeMap::new() };
    for (index, &seed) in job.seeds.iter().enumerate() {
        let note = folder.note(seed)?;
        let record = note.as_ref().map_or(Found::Nothing, |note| {
            let launch = Launch { python: note.python.clone(), ..job.launch.clone() };
            found(&launch, note.isolation, out, seed, &finished.inputs)
        });
        match (record, note) {
            (Found::Record(record), Some(note)) => {
                finished.records.push(*record);
                if let Some(End::Recorded(changed)) = &note.end {
                    finished.changed.extend(changed.iter().cloned());
                }
                notes.push(note);
            }
            (found, note) => missing.push(asked.missing(index, seed, &found, note.as_ref())?),
        }
    }
    finished.changed.sort();
    finished.changed.dedup();
    let (machine, unlike) = machines(&notes);
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
fn machines(notes: &[Note]) -> (MachineFacts, Vec<String>) {
    let mut machine = notes.first().map_or_else(MachineFacts::default, |note| note.machine.clone());
    let mut kinds: Vec<&Note> = Vec::new();
    for note in notes {
        if !kinds.iter().any(|known| known.machine == note.machine) {
            kinds.push(note);
        }
    }
    for other in kinds.iter().skip(1).filter(|other| other.machine.gpus != kinds[0].machine.gpus) {
        machine.gpus.extend(other.machine.gpus.iter().cloned());
    }
    let unlike = if kinds.len() > 1 { kinds.into_iter().map(describe).collect() } else { Vec::new() };
    (machine, unlike)
}

fn describe(note: &Note) -> String {
    let machine = &note.machine;
    let gpus = machine.gpus.first().map_or("no GPU".to_string(), |gpu| format!("{} x {gpu}", machine.gpus.len()));
    format!("seed {} on {} ({gpus}, {} processors, {})", note.seed, note.node, machine.processors, machine.python)
}
