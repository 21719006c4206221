//! The training state: everything a run needs to go on, in one safetensors file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::atomic_write::{self, WriteError};
use crate::digest::Digest;
use crate::engine::TrainerState;
use crate::manifest::Manifest;
use crate::model::{HostTensor, LayoutMismatch, Params, WeightsError, layout, parse_safetensors};
use crate::optim::{Optimizer, SwaSum};

/// Identifier in the file.
const SCHEMA: &str = "golf-harness/training-state/v1";
/// The one metadata entry; a single key keeps the file's bytes independent of map order.
const METADATA_KEY: &str = "training_state";
/// Weights, at most two moments and the running sum of the largest model, with a header.
const MAX_STATE_BYTES: u64 = 4 * (1 << 34) + (1 << 27);

const WEIGHT: &str = "weight/";
const SWA: &str = "swa_sum/";
const EMA: &str = "ema/";

/// Counters of a run between two steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Steps taken.
    pub steps: u64,
    /// Training time, milliseconds.
    pub elapsed_ms: f64,
    /// Tokens taken off the training stream.
    pub batch_position: u64,
    /// Length of the log when the state was written; what follows belongs to steps taken again.
    pub log_bytes: u64,
    /// Build and instructions that computed it; empty in states of earlier versions.
    #[serde(default)]
    pub made_by: String,
}

/// What computes here: a state of another build or on other instructions continues with other last digits.
pub fn maker() -> String {
    format!("{}, {}", crate::manifest::environment::build(), crate::engine::instructions())
}

/// Everything a run needs to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingState {
    /// Where the run is.
    pub counters: Counters,
    /// Weights after the last step, moments and averages.
    pub model: TrainerState,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    schema: String,
    recipe_sha256: Digest,
    swa_snapshots: u64,
    counters: Counters,
}

/// Why a training state could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file could not be read.
    #[error("cannot read training state {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Damaged, or another kind of file.
    #[error("{} is not a training state: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Not a valid safetensors file.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Tensors of another model.
    #[error("{}: {source}", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// The tensor that does not fit.
        source: LayoutMismatch,
    },
}

/// Longest head of a state that is read for its metadata: names and shapes of the largest model.
const MAX_HEAD_BYTES: u64 = 16 << 20;

/// What computed the state in this file: [`maker`] where and when it was written.
pub fn made_by(path: &Path) -> Result<String, StateError> {
    let read = |source| StateError::Read { path: path.to_path_buf(), source };
    let format = |message: String| StateError::Format { path: path.to_path_buf(), message };
    let head = crate::regular_file::read_head(path, 8).map_err(read)?;
    let length = head.try_into().map(u64::from_le_bytes).map_err(|_| format("too short for a state".into()))?;
    if length > MAX_HEAD_BYTES {
        return Err(format(format!("a head of {length} bytes")));
    }
    let head = crate::regular_file::read_head(path, 8 + length).map_err(read)?;
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "__metadata__")]
        entries: BTreeMap<String, String>,
    }
    let head: Head = serde_json::from_slice(head.get(8..).unwrap_or_default()).map_err(|e| format(e.to_string()))?;
    let text = head.entries.get(METADATA_KEY).ok_or_else(|| format(format!("no `{METADATA_KEY}` in its metadata")))?;
    let metadata: Metadata = serde_json::from_str(text).map_err(|e| format(e.to_string()))?;
    Ok(metadata.counters.made_by)
}

/// Writes a state atomically, without copying its tensors first. Equal states give equal bytes.
pub fn write_state(path: &Path, recipe: Digest, counters: &Counters, model: &TrainerState) -> Result<(), WriteError> {
    let TrainerState { weights, optimizer, swa, ema } = model;
    let mut tensors: Vec<(String, &HostTensor)> = optimizer.moments().collect();
    tensors.extend(weights.iter().map(|(name, tensor)| (format!("{WEIGHT}{name}"), tensor)));
    for (prefix, average) in [(SWA, swa.sum()), (EMA, ema.as_ref())] {
        let named = average.into_iter().flat_map(Params::iter);
        tensors.extend(named.map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
    }
    let bytes: BTreeMap<String, (Vec<usize>, Vec<u8>)> =
        tensors.into_iter().map(|(name, tensor)| (name, (tensor.shape().to_vec(), tensor.to_le_bytes()))).collect();

    let metadata = Metadata {
        schema: SCHEMA.into(),
        recipe_sha256: recipe,
        swa_snapshots: swa.count(),
        counters: counters.clone(),
    };
    atomic_write::write_with(path, |out| {
        let text = serde_json::to_string(&metadata)?;
        let views = bytes.iter().map(|(name, (shape, bytes))| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(std::io::Error::other)?;
        let entries = HashMap::from([(METADATA_KEY.to_string(), text)]);
        let file = safetensors::serialize(views, Some(entries)).map_err(std::io::Error::other)?;
        out.write_all(&file)
    })
}

impl TrainingState {
    /// Reads a state of `manifest`'s model and checks every tensor; also returns the digest of its recipe.
    pub fn read(path: &Path, manifest: &Manifest) -> Result<(Self, Digest), StateError> {
        let read = |source| StateError::Read { path: path.to_path_buf(), source };
        let format = |message: String| StateError::Format { path: path.to_path_buf(), message };
        let layout_error = |source| StateError::Layout { path: path.to_path_buf(), source };
        let size = std::fs::metadata(path).map_err(read)?.len();
        if size > MAX_STATE_BYTES {
            return Err(format(format!("{size} bytes; at most {MAX_STATE_BYTES} are read")));
        }
        let bytes = crate::regular_file::read(path).map_err(read)?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| format(e.to_string()))?;
        let text = header.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY));
        let text = text.ok_or_else(|| format(format!("no `{METADATA_KEY}` in its metadata")))?;
        let metadata: Metadata = serde_json::from_str(text).map_err(|e| format(e.to_string()))?;
        if metadata.schema != SCHEMA {
            return Err(format(format!("schema `{}`; this version reads `{SCHEMA}`", metadata.schema)));
        }
        let elapsed_ms = metadata.counters.elapsed_ms;
        if !elapsed_ms.is_finite() || elapsed_ms < 0.0 {
            return Err(format(format!("elapsed time of {elapsed_ms} ms")));
        }

        let mut tensors = TensorsByName::of(parse_safetensors(&bytes, path)?);
        drop(bytes);
        let model = &manifest.model;
        let weights = tensors.params(WEIGHT, manifest).arrange(model).map_err(layout_error)?;
        let sum = match metadata.swa_snapshots {
            0 => None,
            _ => Some(tensors.params(SWA, manifest).arrange(model).map_err(layout_error)?),
        };
        let ema = match manifest.schedule.ema {
            None => None,
            Some(_) => Some(tensors.params(EMA, manifest).arrange(model).map_err(layout_error)?),
        };
        let mut optimizer = Optimizer::new(&manifest.optimizer, model);
        optimizer.restore(metadata.counters.steps, |name| tensors.0.remove(name)).map_err(layout_error)?;
        if let Some(name) = tensors.0.into_keys().next() {
            return Err(layout_error(LayoutMismatch::Unexpected { name }));
        }
        let swa = SwaSum::from_parts(sum, metadata.swa_snapshots);
        let model = TrainerState { weights, optimizer, swa, ema };
        Ok((TrainingState { counters: metadata.counters, model }, metadata.recipe_sha256))
    }
}

