//! The score stage: checkpoint and artifact side by side, over non-overlapping and sliding windows, which shows what
//! quantization costs; and the artifact once more with weights that learn, where the manifest has test-time training.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::UnreadableFile;
use super::stage::digest_of;
use crate::artifact::foreign::{self, ForeignError};
use crate::atomic_write::{PendingFile, WriteError};
use crate::data::{Dataset, TokenizerError};
use crate::digest::Digest;
use crate::engine::{Engine, EngineError};
use crate::eval::ttt::{ScoreFirst, TraceStart, TttError};
use crate::eval::{
    Input, InputRole, Pass, PlanError, Score, ScoreError, ScoringData, Weights, WindowPlan, Windowing, data_inputs,
};
use crate::interrupt::Interrupt;
use crate::manifest::{Manifest, ScoreRecord, TttConfig};
use crate::model::{LayoutMismatch, Params, WeightsError, read_safetensors};
use crate::progress::{Progress, ProgressFactory};
use crate::run_folder::RunFolder;
use crate::units::BitsPerByte;

/// Why nothing could be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreStageError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The artifact cannot be read.
    #[error(transparent)]
    Artifact(#[from] ForeignError),
    /// Weights that are not those of the manifest's model.
    #[error(transparent)]
    Layout(#[from] LayoutMismatch),
    /// The tokenizer cannot be read or has another vocabulary.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A validation shard cannot be read.
    #[error(transparent)]
    Shard(#[from] crate::data::ShardError),
    /// Windows that cannot be laid.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The engine refused the weights.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Scoring failed or was interrupted.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// Test-time training failed or was interrupted.
    #[error(transparent)]
    Ttt(#[from] TttError),
    /// Its trace could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The artifact cannot be hashed.
    #[error(transparent)]
    Unreadable(#[from] UnreadableFile),
    /// The split has fewer tokens than a window needs.
    #[error("the validation split has {tokens} tokens: too few for one window of {seq_len}; lower eval.seq_len")]
    TooShort {
        /// Tokens there are.
        tokens: usize,
        /// Window length.
        seq_len: u64,
    },
}

/// What scoring starts from.
pub(super) struct Scoring<'a> {
    pub manifest: &'a Manifest,
    /// Identity of the recipe that is reproduced: the run folder's manifest has more and less in it from call to call.
    pub recipe: Digest,
    pub data: &'a Dataset,
    pub engine: &'a dyn Engine,
    pub interrupt: &'a Interrupt,
    pub progress: &'a ProgressFactory<'a>,
}

/// Byte-unigram and token-unigram entropy of a split: what a model without context could reach.
pub(super) type UnigramBounds = (BitsPerByte, BitsPerByte);

impl Scoring<'_> {
    /// Scores both forms of a run folder's weights; labels are `checkpoint/non-overlapping`, `packed/sliding` and so on. With
    /// `eval.ttt` there is `packed/sliding-ttt` besides, and its trace in the folder.
    pub fn run(
        &self,
        folder: &RunFolder,
    ) -> Result<(BTreeMap<String, ScoreRecord>, Option<UnigramBounds>), ScoreStageError> {
        let data = self.open()?;
        let plans = [data.plan(Windowing::NonOverlapping)?, data.plan(Windowing::Sliding)?];
        let learning = self.manifest.eval.ttt.as_ref();
        let learned = learning.map(|_| data.learning_plan()).transpose()?;
        let windows: u64 = plans.iter().map(WindowPlan::windows).sum();
        let progress = (self.progress)("scoring", 2 * windows + learned.map_or(0, |plan| plan.windows()));
        let mut records = BTreeMap::new();
        for weights in [Weights::Checkpoint, Weights::Packed] {
            let model = self.manifest.scored_model();
            let scorer = self.engine.scorer(&model, &self.weights(weights, folder)?)?;
            let evaluation = data.evaluation(&*scorer, &progress, self.interrupt);
            for plan in &plans {
                let score = evaluation.score(plan, 0..plan.windows(), &mut |_| Ok(()))?;
                let (windowing, learns) = (plan.windowing(), false);
                let (label, record) = self.record(&data, &Pass { weights, windowing, learns, score })?;
                records.insert(label, record);
            }
        }
        if let (Some(config), Some(plan)) = (learning, learned) {
            let score = self.learn(&data, config, plan, folder, &progress)?;
            let (weights, windowing, learns) = (Weights::Packed, plan.windowing(), true);
            let (label, record) = self.record(&data, &Pass { weights, windowing, learns, score })?;
            records.insert(label, record);
        }
        progress.finish();
        Ok((records, data.unigram_bounds()))
    }

    fn record(&self, data: &ScoringData, pass: &Pass) -> Result<(String, ScoreRecord), ScoreStageError> {
        let too_short = || ScoreStageError::TooShort { tokens: data.tokens.len(), seq_len: data.eval.seq_len };
        let record = pass.record(&self.engine.label()).ok_or_else(too_short)?;
        Ok((pass.label(), record))
    }

    /// Scores the artifact while its weights learn, and writes the trace once all is scored.
    fn learn(
        &self,
        data: &ScoringData,
        config: &TttConfig,
        plan: WindowPlan,
        folder: &RunFolder,
        progress: &Progress,
    ) -> Result<Score, ScoreStageError> {
        let model = &self.manifest.scored_model();
        let Scoring { engine, interrupt, .. } = *self;
        let basis =
            data.settings(self.manifest, self.recipe, engine.label(), self.inputs(folder)?, data.tokens.len() as u64);
        let mut trace = PendingFile::create(&folder.ttt_trace())?;
        let score_first = ScoreFirst { engine, model, config, plan, tokens: &data.tokens, interrupt };
        let score = score_first.run_traced::<ScoreStageError>(
            TraceStart { weights: Weights::Packed, basis },
            self.weights(Weights::Packed, folder)?,
            &mut |weights, windows| {
                let scorer = engine.scorer(model, weights)?;
                Ok(data.evaluation(&*scorer, progress, interrupt).score(&plan, windows, &mut |_| Ok(()))?)
            },
            &mut |line| trace.append(line),
        )?;
        trace.commit()?;
        Ok(score)
    }

    /// What a pass over the artifact reads.
    fn inputs(&self, folder: &RunFolder) -> Result<Vec<Input>, ScoreStageError> {
        let path = self.artifact(folder);
        let digest = digest_of(&path)?;
        let mut inputs = vec![Input { role: InputRole::Artifact, path, digest }];
        inputs.extend(data_inputs(self.data, |_, path| digest_of(path))?);
        Ok(inputs)
    }

    /// The bounds alone, where scores were kept from an earlier run.
    pub fn bounds(&self) -> Result<Option<UnigramBounds>, ScoreStageError> {
        let data = self.open()?;
        Ok(data.unigram_bounds())
    }

    fn open(&self) -> Result<ScoringData, ScoreStageError> {
        ScoringData::open(self.data, self.manifest)
    }

    fn artifact(&self, folder: &RunFolder) -> PathBuf {
        folder.artifact(self.manifest.quantization.container)
    }

    fn weights(&self, weights: Weights, folder: &RunFolder) -> Result<Params, ScoreStageError> {
        let params = match weights {
            Weights::Checkpoint => read_safetensors(&folder.checkpoint())?,
            Weights::Packed => foreign::read(&self.artifact(folder))?.params(),
        };
        Ok(params.arrange(&self.manifest.model)?)
    }
}
