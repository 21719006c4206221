//! The network of PR #286: its configuration, its parameters by name, and how they start.

mod bigram;
mod config;
mod host_tensor;
mod init;
mod orthogonal;
mod params;
mod rope;
mod weights_file;

pub use bigram::bigram_rows;
pub use config::{ConfigError, ModelConfig, RopePrecision};
pub use host_tensor::HostTensor;
pub use init::init;
pub use params::{LayoutMismatch, ParamRole, ParamSpec, Params, add_values, layout};
pub use rope::RopeTables;
pub use weights_file::{WeightsError, parse_safetensors, read_safetensors, write_safetensors};