struct TensorsByName(BTreeMap<String, HostTensor>);

impl TensorsByName {
    fn of(params: Params) -> Self {
        TensorsByName(params.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect())
    }

    /// Takes the tensors of the layout that are there under a prefix; what is absent, the caller notices.
    fn params(&mut self, prefix: &str, manifest: &Manifest) -> Params {
        let mut take = |name: String| self.0.remove(&format!("{prefix}{name}")).map(|tensor| (name, tensor));
        Params::from_entries(layout(&manifest.model).into_iter().filter_map(|spec| take(spec.name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "schema: golf-harness/manifest/v1\nname: t\nmodel: { vocab_size: 16, num_layers: 2, \
                            model_dim: 8, num_heads: 2, num_kv_heads: 1, bigram_vocab_size: 4, bigram_dim: 4 }";

    fn manifest() -> Manifest {
        crate::manifest::parse(MANIFEST, Path::new("t.yaml")).unwrap()
    }

    fn state(snapshots: usize) -> TrainingState {
        let manifest = manifest();
        let mut weights = Params::zeros(&manifest.model);
        weights.iter_mut().for_each(|(_, tensor)| tensor.data_mut().fill(1.0 / 3.0));
        let mut optimizer = Optimizer::new(&manifest.optimizer, &manifest.model);
        let plan = super::super::Schedule::new(&manifest.schedule, &manifest.optimizer.muon).plan(0, 0.0);
        let gradients = weights.clone();
        optimizer.step(&mut weights, &gradients, &plan);
        let mut swa = SwaSum::default();
        (0..snapshots).for_each(|_| swa.add(&weights));
        let counters =
            Counters { steps: 1, elapsed_ms: 0.1 + 0.2, batch_position: 2056, log_bytes: 99, made_by: maker() };
        TrainingState { counters, model: TrainerState { weights, optimizer, swa, ema: None } }
    }

    fn write(state: &TrainingState, path: &Path, recipe: Digest) {
        write_state(path, recipe, &state.counters, &state.model).unwrap();
    }

    #[test]
    fn a_state_survives_exactly_and_is_byte_stable() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = Digest::from_bytes([7; 32]);
        for snapshots in [0, 2] {
            let (a, b) = (folder.path().join("a"), folder.path().join("b"));
            write(&state(snapshots), &a, recipe);
            let (back, digest) = TrainingState::read(&a, &manifest()).unwrap();
            assert_eq!((&back, digest), (&state(snapshots), recipe));
            assert_eq!(made_by(&a).unwrap(), maker());
            write(&back, &b, digest);
            assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
        }
    }

    #[test]
    fn damage_and_other_models_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write(&state(1), &path, Digest::from_bytes([7; 32]));
        let good = std::fs::read(&path).unwrap();

        let other = MANIFEST.replace("model_dim: 8", "model_dim: 16");
        let other = crate::manifest::parse(&other, Path::new("t.yaml")).unwrap();
        assert!(matches!(TrainingState::read(&path, &other), Err(StateError::Layout { .. })));

        for cut in [0, 7, 100, good.len() - 1] {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert!(TrainingState::read(&path, &manifest()).is_err(), "cut at {cut}");
        }
        let weights = folder.path().join("weights.safetensors");
        crate::model::write_safetensors(&weights, &Params::zeros(&manifest().model)).unwrap();
        let error = TrainingState::read(&weights, &manifest()).unwrap_err().to_string();
        assert!(error.contains("no `training_state` in its metadata"), "{error}");
    }
}
