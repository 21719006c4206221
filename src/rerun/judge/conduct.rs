//! How a run behaved, apart from its result: bytes, times, files, processes.

use schemars::JsonSchema;
use serde::Serialize;

use crate::manifest::Track;
use crate::report::Severity;
use crate::rerun::record::{Ended, Phase, SeedRecord};
use crate::rules::Limits;
use crate::units::Bytes;

/// Something that a reader of the result must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Remark {
    /// Which seed; none for all.
    pub seed: Option<u64>,
    /// How bad.
    pub severity: Severity,
    /// A name that stays.
    pub kind: &'static str,
    /// In words.
    pub message: String,
}

/// By so much may the clock of a log and ours differ before it is remarked: a share, and seconds.
const CLOCK_SHARE: f64 = 0.1;
const CLOCK_SECONDS: f64 = 2.0;
/// So many odd files are remarked one by one.
const MAX_ODDITIES: usize = 4;

/// Everything to say about a run.
pub(super) fn remarks(record: &SeedRecord, track: Track, limits: &Limits) -> Vec<Remark> {
    let mut remarks = Remarks { seed: record.seed, list: Vec::new() };
    end(record, &mut remarks);
    results(record, &mut remarks);
    bytes(record, limits, &mut remarks);
    times(record, track, limits, &mut remarks);
    behavior(record, &mut remarks);
    surroundings(record, &mut remarks);
    remarks.list
}

struct Remarks {
    seed: u64,
    list: Vec<Remark>,
}

impl Remarks {
    fn add(&mut self, severity: Severity, kind: &'static str, message: impl Into<String>) {
        self.list.push(Remark { seed: Some(self.seed), severity, kind, message: message.into() });
    }
}

fn end(record: &SeedRecord, remarks: &mut Remarks) {
    let message = match &record.ended {
        Ended::Code(0) => return,
        Ended::Code(code) => format!("the script ended with code {code}"),
        Ended::Signal(signal) => format!("the script was ended by signal {signal}"),
        Ended::Cap { phase, seconds } => {
            format!("stopped: its {} took more than {seconds:.0} s by our clock", phase.word())
        }
        Ended::Bound(words) => format!("stopped: it {words}"),
        Ended::Interrupted => "stopped by whoever ran it".into(),
        Ended::Lost => "the script, or the system, ended the sandbox's first process".into(),
    };
    remarks.add(Severity::Fail, "ended_badly", message);
    for error in record.log.errors.iter().take(2) {
        remarks.add(Severity::Note, "error_printed", error.clone());
    }
}

fn results(record: &SeedRecord, remarks: &mut Remarks) {
    let log = &record.log;
    let Some(last) = log.finals.last() else {
        remarks.add(Severity::Fail, "no_result", "it printed no final val_bpb");
        return;
    };
    // Lines that print one result with more or fewer digits are one result.
    let same = |a: f64, b: f64| (a - b).abs() <= 5e-4;
    let others: Vec<String> = log
        .finals
        .iter()
        .filter(|value| value.label == last.label && !same(value.val_bpb, last.val_bpb))
        .map(|value| format!("{} in line {}", value.val_bpb, value.line))
        .collect();
    if !others.is_empty() {
        let message = format!(
            "it printed several final values as `{}`: {}; the last one, {} in line {}, is taken",
            last.label,
            others.join(", "),
            last.val_bpb,
            last.line
        );
        remarks.add(Severity::Warning, "several_results", message);
    }
    if let Some(seed) = log.seed.filter(|seed| *seed != record.seed) {
        remarks.add(
            Severity::Warning,
            "other_seed",
            format!("the log states seed {seed}: the script does not take SEED"),
        );
    }
    if log.cut_short {
        remarks.add(Severity::Note, "output_cut", "its output was not kept to its end");
    }
}

fn bytes(record: &SeedRecord, limits: &Limits, remarks: &mut Remarks) {
    let Some(artifact) = &record.artifact else {
        if record.ended.is_good() {
            remarks.add(Severity::Fail, "no_artifact", "there is no model among its new files");
        }
        return;
    };
    let (bytes, path) = (artifact.file.digest.bytes, &artifact.file.path);
    let total = Bytes(bytes.0 + record.code_bytes.0);
    if total > limits.budget_bytes {
        let message = format!(
            "code of {} bytes and {path} of {bytes} bytes are {total} bytes, over the cap of {} bytes",
            record.code_bytes, limits.budget_bytes
        );
        remarks.add(Severity::Fail, "over_budget", message);
    }
    if let Some(stated) = record.log.model_bytes.filter(|stated| *stated != bytes.0) {
        let message = format!("the log states an artifact of {} bytes; {path} has {bytes} bytes", Bytes(stated));
        remarks.add(Severity::Warning, "size_differs_from_log", message);
    }
    for model in record.artifact.iter().chain(&record.other_models) {
        if let Some(danger) = &model.danger {
            remarks.add(Severity::Fail, "artifact_runs_code", format!("{}: {danger}", model.file.path));
        }
    }
}

