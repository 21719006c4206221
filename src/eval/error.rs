//! Why a manifest could not be scored.

use std::path::PathBuf;

use super::ttt::TttError;
use super::{InputRole, ScoreError, Weights, Windowing};
use crate::artifact::foreign::ForeignError;
use crate::atomic_write::WriteError;
use crate::data::{DataGap, IncompleteData, ShardError, TokenizerError};
use crate::digest::Digest;
use crate::engine::EngineError;
use crate::manifest::LoadError;
use crate::model::{LayoutMismatch, WeightsError};

/// What stopped a scoring job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreJobError {
    /// The manifest could not be read.
    #[error(transparent)]
    Manifest(#[from] LoadError),
    /// Shards or tokenizer are missing or not what the manifest states.
    #[error(transparent)]
    Data(#[from] IncompleteData),
    /// A shard could not be read.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The tokenizer could not be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// There are no weights to score.
    #[error(
        "{} names no artifact; give one with --artifact, or weights with --checkpoint, or run `pack` first",
        path.display()
    )]
    NoWeights {
        /// The manifest.
        path: PathBuf,
    },
    /// The artifact could not be read.
    #[error(transparent)]
    Artifact(#[from] ForeignError),
    /// The artifact is another one than the manifest's.
    #[error(
        "artifact {}: sha256 is {found}, the manifest states {stated}; name it with --artifact to score it all the same",
        path.display()
    )]
    OtherArtifact {
        /// The artifact.
        path: PathBuf,
        /// Of the file.
        found: Digest,
        /// In the manifest.
        stated: Digest,
    },
    /// The checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] WeightsError),
    /// The weights are not those of the manifest's model.
    #[error("{}: {source}", path.display())]
    Layout {
        /// Artifact or checkpoint.
        path: PathBuf,
        /// What does not fit.
        source: LayoutMismatch,
    },
    /// The engine refused the model.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Nothing to predict.
    #[error("the validation split has {tokens} token(s); at least two are needed to score anything")]
    TooShort {
        /// Tokens in it.
        tokens: u64,
    },
    /// Tokens without text.
    #[error(
        "{label}: the {tokens} scored tokens stand for no bytes of text, so there are no bits per byte; \
         is this the tokenizer of these shards?"
    )]
    NoText {
        /// The pass.
        label: String,
        /// Tokens scored.
        tokens: u64,
    },
    /// No pass scored anything.
    #[error(
        "nothing was scored: the split's {predictions} predictions do not fill one window of {seq_len}; \
         use --sliding or a smaller --seq-len"
    )]
    NothingScored {
        /// Predictions in the split.
        predictions: u64,
        /// Window length.
        seq_len: u64,
    },
    /// A file of likelihoods that is not of these windows.
    #[error(
        "{} has {bytes} bytes, and the {predictions} predictions of {windowing} windows of {seq_len} over this split \
         make {expected}; give the flags that it was written with",
        path.display()
    )]
    OtherLosses {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// What the windows score.
        predictions: u64,
        /// Their kind.
        windowing: Windowing,
        /// Their length.
        seq_len: u64,
        /// Size of their file.
        expected: u64,
    },
    /// A likelihood in a file that is none.
    #[error("{}: prediction {prediction}: negative log-likelihood is {value}; this is no file of `score --nll-out`", path.display())]
    NoLoss {
        /// The file.
        path: PathBuf,
        /// Index in the file.
        prediction: u64,
        /// What stands there.
        value: f32,
    },
    /// A file of likelihoods could not be read.
    #[error("cannot read {}: {source}", path.display())]
    ReadLosses {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Test-time training failed.
    #[error(transparent)]
    Ttt(#[from] TttError),
    /// What needs weights that stay as they are.
    #[error(
        "{what} needs weights that stay as they are, and with eval.ttt they learn from all that was scored before; --no-ttt \
         scores without that"
    )]
    Learning {
        /// What needs them.
        what: &'static str,
    },
    /// What does not go with a text whose end counts several times.
    #[error(
        "{why}, and with eval.tail as-script those at the end of the text are scored several times; use --set \
         eval.tail=once"
    )]
    TailAsScript {
        /// What does not go with it.
        why: &'static str,
    },
    /// A sample is of one pass.
    #[error(
        "a sample is of one form of the weights and one kind of windows, and here are {passes} passes; --no-artifact \
         leaves the checkpoint alone"
    )]
    ManyPasses {
        /// Passes asked for.
        passes: usize,
    },
    /// Too few windows to tell their spread.
    #[error("a sample of {windows} of {of} windows tells no spread; take more")]
    SampleTooSmall {
        /// Windows scored.
        windows: u64,
        /// Windows of the split.
        of: u64,
    },
    /// A test without anything to test.
    #[error("there is no claim to decide on")]
    NoClaim,
    /// Running the windows failed.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// An input could not be read.
    #[error("{role} {}: cannot be read: {source}", path.display())]
    Read {
        /// What it is.
        role: InputRole,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An input changed while it was used.
    #[error("{role} {}: content changed during the run (sha256 was {before}, is {after}); nothing was written", path.display())]
    Changed {
        /// What it is.
        role: InputRole,
        /// The file.
        path: PathBuf,
        /// At the start.
        before: Digest,
        /// At the end.
        after: Digest,
    },
    /// A data file changed while it was used.
    #[error(transparent)]
    ChangedData(#[from] DataGap),
    /// The result does not belong into the manifest.
    #[error("--record: {0}")]
    NotRecordable(#[from] NotRecordable),
    /// An output could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Why a score must not be written into a manifest: it would not be the score of what the manifest describes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotRecordable {
    /// Part of the split or of the windows only.
    #[error("only a score of the whole split can be recorded; drop --max-tokens and --shard")]
    Incomplete,
    /// Settings that are not the manifest's.
    #[error("{field} was changed from outside; record the manifest's own evaluation or change the manifest")]
    Overridden {
        /// The field.
        field: String,
    },
    /// Other weights.
    #[error("the {weights} weights are not those the manifest names (sha256 {found}); `train` and `pack` write these")]
    OtherWeights {
        /// Which.
        weights: Weights,
        /// Of the file.
        found: Digest,
    },
    /// The manifest is another one now.
    #[error("the manifest changed during the run; score again")]
    ManifestChanged,
}
