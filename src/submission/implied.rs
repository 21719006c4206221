//! The manifest a record folder implies, with its gaps marked.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_yaml::{Mapping, Value};

use super::log::SizeKind;
use super::settings::settings;
use super::{FileKind, RecordFolder};
use crate::manifest::{
    Claim, ClaimMetrics, ClaimedNumber, CodeFile, ENVIRONMENT, Hardware, MANIFEST_SCHEMA, Manifest, Override,
    value_to_yaml, with_overrides,
};

/// What every note about a gap starts with, so that they can be searched for.
pub const GAP: &str = "GAP: ";

/// A manifest in which only what the folder gives away is stated.
#[derive(Clone, Debug)]
pub struct Implied {
    /// The manifest; what is not known has the schema's defaults here.
    pub manifest: Manifest,
    /// Fields of the recipe that are known, as dotted paths.
    known: BTreeSet<String>,
}

/// Sections that hold the recipe: of these only known fields are written.
const RECIPE: [&str; 6] = ["model", "optimizer", "schedule", "quantization", "eval", "data"];

impl Implied {
    /// The text to save. Recipe fields that nobody knows are left out: a default would look like a finding.
    pub fn to_yaml(&self) -> String {
        let mut tree = serde_yaml::to_value(&self.manifest).unwrap_or_default();
        if let Value::Mapping(sections) = &mut tree {
            for section in RECIPE {
                if let Some(below) = sections.get_mut(section) {
                    self.keep_known(section, below);
                }
            }
            sections.retain(|_, below| !below.as_mapping().is_some_and(Mapping::is_empty));
        }
        value_to_yaml(&tree)
    }

    fn keep_known(&self, path: &str, value: &mut Value) {
        let Value::Mapping(fields) = value else { return };
        fields.retain(|key, below| {
            let path = format!("{path}.{}", key.as_str().unwrap_or_default());
            self.keep_known(&path, below);
            let has_fields = below.as_mapping().is_some_and(|fields| !fields.is_empty());
            has_fields || self.known.contains(&path)
        });
    }

    /// Takes a setting over, if the schema has room for it.
    fn set(&mut self, change: Override, gaps: &mut Vec<String>) {
        match with_overrides(self.manifest.clone(), std::slice::from_ref(&change)) {
            Ok(manifest) => {
                self.manifest = manifest;
                self.known.insert(change.field);
            }
            Err(error) => gaps.push(format!("{}: {}: {error}", change.field, change.value)),
        }
    }

    /// Takes settings over: together, because they are checked against one another; one by one where that fails.
    fn set_all(&mut self, changes: Vec<Override>, gaps: &mut Vec<String>) {
        match with_overrides(self.manifest.clone(), &changes) {
            Ok(manifest) => {
                self.manifest = manifest;
                self.known.extend(changes.into_iter().map(|change| change.field));
            }
            Err(_) => changes.into_iter().for_each(|change| self.set(change, gaps)),
        }
    }
}

/// Fills in what submission.json, the logs, the script's defaults and the artifact say. Every field that could not be
/// filled is named in `notes`, starting with [`GAP`].
pub fn implied_manifest(folder: &RecordFolder) -> Implied {
    let mut manifest = blank(&folder.name);
    let mut gaps: Vec<String> = Vec::new();
    manifest.claim = claim(folder, &mut gaps);
    for code in folder.code.iter().filter(|code| folder.survey.counted.contains(&code.path) || code.is_main()) {
        manifest.code.push(CodeFile {
            path: PathBuf::from(&code.path),
            bytes: code.digest.bytes,
            sha256: Some(code.digest.sha256),
            blake3: Some(code.digest.blake3),
            url: None,
        });
    }
    if manifest.code.is_empty() {
        gaps.push("code: there is no train_gpt.py".into());
    }
    match folder.of_kind(FileKind::Artifact).next() {
        None => gaps.push("artifact: the folder carries none; `pack` makes one".into()),
        Some(file) => gaps.push(format!("artifact: {} is not in this project's format; `pack` can read it", file.path)),
    }
    let mut implied = Implied { manifest, known: BTreeSet::new() };
    implied.set_all(settings(folder), &mut gaps);
    for section in RECIPE {
        let unknown: Vec<&str> = ENVIRONMENT
            .iter()
            .map(|(_, field)| *field)
            .filter(|field| field.split('.').next() == Some(section) && !implied.known.contains(*field))
            .map(|field| &field[section.len() + 1..])
            .collect();
        if !unknown.is_empty() {
            let fields = unknown.join(", ");
            gaps.push(format!("{section}: neither the script's defaults nor an artifact give {fields}"));
        }
    }
    gaps.push("data: no digests of shards and tokenizer".into());
    implied.manifest.notes.extend(gaps.into_iter().map(|gap| format!("{GAP}{gap}")));
    implied
}

