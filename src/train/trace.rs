//! The schedule trace: what the clock decided, step by step, so that a run can be followed again.
//!
//! One JSON object a line. The first line names the recipe; each further line is one step. Numbers are in
//! shortest round-trip form, so reading a trace gives back the same bits.

use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::recipe::{Difference, Recipe};
use crate::atomic_write::{self, WriteError};
use crate::digest::Digest;
use crate::is_default::is_default;
use crate::optim::{FakeQuant, StepPlan};

/// Identifier on the first line.
const SCHEMA: &str = "golf-harness/trace/v1";
/// A trace of a million steps is about 300 MB; no run of the challenge has a hundredth of that.
const MAX_TRACE_BYTES: u64 = 1 << 30;
/// The header carries the recipe; a longer line is something else.
const MAX_LINE_BYTES: usize = 1 << 20;

/// One step as it was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceStep {
    /// Number of the step, from 0.
    pub step: u64,
    /// Training time at its start, milliseconds.
    pub elapsed_ms: f64,
    /// Multiplier on every learning rate.
    pub lr_multiplier: f64,
    /// Momentum of Muon.
    pub muon_momentum: f64,
    /// Whether linears were fake-quantized.
    pub qat: bool,
    /// Whether the MLP's weights were rounded to six bits instead of five.
    #[serde(default, skip_serializing_if = "is_default")]
    pub qat_all_int6: bool,
    /// Whether the weights after the step are a snapshot of the average.
    pub swa: bool,
    /// Phase of the network's recurrence.
    #[serde(default, skip_serializing_if = "is_default")]
    pub phase: usize,
    /// Tokens taken off the training stream before the step.
    pub batch_position: u64,
    /// Mean loss over the micro-batches, nats per token.
    pub loss: f32,
    /// Gradient norm before clipping.
    pub grad_norm: f64,
    /// Training time after the step, milliseconds.
    pub end_ms: f64,
}

impl TraceStep {
    /// The decisions the step was taken with.
    pub fn plan(&self) -> StepPlan {
        StepPlan {
            lr_multiplier: self.lr_multiplier,
            muon_momentum: self.muon_momentum,
            fake_quant: match (self.qat, self.qat_all_int6) {
                (false, _) => FakeQuant::Off,
                (true, false) => FakeQuant::On,
                (true, true) => FakeQuant::AllInt6,
            },
            swa_pick: self.swa,
            phase: self.phase,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    schema: String,
    manifest_sha256: Digest,
    recipe_sha256: Digest,
    recipe: Value,
}

/// A recorded run.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Identity of the manifest it was run from.
    pub manifest: Digest,
    /// Its recipe.
    pub recipe: Recipe,
    /// Steps in order, from 0.
    pub steps: Vec<TraceStep>,
}

/// Why a trace could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file could not be read.
    #[error("cannot read trace {}: {source}", path.display())]
    Read {
        /// The trace.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line that is not what a trace holds there.
    #[error("{}:{line}: {message}", path.display())]
    Line {
        /// The trace.
        path: PathBuf,
        /// 1-based line.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A trace of another recipe.
    #[error(
        "{} was recorded with another recipe: `{}` is {} there and {} here; replay it with the manifest it came from",
        path.display(), difference.field, difference.theirs, difference.ours
    )]
    OtherRecipe {
        /// The trace.
        path: PathBuf,
        /// The first field that differs.
        difference: Difference,
    },
}

impl Trace {
    /// A trace without steps.
    pub fn new(manifest: Digest, recipe: Recipe) -> Self {
        Trace { manifest, recipe, steps: Vec::new() }
    }

