//! What a reproduction would do, without doing any of it: nothing is written and nothing computed.

use std::fmt::{self, Write};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::held::{self, Held};
use super::run::Stages;
use super::stage::why_not;
use super::{Request, Stage};
use crate::data::{DataFile, Dataset, DigestCheck, Wanted};
use crate::escape::visible;
use crate::eval::ttt::Chunks;
use crate::eval::{WindowPlan, Windowing};
use crate::manifest::{self, Manifest};
use crate::model;
use crate::quant::{ArtifactContainer, Codec};
use crate::train;
use crate::units::group_digits;

/// Name and version of the document.
pub const PLAN_SCHEMA: &str = "golf-harness/reproduction-plan/v1";
/// Bytes of a weight in a checkpoint.
const WEIGHT_BYTES: u64 = 4;

/// What would be done.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct DryRun {
    /// [`PLAN_SCHEMA`].
    pub schema: &'static str,
    /// The recipe.
    pub name: String,
    /// The seed.
    pub seed: u64,
    /// The run folder.
    pub folder: PathBuf,
    /// Data files that are there.
    pub data: Vec<PlannedInput>,
    /// What is not there, or not as it should be, in sentences.
    pub missing: Vec<String>,
    /// Why the command would refuse this folder.
    pub refusal: Option<String>,
    /// In their order.
    pub stages: Vec<PlannedStage>,
}

/// A data file.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PlannedInput {
    /// What it is for.
    pub role: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Tokens in it.
    pub tokens: Option<u64>,
}

/// What happens to a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is done.
    Run,
    /// It goes on from a saved state.
    Continue,
    /// What an earlier call made still stands.
    Keep,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Action::Run => "run",
            Action::Continue => "continue",
            Action::Keep => "keep",
        })
    }
}

/// A stage as it would be done.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PlannedStage {
    /// Its name.
    pub stage: String,
    /// What happens to it.
    pub action: Action,
    /// Why it is done again, where an earlier call did it.
    pub reason: Option<String>,
    /// What it does, with sizes.
    pub work: String,
    /// Files it writes.
    pub writes: Vec<PathBuf>,
}

impl DryRun {
    /// Whether the command could begin.
    pub fn is_possible(&self) -> bool {
        self.missing.is_empty() && self.refusal.is_none()
    }

    /// Whether a stage would be computed.
    pub fn runs(&self, stage: Stage) -> bool {
        self.stages.iter().any(|planned| planned.stage == stage.key() && planned.action != Action::Keep)
    }

    /// Tokens of the validation split: those that are there, else those that the claim states.
    pub fn val_tokens(&self, manifest: &Manifest) -> u64 {
        let of_validation = self.data.iter().filter(|file| file.role == "validation shard");
        match of_validation.filter_map(|file| file.tokens).sum() {
            // All but the first are predicted.
            0 => manifest.claim.metrics.val_tokens.as_ref().map_or(0, |claimed| claimed.value() as u64 + 1),
            here => here,
        }
    }

    /// The plan for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = self.write_text(&mut out);
        out
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let (name, folder) = (visible(&self.name), self.folder.display());
        writeln!(out, "{name}, seed {}, would be reproduced in {folder}; nothing was done\n", self.seed)?;
        for stage in &self.stages {
            writeln!(out, "{:<7} {:<9} {}", stage.stage, stage.action, stage.work)?;
            if let Some(reason) = &stage.reason {
                writeln!(out, "{:<17} because {reason}", "")?;
            }
            if stage.action != Action::Keep && !stage.writes.is_empty() {
                let names = stage.writes.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy());
                writeln!(out, "{:<17} writes {}", "", names.collect::<Vec<_>>().join(", "))?;
            }
        }
        writeln!(out)?;
        for file in &self.data {
            let tokens = file.tokens.map_or_else(String::new, |tokens| format!(", {} tokens", count(tokens)));
            let path = file.path.display();
            writeln!(out, "{:<17} {path} ({} bytes{tokens})", file.role, count(file.bytes))?;
        }
        for gap in &self.missing {
            writeln!(out, "{:<17} {gap}", "missing")?;
        }
        if let Some(refusal) = &self.refusal {
            writeln!(out, "{:<17} {refusal}", "refused")?;
        }
        Ok(())
    }
}

