//! The network, PR #286's by default: its configuration, its parameters by name, how they start, and in which order
//! blocks are run.

mod bigram;
mod config;
mod features;
mod graph;
mod host_tensor;
mod init;
mod linear_input;
mod orthogonal;
mod params;
mod rope;
mod singular_values;
mod weights_file;

pub use bigram::bigram_rows;
pub use config::{ConfigError, ModelConfig, RopePrecision};
pub use features::{AttentionGate, InitRule, Lanes, ParallelResidual, Recurrence, RunAs, Skips, ValueEmbedding};
pub use graph::{BlockRecipe, Graph, Residual, SkipInput, Visit};
pub use host_tensor::HostTensor;
pub use init::init;
pub use linear_input::LinearInput;
pub(crate) use params::in_block;
pub use params::{LayoutMismatch, ParamRole, ParamSpec, Params, add_values, layout};
pub use rope::RopeTables;
pub use weights_file::{WeightsError, parse_safetensors, read_safetensors, write_safetensors};
