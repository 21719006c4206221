//! `score` between files: a manifest and weights in, numbers out.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::engines::Prepared;
use super::inputs::{ScoreInputs, WeightsFile};
use super::passes::Passes;
use super::probe::{ProbeKind, ProbeOutcome, ProbeTarget, probe};
use super::{
    EngineChoice, Evaluation, LossProfile, PART_SCHEMA, PartRecord, Pass, Report, RunSettings, ScoreError,
    ScoreJobError, ScoreSettings, ScoringData, Shard, Weights, WindowPlan, Windowing,
};
use crate::atomic_write;
use crate::engine::{self, EngineDevice, Precision, Scorer};
use crate::interrupt::Interrupt;
use crate::manifest::{self, Effective, Tail, environment};
use crate::progress::Progress;
use crate::regular_file;

/// Bytes of a likelihood in a file.
const LOSS_BYTES: u64 = 4;

/// What to score, and how.
#[derive(Clone, Debug)]
pub struct ScoreJob {
    /// The file the recipe was read from.
    pub manifest_path: PathBuf,
    /// The recipe as it will be used.
    pub effective: Effective,
    /// Score packed weights at all?
    pub packed: bool,
    /// Artifact instead of the manifest's own.
    pub artifact: Option<PathBuf>,
    /// Unpacked weights to score as well.
    pub checkpoint: Option<PathBuf>,
    /// Kinds of windows, in the order they are run.
    pub windowings: Vec<Windowing>,
    /// Score only the first so many tokens of the split.
    pub max_tokens: Option<u64>,
    /// Engine to run them on.
    pub engine: EngineChoice,
    /// Where the kernels engine runs.
    pub device: EngineDevice,
    /// Precision it computes in.
    pub precision: Precision,
    /// Run only this part of the windows.
    pub shard: Option<Shard>,
    /// Where the likelihoods of the first pass go: one little-endian f32 a token, in corpus order.
    pub nll_out: Option<PathBuf>,
    /// Where the trace of test-time training goes, a JSON object a line.
    pub ttt_trace: Option<PathBuf>,
    /// Write the scores into the manifest.
    pub record: bool,
    /// Keep where the loss of the first pass lies.
    pub profile: bool,
}

/// A finished job.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The numbers; with `--shard`, of the part.
    pub report: Report,
    /// The part, if that is what was asked for.
    pub part: Option<PartRecord>,
    /// Time each pass took.
    pub elapsed: Vec<Duration>,
    /// Where the loss of the first pass lies, if that was asked for.
    pub losses: Option<Losses>,
}

/// Where the loss of a pass lies, with the split it was measured on.
#[derive(Clone, Debug)]
pub struct Losses {
    /// The pass, such as `packed/sliding`; of likelihoods out of a file the kind of windows alone.
    pub label: String,
    /// By place and document.
    pub profile: LossProfile,
    /// The split.
    pub data: ScoringData,
}

/// Probes of one form of the weights.
#[derive(Clone, Debug)]
pub struct Probed {
    /// What was probed.
    pub weights: Weights,
    /// With which windows.
    pub windowing: Windowing,
    /// What was found.
    pub outcomes: Vec<ProbeOutcome>,
}

/// A job whose inputs are open.
pub(super) struct Opened {
    pub(super) inputs: ScoreInputs,
    pub(super) basis: ScoreSettings,
    pub(super) files: Vec<WeightsFile>,
    pub(super) on_disk: manifest::Manifest,
}

impl ScoreJob {
    /// Scores. Outputs are written last, once the inputs are known not to have changed.
    pub fn run(&self, progress: &Progress, interrupt: &Interrupt) -> Result<Outcome, ScoreJobError> {
        let recorded = self.record.then_some(&self.manifest_path);
        for path in self.nll_out.iter().chain(&self.ttt_trace).chain(recorded) {
            atomic_write::check_writable(path)?;
        }
        if self.shard.is_some() {
            self.refuse_learning("a part of the windows")?;
        }
        if self.profile {
            self.refuse_with_tail("a picture of losses shows each target once")?;
        }
        let opened = self.open()?;
        if self.record {
            self.check_recordable(&opened.on_disk, &opened.inputs)?;
        }
        let plans = self.plans(&opened.basis)?;
        let windows: u64 = plans.iter().map(|(_, range)| range.end - range.start).sum();
        progress.set_len(windows * opened.files.len() as u64);
        let Passes { passes, parts, elapsed, agreement, profile, nll, trace } =
            self.passes(&opened, &plans, progress, interrupt)?;
        self.check_scored(&passes, &opened.basis)?;
        opened.inputs.check_unchanged()?;
        for file in [nll, trace].into_iter().flatten() {
            file.commit()?;
        }

        let processor = self.processor();
        let run =
            RunSettings { threads: rayon::current_num_threads(), batch_windows: opened.inputs.data.batch_windows() };
        let report = Report {
            basis: opened.basis.clone(),
            passes,
            run: Some(run),
            agreement,
            processors: vec![processor.clone()],
        };
        if self.record {
            self.record(&opened.on_disk, &report)?;
        }
        let part = self.shard.map(|shard| PartRecord {
            schema: PART_SCHEMA.into(),
            shard,
            processor,
            basis: opened.basis,
            passes: parts,
        });
        let label = report.passes.first().map(Pass::label).unwrap_or_default();
        let data = opened.inputs.data;
        let losses = profile.map(|profile| Losses { label, profile: profile.finish(), data });
        Ok(Outcome { report, part, elapsed, losses })
    }

