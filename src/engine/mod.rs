//! What runs the model.
//!
//! An [`Engine`] turns host weights and tokens into negative log-likelihoods and gradients. The dfdx
//! engine is the readable definition; faster engines are compared with it.

mod accelerators;
mod check;
mod cpu;
mod cross_check;
mod cuda;
mod device;
mod device_trainer;
mod isa;
mod lanes;
mod network;
mod reference;

pub use self::accelerators::{DeviceInfo, devices};
pub(crate) use self::cpu::uses_tiles;
pub use self::cpu::{Decoder, Decoding, KernelsEngine, LayerInputs};
pub use self::cross_check::{CrossCheck, Difference};
pub use self::cuda::cost as cuda_cost;
#[cfg(test)]
pub(crate) use self::cuda::shimmed_engine;
pub use self::cuda::{DeviceError, GraphLaunches, LibraryAlgorithm, LibraryProduct, LibraryProducts, NoDevice};
pub use self::device::{DeviceChoice, EngineDevice, UnknownDevice};
pub use self::device_trainer::{DeviceTrainer, TrainerState, TrainerStep};
pub(crate) use self::isa::held_to_avx2;
pub use self::isa::{Isa, instructions, use_isa};
pub use self::reference::{Activations, DfdxEngine};

use crate::collective::{Collective, CollectiveError};
use crate::data::TokenBatch;
use crate::model::{ConfigError, LayoutMismatch, ModelConfig, Params};
use crate::optim::{FakeQuant, Optimizer, SwaSum};

/// Engines by name, as `--engine` takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// The reference: the model written with dfdx tensors, gradients by its autograd.
    Dfdx,
    /// The fast one: forward and backward written out over fused kernels.
    #[default]
    Kernels,
}

impl std::fmt::Display for EngineKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            EngineKind::Dfdx => "dfdx",
            EngineKind::Kernels => "kernels",
        })
    }
}

/// Precisions to score in, as `--precision` takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Single precision
    #[default]
    F32,
    /// Weights and activations rounded to bfloat16, sums in single precision; kernels engine only
    Bf16,
}

/// The engine of that name.
pub fn create(kind: EngineKind) -> Box<dyn Engine> {
    match kind {
        EngineKind::Dfdx => Box::new(DfdxEngine),
        EngineKind::Kernels => Box::new(KernelsEngine::default()),
    }
}

/// What an engine could not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Sizes no network can have.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Weights that are not those of the configuration.
    #[error(transparent)]
    Layout(#[from] LayoutMismatch),
    /// A token id outside the vocabulary.
    #[error(
        "token id {id} at position {position} is outside the vocabulary of {vocab_size}; wrong tokenizer or damaged shard?"
    )]
    Token {
        /// The id.
        id: u16,
        /// Position in the window.
        position: usize,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// A window with fewer than two tokens.
    #[error("a window of {tokens} tokens cannot be scored: at least one input and one target are needed")]
    Window {
        /// Tokens in it.
        tokens: usize,
    },
    /// A micro-batch that is empty or ragged.
    #[error("a micro-batch of {inputs} inputs and {targets} targets does not fill rows of {seq_len} tokens")]
    Batch {
        /// Input ids in it.
        inputs: usize,
        /// Target ids in it.
        targets: usize,
        /// Tokens in a row.
        seq_len: usize,
    },
    /// Two engines give one token different likelihoods.
    #[error(
        "engines disagree on target {} of window {}: {} against {} nats, more than {tolerance} apart",
        difference.target, difference.window, difference.first, difference.second
    )]
    Disagreement {
        /// Where, and the two numbers.
        difference: Difference,
        /// What they may differ by, relative to max(1, value).
        tolerance: f64,
    },
    /// Another rank is lost, or this one's way to it.
    #[error(transparent)]
    Ranks(#[from] CollectiveError),
    /// The device the engine runs on failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The numeric backend failed.
    #[error("{engine} engine: {message}")]
    Backend {
        /// Which engine.
        engine: EngineKind,
        /// What it said.
        message: String,
    },
}

/// One window to score: `tokens[..n-1]` are the inputs, `tokens[1..]` the targets.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Inputs and the last target, in corpus order.
    pub tokens: &'a [u16],
    /// First target (0-based, relative to the window) whose likelihood is wanted.
    pub first_scored: usize,
}

/// Mean loss over a micro-batch and its gradient for every parameter.
#[derive(Clone, Debug)]
pub struct LossAndGradients {
    /// Mean negative log-likelihood, nats per token.
    pub loss: f32,
    /// d loss / d parameter, in state-dict order.
    pub gradients: Params,
}

/// A model runner. Implementations are deterministic: equal inputs give equal bits, whatever the
/// thread count and whatever else is in the batch; so are gradients of those that [`EngineDevice::training_engine`] gives.
pub trait Engine: Send + Sync {
    /// Which engine this is.
    fn kind(&self) -> EngineKind;

    /// Name of what makes the numbers: equal labels give equal bits on equal machines.
    fn label(&self) -> String {
        self.kind().to_string()
    }

    /// Prepares weights for scoring.
    fn scorer(&self, config: &ModelConfig, weights: &Params) -> Result<Box<dyn Scorer>, EngineError>;

    /// Mean loss of a micro-batch and the gradients of all parameters.
    fn loss_and_gradients(
        &self,
        config: &ModelConfig,
        weights: &Params,
        batch: &TokenBatch,
        fake_quant: FakeQuant,
    ) -> Result<LossAndGradients, EngineError>;

    /// A model in training that stays where this engine runs, with the ranks that share its steps; `None` for an
    /// engine that works on the host's weights.
    fn device_trainer<'a>(
        &self,
        _config: &ModelConfig,
        _weights: &Params,
        _optimizer: &Optimizer,
        _swa: &SwaSum,
        _ranks: &'a dyn Collective,
    ) -> Result<Option<Box<dyn DeviceTrainer + 'a>>, EngineError> {
        Ok(None)
    }
}

/// Frozen weights that score windows.
pub trait Scorer: Send + Sync {
    /// Negative log-likelihoods (nats, f32) of each window's targets from `first_scored` on.
    ///
    /// A window's numbers do not depend on the other windows of the call.
    fn nll(&self, windows: &[Window<'_>]) -> Result<Vec<Vec<f32>>, EngineError>;

    /// How many windows of a length, the last target included, keep the engine busy. Changes no number.
    fn windows_at_once(&self, _len: usize) -> usize {
        1
    }

    /// Softcapped logits of one window of inputs, row-major [inputs, vocabulary].
    fn logits(&self, inputs: &[u16]) -> Result<Vec<f32>, EngineError>;
}
