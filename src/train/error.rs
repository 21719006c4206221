//! Why a training run did not finish.

use std::io;
use std::path::PathBuf;

use super::state::StateError;
use super::trace::TraceError;
use crate::atomic_write::WriteError;
use crate::collective::{CollectiveError, RankError};
use crate::data::{DataGap, GeometryError, IncompleteData, LoaderError, ShardError, TokenizerError};
use crate::engine::EngineError;
use crate::eval::ScoreError;
use crate::model::LayoutMismatch;

/// What diverged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diverged {
    /// The mean loss of a micro-batch.
    Loss,
    /// The norm of all gradients together.
    GradientNorm,
    /// A weight after the update.
    Weights,
}

impl std::fmt::Display for Diverged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Diverged::Loss => "the training loss",
            Diverged::GradientNorm => "the gradient norm",
            Diverged::Weights => "a weight",
        })
    }
}

/// Why a training run did not finish. In every case files written before are whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A missing, damaged or foreign shard or tokenizer.
    #[error(transparent)]
    Data(#[from] IncompleteData),
    /// An input changed while it was used.
    #[error("{0}; the run is not what its manifest says, so no checkpoint was written")]
    InputChanged(DataGap),
    /// The manifest changed while it was used.
    #[error("manifest {} changed during the run; no checkpoint was written", path.display())]
    ManifestChanged {
        /// The manifest.
        path: PathBuf,
    },
    /// The manifest could not be read a second time.
    #[error("cannot read manifest {}: {source}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A batch that does not divide.
    #[error("schedule: {0}")]
    Geometry(#[from] GeometryError),
    /// Training tokens that cannot be used.
    #[error(transparent)]
    Loader(#[from] LoaderError),
    /// Validation tokens that cannot be used.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// A damaged or foreign tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Validation failed.
    #[error("validation: {0}")]
    Score(#[from] ScoreError),
    /// Too few validation tokens.
    #[error(
        "the validation split has {tokens} tokens; at least schedule.train_seq_len + 1 = {} are needed", seq_len + 1
    )]
    ShortValidation {
        /// Tokens in it.
        tokens: usize,
        /// Length of a window.
        seq_len: u64,
    },
    /// Validation tokens that stand for no text.
    #[error("the {tokens} validation tokens stand for no bytes of text; wrong tokenizer?")]
    NoValidationText {
        /// Tokens in it.
        tokens: usize,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// NaN or infinity.
    #[error(
        "{what} is {value} at step {step}: training diverged; lower the learning rates or check the data; \
         a state saved earlier is kept"
    )]
    Diverged {
        /// What.
        what: Diverged,
        /// The value.
        value: f64,
        /// Number of the step, from 1 as the log counts.
        step: u64,
    },
    /// Weights that are NaN or infinite at the end.
    #[error("the trained weights cannot be used: {0}")]
    Weights(#[from] LayoutMismatch),
    /// A file could not be written; an earlier one is untouched.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The log could not be written.
    #[error("cannot write log {}: {source}", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder already holds a run.
    #[error(
        "{} holds {}; use {}--overwrite to start over, or --out for another folder",
        folder.display(), if *finished { "a finished run" } else { "an unfinished run" },
        if *finished { "" } else { "--resume to continue it, " }
    )]
    FolderInUse {
        /// The run folder.
        folder: PathBuf,
        /// Whether the run in it is finished.
        finished: bool,
    },
    /// `--resume` of a run that is complete.
    #[error("{} holds a finished run: there is nothing to resume", folder.display())]
    AlreadyFinished {
        /// The run folder.
        folder: PathBuf,
    },
    /// `--resume` without anything to continue.
    #[error(
        "{} holds no training state to resume; start without --resume, or name the run's folder with --out",
        folder.display()
    )]
    NothingToResume {
        /// The run folder.
        folder: PathBuf,
    },
    /// Files of a run that do not belong together.
    #[error("cannot resume from {}: {message}", path.display())]
    Resume {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        message: String,
    },
    /// A damaged or foreign training state.
    #[error(transparent)]
    State(#[from] StateError),
    /// A damaged or foreign trace.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A trace that records other decisions than its own recipe makes.
    #[error(
        "{}:{line}: `{field}` is {recorded}, but this recipe gives {ours} at that time; \
         the trace was edited or made by another version", path.display()
    )]
    ReplayMismatch {
        /// The trace.
        path: PathBuf,
        /// 1-based line.
        line: usize,
        /// The field.
        field: &'static str,
        /// Value in the trace.
        recorded: String,
        /// Value computed from the recorded time.
        ours: String,
    },
    /// Ranks that cannot go on together.
    #[error("{0}; training ends on all ranks, and files written before are whole")]
    Ranks(#[from] CollectiveError),
    /// A number of ranks that cannot share a step.
    #[error(transparent)]
    World(#[from] RankError),
    /// Ranks started with different inputs.
    #[error("rank {rank} differs from rank 0 in {field}: {theirs} there, {rank_zero} on rank 0; start all ranks alike")]
    Unlike {
        /// The rank.
        rank: usize,
        /// In what it differs.
        field: String,
        /// Its value.
        theirs: String,
        /// Rank 0's.
        rank_zero: String,
    },
    /// Ranks whose weights are no longer the same.
    #[error(
        "rank {rank} holds other weights than rank 0 after step {step}: its processor or library computes differently"
    )]
    Drifted {
        /// The rank.
        rank: usize,
        /// Steps taken.
        step: u64,
    },
    /// Stopped by the user.
    #[error("{}", interrupted_message(*steps, state))]
    Interrupted {
        /// Steps taken.
        steps: u64,
        /// Where the state was saved; `None` before the first step.
        state: Option<PathBuf>,
    },
}

fn interrupted_message(steps: u64, state: &Option<PathBuf>) -> String {
    match state {
        Some(path) => format!("interrupted after step {steps}; continue with --resume (state: {})", path.display()),
        None => "interrupted before the first step; there is no state to resume".into(),
    }
}