fn times(record: &SeedRecord, track: Track, limits: &Limits, remarks: &mut Remarks) {
    let times = &record.times;
    if let (Some(measured), Some(claimed)) = (times.training, times.claimed_training)
        && measured > claimed * (1.0 + CLOCK_SHARE) + CLOCK_SECONDS
    {
        let message = format!(
            "the log states {claimed:.1} s between its first and its last line of training; by our clock they are \
             {measured:.1} s apart, validation between them included"
        );
        remarks.add(Severity::Warning, "training_time_differs", message);
    }
    if let (Some(measured), Some(claimed)) = (times.evaluation, record.log.eval_seconds)
        && measured > claimed * (1.0 + CLOCK_SHARE) + CLOCK_SECONDS
    {
        let message = format!(
            "the log states {claimed:.1} s for its longest evaluation; by our clock {measured:.1} s passed between the \
             artifact and the last result"
        );
        remarks.add(Severity::Note, "evaluation_time_differs", message);
    }
    let was_stopped = |phase| matches!(record.ended, Ended::Cap { phase: at, .. } if at == phase);
    if track == Track::TenMinutes {
        let stated = record.log.train_seconds.filter(|seconds| *seconds > limits.train_seconds_small);
        let over = times.training.filter(|seconds| *seconds > limits.train_seconds_small);
        if let Some(seconds) = stated {
            let message = format!("the log states {seconds:.1} s of training; the cap is {} s", limits.train_seconds);
            remarks.add(Severity::Fail, "trained_over_cap", message);
        } else if let Some(seconds) = over.filter(|_| !was_stopped(Phase::Training)) {
            let message = format!("training took {seconds:.1} s by our clock, validation within it included");
            remarks.add(Severity::Warning, "trained_over_cap", message);
        }
        let over = times.evaluation.zip(limits.eval_seconds).filter(|(seconds, cap)| seconds > cap);
        if let Some((seconds, cap)) = over.filter(|_| !was_stopped(Phase::Evaluating)) {
            let message = format!("{seconds:.1} s passed between the artifact and the last result; the cap is {cap} s");
            remarks.add(Severity::Warning, "evaluated_over_cap", message);
        }
    }
}

fn behavior(record: &SeedRecord, remarks: &mut Remarks) {
    let is_validation = |path: &str| path.rsplit('/').next().is_some_and(|name| name.contains("_val_"));
    let early = record.opened.iter().find(|opened| is_validation(&opened.path) && opened.phase != Phase::Evaluating);
    if let Some(opened) = early {
        let message = format!(
            "it opened {} {:.1} s after its start, before training had ended; scripts that validate while they train do",
            opened.path, opened.seconds
        );
        remarks.add(Severity::Note, "validation_data_opened_early", message);
    }
    if !record.changed.is_empty() {
        let message = format!("it changed its own files: {}", record.changed.join(", "));
        remarks.add(Severity::Fail, "changed_its_code", message);
    }
    if record.left_processes > 0 {
        let message = format!("it left {} processes behind; they were ended", record.left_processes);
        remarks.add(Severity::Warning, "left_processes", message);
    }
    for odd in record.oddities.iter().take(MAX_ODDITIES) {
        remarks.add(Severity::Warning, "odd_file", odd.clone());
    }
    if record.oddities.len() > MAX_ODDITIES {
        let message = format!("{} more in record.json", record.oddities.len() - MAX_ODDITIES);
        remarks.add(Severity::Warning, "odd_file", message);
    }
}

fn surroundings(record: &SeedRecord, remarks: &mut Remarks) {
    let surroundings = &record.surroundings;
    if !surroundings.is_isolated {
        remarks.add(Severity::Warning, "no_sandbox", "it ran without a sandbox and could have done anything");
    }
    let broken = surroundings.tried.iter().filter(|(_, held, _)| !held);
    for (promise, _, found) in broken {
        remarks.add(Severity::Note, "not_isolated", format!("not held: {promise} ({found})"));
    }
    for layer in &surroundings.missing {
        remarks.add(Severity::Note, "layer_missing", format!("without {layer}"));
    }
}
