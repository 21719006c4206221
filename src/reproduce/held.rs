//! What a run folder holds before a reproduction begins, and whether it may begin there.

use serde_json::{Value, json};

use super::stage::{Outdated, why_not};
use super::{ReproduceError, Request, Stage};
use crate::artifact::Budget;
use crate::data::Dataset;
use crate::manifest::{self, FileRef, Manifest};
use crate::train::{Difference, Recipe, Trace};

/// Differences named in a message.
const MAX_NAMED: usize = 5;

/// What is in the folder, as far as it is this reproduction's.
pub(super) enum Held {
    /// Nothing, or a run of this recipe that is not finished: work goes on.
    Unfinished,
    /// A finished run of this recipe by this build, every file as it was left.
    Finished(Box<Manifest>),
}

/// Looks at the folder; an error if what it holds would be lost.
pub(super) fn look(
    request: &Request<'_>,
    data: &Dataset,
    inputs: &dyn Fn(Stage, &Manifest) -> Option<Vec<FileRef>>,
) -> Result<Held, ReproduceError> {
    let folder = &request.folder;
    let is_begun = folder.training_state().exists() || folder.checkpoint().exists();
    if request.fresh || !is_begun {
        return Ok(Held::Unfinished);
    }
    let ours = &request.effective.manifest;
    let earlier = manifest::load(&folder.manifest()).ok().filter(|earlier| earlier.results.training.is_some());
    let mut differences = Vec::new();
    if let Ok(trace) = Trace::read(&folder.trace()) {
        let shards = data.train.iter().filter_map(|file| Some((file.path.as_path(), file.digest.as_ref()?)));
        differences.extend(Recipe::new(ours, request.engine.label(), shards).differences(&trace.recipe));
    }
    let is_unfinished = folder.training_state().exists();
    if let Some(earlier) = earlier.as_ref().filter(|_| !is_unfinished) {
        differences.extend(later_settings(ours).differences(&later_settings(earlier)));
    }
    if !differences.is_empty() {
        return Err(ReproduceError::OtherRun { folder: folder.root().to_path_buf(), differences: named(&differences) });
    }
    let Some(earlier) = earlier.filter(|_| !is_unfinished) else { return Ok(Held::Unfinished) };
    let stages = [Stage::Train, Stage::Pack, Stage::Score];
    let reasons: Option<Vec<Option<Outdated>>> = stages
        .into_iter()
        .map(|stage| {
            let record = earlier.results.stages.get(stage.key())?;
            Some(why_not(record, &inputs(stage, &earlier)?, folder.root()))
        })
        .collect();
    let Some(reasons) = reasons else { return Ok(Held::Unfinished) };
    let of_training = reasons.first().and_then(Option::as_ref).filter(|reason| !reason.is_of_output());
    let outdated: Vec<&Outdated> = reasons.iter().flatten().collect();
    if outdated.is_empty() {
        return Ok(Held::Finished(Box::new(earlier)));
    }
    // A lost or damaged file is made again. A whole run that another build made, or with other files beside the training
    // text, is somebody's result, and to train again would begin with its removal.
    let of_maker = outdated.iter().copied().find(|reason| reason.is_of_another_maker());
    match of_maker.or(of_training) {
        Some(reason) if !outdated.iter().any(|reason| reason.is_of_output()) => {
            Err(ReproduceError::OtherInputs { folder: folder.root().to_path_buf(), reason: reason.to_string() })
        }
        _ => Ok(Held::Unfinished),
    }
}

/// What decides the numbers after training.
fn later_settings(manifest: &Manifest) -> Recipe {
    let section = |value: Result<Value, serde_json::Error>| value.unwrap_or(Value::Null);
    let quantization = &manifest.quantization;
    Recipe::from_json(json!({
        "quantization": section(serde_json::to_value(quantization)),
        "eval": manifest.eval.deciding(),
        // How far the weights are pruned depends on it.
        "code": quantization.prune_to.map(|_| Budget::code_of(manifest)),
    }))
}

fn named(differences: &[Difference]) -> String {
    let one = |difference: &Difference| {
        let Difference { field, ours, theirs } = difference;
        format!("{field} is {theirs} there and {ours} here")
    };
    let mut named: Vec<String> = differences.iter().take(MAX_NAMED).map(one).collect();
    if differences.len() > MAX_NAMED {
        named.push(format!("and {} more", differences.len() - MAX_NAMED));
    }
    named.join(", ")
}
