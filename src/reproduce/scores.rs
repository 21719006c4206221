//! The score stage: checkpoint and artifact side by side, plain and sliding, so that the quantization gap can be read.

use std::collections::BTreeMap;
use std::fmt;

use crate::artifact::{self, ReadError};
use crate::data::{Dataset, Tokenizer, TokenizerError, unigram_bounds};
use crate::engine::{Engine, EngineError};
use crate::eval::{Evaluation, PlanError, ScoreError, WindowPlan};
use crate::interrupt::Interrupt;
use crate::manifest::{Manifest, ScoreRecord};
use crate::model::{LayoutMismatch, Params, WeightsError, read_safetensors};
use crate::progress::ProgressFactory;
use crate::run_folder::RunFolder;
use crate::units::BitsPerByte;

/// Whose weights are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The weights training ended with.
    Checkpoint,
    /// The packed model, decoded: what a claim is about.
    Packed,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Subject::Checkpoint => "checkpoint",
            Subject::Packed => "packed",
        })
    }
}

/// Why nothing could be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreStageError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The artifact cannot be read.
    #[error(transparent)]
    Artifact(#[from] ReadError),
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
    /// Scores both subjects of a run folder; labels are `checkpoint/plain`, `packed/sliding` and so on.
    pub fn run(
        &self,
        folder: &RunFolder,
    ) -> Result<(BTreeMap<String, ScoreRecord>, Option<UnigramBounds>), ScoreStageError> {
        let vocab_size = self.manifest.model.vocab_size as u32;
        let tokens = self.data.val_tokens(vocab_size)?;
        let tokenizer = self.tokenizer(vocab_size)?;
        let eval = &self.manifest.eval;
        let count = tokens.len() as u64;
        let plans = [WindowPlan::plain(count, eval.seq_len)?, WindowPlan::sliding(count, eval.seq_len, eval.stride)?];
        let windows: u64 = plans.iter().map(WindowPlan::windows).sum();
        let progress = (self.progress)("scoring", 2 * windows);
        let table = tokenizer.byte_table();
        let mut records = BTreeMap::new();
        for subject in [Subject::Checkpoint, Subject::Packed] {
            let scorer = self.engine.scorer(&self.manifest.model, &self.weights(subject, folder)?)?;
            let evaluation = Evaluation {
                scorer: &*scorer,
                tokens: &tokens,
                table: &table,
                batch_windows: usize::try_from(eval.batch_windows).unwrap_or(usize::MAX),
                progress: &progress,
                interrupt: self.interrupt,
            };
            for plan in &plans {
                let score = evaluation.score(plan, 0..plan.windows(), &mut |_| Ok(()))?;
                let (Some(val_loss), Some(val_bpb)) = (score.val_loss(), score.val_bpb()) else {
                    return Err(ScoreStageError::TooShort { tokens: tokens.len(), seq_len: eval.seq_len });
                };
                let engine = self.engine.label();
                let (tokens, bytes, windows) = (score.tokens, score.bytes, score.windows);
                let record = ScoreRecord { val_loss, val_bpb, tokens, bytes, windows, engine };
                records.insert(format!("{subject}/{}", plan.windowing()), record);
            }
        }
        progress.finish();
        Ok((records, unigram_bounds(&tokens, &tokenizer)))
    }

    /// The bounds alone, where scores were kept from an earlier run.
    pub fn bounds(&self) -> Result<Option<UnigramBounds>, ScoreStageError> {
        let vocab_size = self.manifest.model.vocab_size as u32;
        Ok(unigram_bounds(&self.data.val_tokens(vocab_size)?, &self.tokenizer(vocab_size)?))
    }

    fn tokenizer(&self, vocab_size: u32) -> Result<Tokenizer, ScoreStageError> {
        let path = self.data.tokenizer.as_ref().map(|file| file.path.clone()).unwrap_or_default();
        let (tokenizer, _) = Tokenizer::read(&path)?;
        tokenizer.check_vocab_size(vocab_size).map_err(|fault| TokenizerError { path, fault })?;
        Ok(tokenizer)
    }

    fn weights(&self, subject: Subject, folder: &RunFolder) -> Result<Params, ScoreStageError> {
        let params = match subject {
            Subject::Checkpoint => read_safetensors(&folder.checkpoint())?,
            Subject::Packed => artifact::read(&folder.artifact())?.params,
        };
        Ok(params.arrange(&self.manifest.model)?)
    }
}
