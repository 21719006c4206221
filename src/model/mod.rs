//! The network of PR #286: its configuration, its parameters by name, and how they start.

mod config;
mod host_tensor;
mod params;
mod weights_file;

pub use config::{ConfigError, ModelConfig, RopePrecision};
pub use host_tensor::HostTensor;
pub use params::{LayoutMismatch, ParamRole, ParamSpec, Params, layout};
pub use weights_file::{WeightsError, parse_safetensors, read_safetensors, write_safetensors};
