//! What a run left in its working folder: the artifact by its content, and whatever else is new.

use std::collections::BTreeMap;

use crate::escape::visible;
use crate::rerun::launch::Launch;
use crate::rerun::record::{FileRecord, FinalValue, LogFacts, ModelRecord};
use crate::rerun::sandbox::Place;
use crate::submission::log::SizeKind;
use crate::submission::walk::AnomalyKind;
use crate::submission::{LogFile, Opened, OpenedArtifact, RecordFolder};

/// Most files recorded by name, and most models beside the artifact.
const MAX_FILES: usize = 200;
/// Most of the log's final values and errors recorded.
const MAX_FINALS: usize = 16;
const MAX_ERRORS: usize = 8;
/// Most odd things recorded.
const MAX_ODDITIES: usize = 32;

/// What is new.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub artifact: Option<ModelRecord>,
    pub other_models: Vec<ModelRecord>,
    pub files: Vec<FileRecord>,
    pub oddities: Vec<String>,
}

/// Reads the working folder. Nothing in it is executed.
pub(super) fn outcome(launch: &Launch, place: &Place, log: &LogFile) -> Outcome {
    let folder = RecordFolder::read(&place.work);
    let at: Vec<String> = launch.data.iter().map(|mount| mount.at.to_string_lossy().into_owned()).collect();
    let is_ours = |path: &str| {
        launch.files.iter().any(|file| file == path)
            || at
                .iter()
                .any(|at| path == at || path.strip_prefix(at.as_str()).is_some_and(|rest| rest.starts_with('/')))
    };
    let mut outcome = Outcome::default();
    let mut models = Vec::new();
    let mut opened: BTreeMap<&str, &OpenedArtifact> = BTreeMap::new();
    for artifact in &folder.artifacts {
        // Names that are no text may look the same; what is worst of them counts for all.
        match opened.get(artifact.path.as_str()) {
            Some(known) if danger(known).is_some() => {}
            _ => drop(opened.insert(&artifact.path, artifact)),
        }
    }
    for file in folder.files.iter().filter(|file| !is_ours(&file.path)) {
        let Some(digest) = file.digest else { continue };
        let record = FileRecord { path: visible(&file.path), digest };
        match opened.get(file.path.as_str()) {
            Some(opened) => models.push(model(record, opened)),
            None if outcome.files.len() < MAX_FILES => outcome.files.push(record),
            None => {}
        }
    }
    let stated = |kind| log.sizes_of(kind).next_back().map(|size| size.bytes);
    let chosen = choose(&models, stated(SizeKind::Model), stated(SizeKind::RawModel));
    outcome.artifact = chosen.map(|at| models.remove(at));
    // The dangerous ones first, then the largest.
    models.sort_by_key(|model| std::cmp::Reverse((model.danger.is_some(), model.file.digest.bytes)));
    let models_left = models.len().saturating_sub(MAX_FILES);
    models.truncate(MAX_FILES);
    outcome.other_models = models;
    let odd: Vec<_> = folder.anomalies.iter().filter(|anomaly| !is_ours(&anomaly.path)).collect();
    outcome.oddities = odd
        .iter()
        .take(MAX_ODDITIES)
        .map(|anomaly| {
            let what = match anomaly.kind {
                AnomalyKind::Link => "a link to",
                AnomalyKind::Special => "special:",
                AnomalyKind::Name => "an odd name:",
                AnomalyKind::Unreadable => "cannot be read:",
                AnomalyKind::TooMuch => "too much:",
            };
            format!("{}: {what} {}", anomaly.path, anomaly.detail)
        })
        .collect();
    if odd.len() > MAX_ODDITIES {
        outcome.oddities.push(format!("{} more like these", odd.len() - MAX_ODDITIES));
    }
    if models_left > 0 {
        outcome.oddities.push(format!("{models_left} more files that may be models"));
    }
    outcome
}

/// Why loading a model would be dangerous, if it would.
fn danger(opened: &OpenedArtifact) -> Option<&str> {
    match &opened.content {
        Opened::Refused(words) | Opened::Ambiguous(words, _) => Some(words),
        _ => None,
    }
}

fn model(file: FileRecord, opened: &OpenedArtifact) -> ModelRecord {
    let content = match &opened.content {
        Opened::Model { description, tensors, values } => format!("{description}: {tensors} tensors, {values} values"),
        Opened::Refused(_) => "a pickle".to_string(),
        Opened::Ambiguous(..) => "an archive".to_string(),
        Opened::Several(words) => format!("several models: {}", visible(words)),
        Opened::Unknown => "a format that is not known here".to_string(),
        Opened::NoModel(words) | Opened::Pointer(words) | Opened::Damaged(words) => {
            format!("not opened: {}", visible(words))
        }
        Opened::Other => "something else in a known format".to_string(),
    };
    ModelRecord { file, content: visible(&content), danger: danger(opened).map(visible) }
}

/// Which of the model files is the artifact: the one of the size that the log states for it; else the largest one that
/// is not of the size stated for the model before compression.
fn choose(models: &[ModelRecord], packed: Option<u64>, raw: Option<u64>) -> Option<usize> {
    let bytes = |model: &ModelRecord| model.file.digest.bytes.0;
    let exact = models.iter().position(|model| Some(bytes(model)) == packed);
    let largest = || {
        let rest = models.iter().enumerate().filter(|(_, model)| Some(bytes(model)) != raw);
        rest.max_by_key(|(_, model)| bytes(model)).map(|(at, _)| at)
    };
    // Where nothing else is left, the raw model is what there is.
    exact.or_else(largest).or_else(|| (!models.is_empty()).then_some(0))
}

/// What a log says.
pub(super) fn log_facts(log: &LogFile) -> LogFacts {
    let finals: Vec<FinalValue> = log
        .finals()
        .map(|metric| FinalValue {
            line: metric.line,
            label: visible(&metric.label),
            val_bpb: metric.bpb,
            val_loss: metric.loss,
        })
        .collect();
    let last = |kind| log.sizes_of(kind).next_back().map(|size| size.bytes);
    LogFacts {
        lines: log.lines,
        cut_short: log.cut_short,
        finals: finals.into_iter().rev().take(MAX_FINALS).rev().collect(),
        seed: log.seed(),
        steps: log.last_step.as_ref().and_then(|step| step.value),
        train_shards: log.train_shards.as_ref().map(|noted| noted.value),
        world_size: log.world_size.as_ref().map(|noted| noted.value),
        train_seconds: log.train_seconds.as_ref().map(|noted| noted.value),
        eval_seconds: log.eval_times.iter().map(|time| time.seconds).max_by(f64::total_cmp),
        model_bytes: last(SizeKind::Model),
        total_bytes: last(SizeKind::Total),
        errors: log.errors.iter().take(MAX_ERRORS).map(|error| visible(&error.value)).collect(),
    }
}