fn blank(name: &str) -> Manifest {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }).collect();
    let name = match plain.trim_start_matches('.') {
        "" => "submission",
        name => name,
    };
    Manifest {
        schema: MANIFEST_SCHEMA.into(),
        name: name.into(),
        claim: Claim::default(),
        model: Default::default(),
        optimizer: Default::default(),
        schedule: Default::default(),
        quantization: Default::default(),
        eval: Default::default(),
        data: Default::default(),
        code: Vec::new(),
        program: None,
        run: None,
        artifact: None,
        environment: None,
        results: Default::default(),
        tolerance: Default::default(),
        notes: Vec::new(),
    }
}

fn claim(folder: &RecordFolder, gaps: &mut Vec<String>) -> Claim {
    let json = folder.submission.as_ref();
    let text = |key: &str| json.and_then(|json| json.text_field(key)).map(crate::escape::visible);
    let number = |key: &str| json.and_then(|json| json.number(key));
    let of = |value: String| ClaimedNumber::parse(&value).ok();
    let worst = |kind| folder.logs.iter().flat_map(|log| log.sizes_of(kind)).map(|size| size.bytes).max();
    let logged = |kind| worst(kind).and_then(|bytes| of(bytes.to_string()));
    let last = folder.logs.iter().rev().find_map(|log| log.last_final());
    let metrics = ClaimMetrics {
        val_loss: number("val_loss").or_else(|| last.and_then(|metric| of(metric.loss?.to_string()))),
        val_bpb: json.and_then(|json| json.bpb()).map(|claim| claim.number),
        pre_quant_val_loss: number("pre_quant_val_loss"),
        pre_quant_val_bpb: number("pre_quant_val_bpb"),
        val_tokens: folder.logs.iter().find_map(|log| of(log.val_tokens.first()?.value.to_string())),
        total_bytes: json.and_then(|json| json.total()).map(|c| c.number).or_else(|| logged(SizeKind::Total)),
        model_bytes: json
            .and_then(|json| json.models().into_iter().next())
            .map(|claim| claim.number)
            .or_else(|| logged(SizeKind::Model)),
        code_bytes: json.and_then(|json| json.code()).map(|c| c.number).or_else(|| logged(SizeKind::Code)),
        parameters: number("model_params").or_else(|| number("num_params")),
        steps: number("step_stop").or_else(|| number("training_steps")),
        train_seconds: folder
            .logs
            .iter()
            .filter_map(|log| log.train_seconds.as_ref())
            .map(|noted| noted.value)
            .reduce(f64::max)
            .and_then(|seconds| of(format!("{seconds:.3}")))
            .or_else(|| number("wallclock_seconds")),
        eval_seconds: number("eval_time_seconds"),
    };
    for (field, known) in [
        ("val_loss", metrics.val_loss.is_some()),
        ("val_bpb", metrics.val_bpb.is_some()),
        ("val_tokens", metrics.val_tokens.is_some()),
        ("total_bytes", metrics.total_bytes.is_some()),
        ("model_bytes", metrics.model_bytes.is_some()),
        ("code_bytes", metrics.code_bytes.is_some()),
        ("train_seconds", metrics.train_seconds.is_some()),
        ("eval_seconds", metrics.eval_seconds.is_some()),
    ] {
        if !known {
            gaps.push(format!("claim.metrics.{field}: neither submission.json nor a log gives it"));
        }
    }
    let mut seeds: Vec<u64> = folder.logs.iter().filter_map(|log| log.seed()).collect();
    seeds.extend(json.map(|json| json.seeds()).unwrap_or_default());
    seeds.sort_unstable();
    seeds.dedup();
    if seeds.is_empty() {
        gaps.push("claim.seeds: none named".into());
    }
    let hardware = folder.logs.iter().find_map(|log| {
        let devices = u32::try_from(log.world_size.as_ref()?.value).ok()?;
        Some(Hardware { devices, kind: log.devices.first()?.value.clone() })
    });
    if hardware.is_none() {
        gaps.push("claim.hardware: no log names both devices and their number".into());
    }
    Claim {
        title: text("name"),
        source: folder.repository_path.clone(),
        author: text("author"),
        date: text("date"),
        track: folder.track(),
        metrics,
        seeds,
        hardware,
    }
}