    /// Where the loss lies, of likelihoods that an earlier call wrote: nothing is computed, and no weights are read.
    pub fn read_losses(&self, path: &Path) -> Result<Losses, ScoreJobError> {
        let Effective { manifest, folder, .. } = &self.effective;
        let data = ScoreInputs::open(manifest, folder, &[])?.data;
        let tokens = self.max_tokens.map_or(data.tokens.len(), |most| data.tokens.len().min(most as usize));
        let tokens = &data.tokens[..tokens];
        let windowing = self.windowings.first().copied().unwrap_or(Windowing::Sliding);
        let seq_len = manifest.eval.seq_len;
        self.refuse_with_tail("a picture of losses shows each target once")?;
        let plan = WindowPlan::of(&manifest.eval, windowing, tokens.len() as u64).map_err(ScoreError::from)?;
        let failed = |source| ScoreJobError::ReadLosses { path: path.to_path_buf(), source };
        let file = regular_file::open(path).map_err(failed)?;
        let (bytes, predictions) = (file.metadata().map_err(failed)?.len(), plan.scored());
        let expected = predictions.saturating_mul(LOSS_BYTES);
        if bytes != expected || predictions == 0 {
            let path = path.to_path_buf();
            return Err(ScoreJobError::OtherLosses { path, bytes, predictions, windowing, seq_len, expected });
        }
        let mut file = BufReader::new(file);
        let mut profile = LossProfile::new(plan, 0);
        let mut nll = Vec::new();
        for span in plan.iter(0..plan.windows()) {
            nll.clear();
            for prediction in span.scored() {
                let mut value = [0; LOSS_BYTES as usize];
                file.read_exact(&mut value).map_err(failed)?;
                let value = f32::from_le_bytes(value);
                if !value.is_finite() {
                    return Err(ScoreJobError::NoLoss { path: path.to_path_buf(), prediction, value });
                }
                nll.push(value);
            }
            profile.add(&nll, tokens, data.bytes());
        }
        Ok(Losses { label: windowing.to_string(), profile: profile.finish(), data })
    }