fn count(value: u64) -> String {
    group_digits(i128::from(value))
}

/// Looks at manifest, data and folder.
pub fn dry_run(request: &Request<'_>) -> DryRun {
    let (manifest, folder) = (&request.effective.manifest, &request.folder);
    let is_begun = folder.training_state().exists() || folder.checkpoint().exists();
    // Digests tell whether something of an earlier call stands; without one there is nothing to tell.
    let check = if is_begun && !request.fresh { DigestCheck::All } else { DigestCheck::Stated };
    let found = Dataset::inspect(&manifest.data, &request.effective.folder, Wanted::ALL, check);
    let missing: Vec<String> = found.gaps.iter().map(ToString::to_string).collect();
    let data = found.dataset;
    let mut plan = DryRun {
        schema: PLAN_SCHEMA,
        name: manifest.name.clone(),
        seed: manifest.schedule.seed,
        folder: folder.root().to_path_buf(),
        data: data.files().map(planned_input).collect(),
        missing,
        refusal: None,
        stages: Vec::new(),
    };
    let stages = Stages::new(request, &data);
    let held = match plan.missing.is_empty() {
        true => held::look(request, &data, &|stage, manifest| stages.inputs(stage, manifest).ok()),
        // What stands cannot be told without the data.
        false => Ok(Held::Unfinished),
    };
    let is_finished = match held {
        Err(error) => {
            plan.refusal = Some(error.to_string());
            false
        }
        Ok(Held::Finished(_)) => true,
        Ok(Held::Unfinished) => false,
    };
    let val_tokens = plan.val_tokens(manifest);
    let mut is_kept = true;
    for stage in [Stage::Train, Stage::Pack, Stage::Score, Stage::Verify] {
        let (action, reason) = match stage {
            _ if is_finished && stage != Stage::Verify => (Action::Keep, None),
            Stage::Verify => (Action::Run, None),
            _ => action(&stages, stage, is_kept),
        };
        is_kept &= action == Action::Keep;
        let (work, writes) = (work(manifest, stage, val_tokens), writes(request, stage));
        plan.stages.push(PlannedStage { stage: stage.key().to_string(), action, reason, work, writes });
    }
    plan
}

/// What would become of a stage whose predecessors are all kept, or not.
fn action(stages: &Stages<'_, '_>, stage: Stage, is_kept: bool) -> (Action, Option<String>) {
    let (request, folder) = (stages.request, &stages.request.folder);
    if request.fresh || !is_kept {
        return (Action::Run, None);
    }
    if stage == Stage::Train && folder.training_state().exists() {
        return match train::made_by(&folder.training_state()) {
            Ok(maker) if maker != train::maker() => {
                (Action::Run, Some("the saved state was made by another build".to_string()))
            }
            _ => (Action::Continue, None),
        };
    }
    let earlier = manifest::load(&folder.manifest()).ok();
    let record = earlier.as_ref().and_then(|earlier| earlier.results.stages.get(stage.key()));
    let (Some(record), Some(earlier)) = (record, &earlier) else { return (Action::Run, None) };
    let manifest = if stage == Stage::Train { &request.effective.manifest } else { earlier };
    match stages.inputs(stage, manifest) {
        Err(error) => (Action::Run, Some(error.to_string())),
        Ok(inputs) => match why_not(record, &inputs, folder.root()) {
            None => (Action::Keep, None),
            Some(reason) => (Action::Run, Some(reason.to_string())),
        },
    }
}

