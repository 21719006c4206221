//! The score stage: checkpoint and artifact side by side, over non-overlapping and sliding windows, which shows what
//! quantization costs.

use std::collections::BTreeMap;

use crate::artifact::foreign::{self, ForeignError};
use crate::data::{Dataset, TokenizerError};
use crate::engine::{Engine, EngineError};
use crate::eval::{PlanError, ScoreError, ScoringData, Weights, WindowPlan, Windowing};
use crate::interrupt::Interrupt;
use crate::manifest::{Manifest, ScoreRecord};
use crate::model::{LayoutMismatch, Params, WeightsError, read_safetensors};
use crate::progress::ProgressFactory;
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
    pub data: &'a Dataset,
    pub engine: &'a dyn Engine,
    pub interrupt: &'a Interrupt,
    pub progress: &'a ProgressFactory<'a>,
}

/// Byte-unigram and token-unigram entropy of a split: what a model without context could reach.
pub(super) type UnigramBounds = (BitsPerByte, BitsPerByte);

impl Scoring<'_> {
    /// Scores both forms of a run folder's weights; labels are `checkpoint/non-overlapping`, `packed/sliding` and so on.
    pub fn run(
        &self,
        folder: &RunFolder,
    ) -> Result<(BTreeMap<String, ScoreRecord>, Option<UnigramBounds>), ScoreStageError> {
        let data = self.open()?;
        let plans = [data.plan(Windowing::NonOverlapping)?, data.plan(Windowing::Sliding)?];
        let windows: u64 = plans.iter().map(WindowPlan::windows).sum();
        let progress = (self.progress)("scoring", 2 * windows);
        let mut records = BTreeMap::new();
        for weights in [Weights::Checkpoint, Weights::Packed] {
            let model = self.manifest.scored_model();
            let scorer = self.engine.scorer(&model, &self.weights(weights, folder)?)?;
            let evaluation = data.evaluation(&*scorer, &progress, self.interrupt);
            for plan in &plans {
                let score = evaluation.score(plan, 0..plan.windows(), &mut |_| Ok(()))?;
                let (Some(val_loss), Some(val_bpb)) = (score.val_loss(), score.val_bpb()) else {
                    return Err(ScoreStageError::TooShort { tokens: data.tokens.len(), seq_len: data.eval.seq_len });
                };
                let engine = self.engine.label();
                let (tokens, bytes, windows) = (score.tokens, score.bytes, score.windows);
                let record = ScoreRecord { val_loss, val_bpb, tokens, bytes, windows, engine };
                records.insert(format!("{weights}/{}", plan.windowing()), record);
            }
        }
        progress.finish();
        Ok((records, data.unigram_bounds()))
    }

    /// The bounds alone, where scores were kept from an earlier run.
    pub fn bounds(&self) -> Result<Option<UnigramBounds>, ScoreStageError> {
        let data = self.open()?;
        Ok(data.unigram_bounds())
    }

    fn open(&self) -> Result<ScoringData, ScoreStageError> {
        ScoringData::open(self.data, self.manifest)
    }

    fn weights(&self, weights: Weights, folder: &RunFolder) -> Result<Params, ScoreStageError> {
        let params = match weights {
            Weights::Checkpoint => read_safetensors(&folder.checkpoint())?,
            Weights::Packed => {
                foreign::read(&folder.artifact(self.manifest.quantization.container.file_name()))?.params()
            }
        };
        Ok(params.arrange(&self.manifest.model)?)
    }
}