    /// Probes the scorer instead of scoring, on `samples` windows of every pass.
    pub fn probe(
        &self,
        samples: u64,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<Vec<Probed>, ScoreJobError> {
        self.refuse_learning("a probe")?;
        self.refuse_with_tail("a probe asks that each target be scored once")?;
        let opened = self.open()?;
        let plans = self.plans(&opened.basis)?;
        progress.set_len((plans.len() * opened.files.len() * ProbeKind::ALL.len()) as u64);
        let mut probed = Vec::new();
        for file in &opened.files {
            let prepared = self.prepare(file)?;
            for (plan, _) in &plans {
                let subject = ProbeTarget {
                    scorer: prepared.scorer(),
                    tokens: opened.tokens(),
                    vocab_size: self.effective.manifest.model.vocab_size,
                    plan: *plan,
                    samples,
                    progress,
                    interrupt,
                };
                let outcomes = probe(&subject)?;
                probed.push(Probed { weights: file.weights, windowing: plan.windowing(), outcomes });
            }
        }
        opened.inputs.check_unchanged()?;
        Ok(probed)
    }

    /// What runs the model, with limits put on it.
    pub(super) fn processor(&self) -> String {
        let instructions = match (engine::held_to_avx2(), engine::uses_tiles()) {
            (true, _) => " (held to AVX2)",
            (false, true) => " (with AMX)",
            (false, false) => "",
        };
        self.device.accelerator().map_or_else(|| environment::processor() + instructions, str::to_string)
    }

    pub(super) fn open(&self) -> Result<Opened, ScoreJobError> {
        let Effective { manifest, folder, .. } = &self.effective;
        let on_disk = manifest::load(&self.manifest_path)?;
        let mut files = Vec::new();
        if self.packed {
            let own = manifest.artifact.as_ref().map(|artifact| folder.join(&artifact.path));
            let path = self.artifact.clone().or(own);
            files.extend(path.map(|path| WeightsFile { weights: Weights::Packed, path }));
        }
        let checkpoint = self.checkpoint.clone();
        files.extend(checkpoint.map(|path| WeightsFile { weights: Weights::Checkpoint, path }));
        if files.is_empty() {
            return Err(ScoreJobError::NoWeights { path: self.manifest_path.clone() });
        }
        let inputs = ScoreInputs::open(manifest, folder, &files)?;
        if let (None, Some(record)) = (&self.artifact, &manifest.artifact)
            && let Some(found) = inputs.digest_of(super::InputRole::Artifact).map(|digest| digest.sha256)
            && found != record.sha256
        {
            let (path, stated) = (folder.join(&record.path), record.sha256);
            return Err(ScoreJobError::OtherArtifact { path, found, stated });
        }

        let of = inputs.data.tokens.len() as u64;
        let tokens = self.max_tokens.map_or(of, |tokens| tokens.min(of));
        if tokens < 2 {
            return Err(ScoreJobError::TooShort { tokens });
        }
        let label = self.device.label(self.engine.reported());
        let engine = match self.precision {
            Precision::F32 => label,
            Precision::Bf16 => format!("{label} (bf16)"),
        };
        let identity = manifest::identity(&on_disk);
        let basis = inputs.data.settings(manifest, identity, engine, inputs.files.clone(), tokens);
        Ok(Opened { inputs, basis, files, on_disk })
    }

    /// Refuses what does not go with a text whose end counts several times.
    fn refuse_with_tail(&self, why: &'static str) -> Result<(), ScoreJobError> {
        match self.effective.manifest.eval.tail {
            Tail::AsScript if self.windowings.contains(&Windowing::Sliding) => Err(ScoreJobError::TailAsScript { why }),
            _ => Ok(()),
        }
    }

    /// The windows of every pass over one form of the weights.
    fn plans(&self, basis: &ScoreSettings) -> Result<Vec<(WindowPlan, std::ops::Range<u64>)>, ScoreError> {
        let plan = |&windowing: &Windowing| -> Result<_, ScoreError> {
            let plan = basis.plan(windowing)?;
            let part = self.shard.and_then(|shard| plan.part(shard.index, shard.of));
            Ok((plan, part.unwrap_or(0..plan.windows())))
        };
        self.windowings.iter().map(plan).collect()
    }

    pub(super) fn prepare(&self, file: &WeightsFile) -> Result<Prepared, ScoreJobError> {
        let model = self.effective.manifest.scored_model();
        let weights = file.read(&model)?;
        Ok(self.engine.prepare(&self.device, self.precision, &model, &weights)?)
    }

    /// A whole evaluation must have scored something, and what it scored must be text. Parts may be empty.
    fn check_scored(&self, passes: &[Pass], basis: &ScoreSettings) -> Result<(), ScoreJobError> {
        if self.shard.is_some() {
            return Ok(());
        }
        if passes.iter().all(|pass| pass.score.tokens == 0) {
            return Err(ScoreJobError::NothingScored { predictions: basis.tokens - 1, seq_len: basis.seq_len });
        }
        match passes.iter().find(|pass| pass.score.tokens > 0 && pass.score.bytes == 0) {
            Some(pass) => Err(ScoreJobError::NoText { label: pass.label(), tokens: pass.score.tokens }),
            None => Ok(()),
        }
    }
}

impl Opened {
    /// A model on the tokens to use.
    pub(super) fn evaluation<'a>(
        &'a self,
        scorer: &'a dyn Scorer,
        progress: &'a Progress,
        interrupt: &'a Interrupt,
    ) -> Evaluation<'a> {
        Evaluation { tokens: self.tokens(), ..self.inputs.data.evaluation(scorer, progress, interrupt) }
    }

    /// The tokens to use, of the whole split.
    pub(super) fn tokens(&self) -> &[u16] {
        let tokens = &self.inputs.data.tokens;
        &tokens[..tokens.len().min(self.basis.tokens as usize)]
    }
}