    /// Writes the trace atomically.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        let header = Header {
            schema: SCHEMA.into(),
            manifest_sha256: self.manifest,
            recipe_sha256: self.recipe.digest(),
            recipe: self.recipe.to_json().clone(),
        };
        atomic_write::write_with(path, |out| {
            write_line(out, &header)?;
            self.steps.iter().try_for_each(|step| write_line(out, step))
        })
    }

    /// Reads and checks a trace: steps numbered from 0, finite numbers.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let read = |source| TraceError::Read { path: path.to_path_buf(), source };
        let file = crate::regular_file::open(path).map_err(read)?;
        let mut lines = io::BufReader::new(file.take(MAX_TRACE_BYTES)).split(b'\n').enumerate();
        let wrong =
            |index: usize, message: String| TraceError::Line { path: path.to_path_buf(), line: index + 1, message };
        let mut next = || -> Result<Option<(usize, Vec<u8>)>, TraceError> {
            match lines.next() {
                None => Ok(None),
                Some((_, Err(source))) => Err(read(source)),
                Some((index, Ok(line))) if line.len() > MAX_LINE_BYTES => {
                    Err(wrong(index, format!("longer than {MAX_LINE_BYTES} bytes: not a line of a trace")))
                }
                Some((index, Ok(line))) => Ok(Some((index, line))),
            }
        };
        let (index, line) = next()?.ok_or_else(|| wrong(0, "empty file; a trace begins with its recipe".into()))?;
        let header: Header =
            serde_json::from_slice(&line).map_err(|e| wrong(index, format!("not the first line of a trace: {e}")))?;
        if header.schema != SCHEMA {
            return Err(wrong(index, format!("schema `{}`; this version reads `{SCHEMA}`", header.schema)));
        }
        let recipe = Recipe::from_json(header.recipe);
        if recipe.digest() != header.recipe_sha256 {
            let message = format!("recipe has digest {}, not {}: edited?", recipe.digest(), header.recipe_sha256);
            return Err(wrong(index, message));
        }
        let mut trace = Trace::new(header.manifest_sha256, recipe);
        while let Some((index, line)) = next()? {
            let step: TraceStep =
                serde_json::from_slice(&line).map_err(|e| wrong(index, format!("not a step of a trace: {e}")))?;
            if step.step != trace.steps.len() as u64 {
                return Err(wrong(index, format!("step {} where {} follows", step.step, trace.steps.len())));
            }
            let numbers = [step.elapsed_ms, step.end_ms, step.lr_multiplier, step.muon_momentum];
            if !numbers.iter().all(|number| number.is_finite()) || step.elapsed_ms < 0.0 {
                return Err(wrong(index, "times and multipliers must be finite".into()));
            }
            trace.steps.push(step);
        }
        Ok(trace)
    }

    /// Checks that the trace was recorded with `recipe`; `path` appears in the error.
    pub fn check_recipe(&self, recipe: &Recipe, path: &Path) -> Result<(), TraceError> {
        match recipe.difference(&self.recipe) {
            None => Ok(()),
            Some(difference) => Err(TraceError::OtherRecipe { path: path.to_path_buf(), difference }),
        }
    }
}

fn write_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        let manifest =
            crate::manifest::parse("schema: golf-harness/manifest/v1\nname: t\n", Path::new("t.yaml")).unwrap();
        let recipe = Recipe::new(&manifest, crate::engine::EngineKind::Dfdx, []);
        let mut trace = Trace::new(crate::manifest::identity(&manifest), recipe);
        for step in 0..3 {
            trace.steps.push(TraceStep {
                step,
                elapsed_ms: 0.1 + step as f64 / 3.0,
                lr_multiplier: 1.0 / 3.0,
                muon_momentum: 0.1 + 0.2,
                qat: step >= 1,
                qat_all_int6: step == 2,
                swa: step == 2,
                phase: usize::from(step == 2),
                batch_position: step * 2056,
                loss: 1.0 / 3.0,
                grad_norm: 2.0f64.sqrt(),
                end_ms: 1e-300 + step as f64,
            });
        }
        trace
    }

    #[test]
    fn reading_gives_back_every_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.jsonl");
        trace().write(&path).unwrap();
        assert_eq!(Trace::read(&path).unwrap(), trace());
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);
    }

    #[test]
    fn damage_names_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.jsonl");
        trace().write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for (damaged, expected) in [
            (String::new(), ":1: empty file"),
            (text.replace("trace/v1", "trace/v9"), ":1: schema `golf-harness/trace/v9`"),
            (text.replace("\"seed\":1337", "\"seed\":1338"), ":1: recipe has digest"),
            (text.replace("\"step\":1,", "\"step\":2,"), ":3: step 2 where 1 follows"),
            (text[..text.len() - 20].to_string(), ":4: not a step of a trace"),
            (text.replace("\"swa\":true", "\"sva\":true"), ":4: not a step of a trace: unknown field `sva`"),
        ] {
            std::fs::write(&path, damaged).unwrap();
            let error = Trace::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