fn planned_input(file: &DataFile) -> PlannedInput {
    PlannedInput { role: file.role.to_string(), path: file.path.clone(), bytes: file.bytes.0, tokens: file.tokens }
}

/// What a stage does, in numbers.
fn work(manifest: &Manifest, stage: Stage, val_tokens: u64) -> String {
    let schedule = &manifest.schedule;
    match stage {
        Stage::Train => {
            let (steps, tokens) = (count(schedule.iterations), count(schedule.train_batch_tokens));
            let cap = match schedule.max_wallclock_seconds {
                cap if cap > 0.0 => format!(", {cap} s at most"),
                _ => String::new(),
            };
            let parameters = parameters(manifest);
            format!(
                "{} parameters, {steps} steps of {tokens} tokens{cap}; a checkpoint of about {} bytes",
                count(parameters),
                count(parameters.saturating_mul(WEIGHT_BYTES))
            )
        }
        Stage::Pack => {
            let quantization = &manifest.quantization;
            format!(
                "{} parameters to a budget of 16,000,000 bytes with the code, {}",
                count(parameters(manifest)),
                match (quantization.container, quantization.codec) {
                    (ArtifactContainer::Golf, Codec::Zstd) => "codec zstd".to_string(),
                    (ArtifactContainer::Golf, Codec::Ans) => "codec ans".to_string(),
                    (container, _) => format!("container {container}"),
                }
            )
        }
        Stage::Score => {
            let eval = &manifest.eval;
            let windows: u64 = scored_plans(manifest, val_tokens).iter().map(WindowPlan::windows).sum();
            let learning = learning_chunks(manifest, val_tokens).map(|chunks| {
                let (windows, of) = (count(chunks.plan().windows()), count(chunks.count()));
                format!("; then {windows} of the artifact in {of} chunks, each learned from once it is scored")
            });
            format!(
                "checkpoint and artifact, side by side and every {}: {} windows of {} tokens{}",
                eval.stride,
                count(2 * windows),
                count(eval.seq_len),
                learning.unwrap_or_default()
            )
        }
        Stage::Verify => "digests, budget, claims: always".to_string(),
    }
}

/// Parameters of the model.
pub(super) fn parameters(manifest: &Manifest) -> u64 {
    let elements = model::layout(&manifest.model).into_iter().map(|spec| spec.shape.iter().product::<usize>() as u64);
    elements.sum()
}

/// The windows that either form of the weights is scored with.
pub(super) fn scored_plans(manifest: &Manifest, val_tokens: u64) -> Vec<WindowPlan> {
    let (eval, tokens) = (&manifest.eval, manifest.eval.tokens_read(val_tokens));
    let plans = [Windowing::NonOverlapping, Windowing::Sliding];
    plans.into_iter().filter_map(|kind| WindowPlan::of(eval, kind, tokens).ok()).collect()
}

/// The chunks that weights learn from while they are scored, where they do.
pub(super) fn learning_chunks(manifest: &Manifest, val_tokens: u64) -> Option<Chunks> {
    let (eval, tokens) = (&manifest.eval, manifest.eval.tokens_read(val_tokens));
    let ttt = eval.ttt.as_ref()?;
    Some(Chunks::new(WindowPlan::learning(eval, tokens).ok()?, ttt.chunk_tokens))
}

fn writes(request: &Request<'_>, stage: Stage) -> Vec<PathBuf> {
    let folder = &request.folder;
    match stage {
        Stage::Train => vec![folder.checkpoint(), folder.trace(), folder.train_log(), folder.manifest()],
        Stage::Pack => {
            vec![folder.artifact(request.effective.manifest.quantization.container), folder.manifest()]
        }
        Stage::Score => {
            let trace = request.effective.manifest.eval.ttt.as_ref().map(|_| folder.ttt_trace());
            trace.into_iter().chain([folder.manifest()]).collect()
        }
        Stage::Verify => vec![folder.manifest(), folder.page()],
    }
}
