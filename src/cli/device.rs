//! `--device`: where the kernels engine runs.

use std::io::Write;

use clap::Args;

use super::CommonArgs;
use crate::engine::{Device, DeviceChoice};

/// The device flag of the binaries that run a model.
#[derive(Clone, Copy, Debug, Args)]
pub struct DeviceArgs {
    /// Where the kernels engine runs: cpu, cuda, cuda:N, or auto for a GPU if one can be used (-v says which)
    #[arg(long, default_value_t, value_name = "NAME")]
    device: DeviceChoice,
}

impl DeviceArgs {
    /// Opens the device; a CUDA device asked for by name must be there.
    pub fn open(self, common: &CommonArgs) -> anyhow::Result<Device> {
        let device = Device::open(self.device).map_err(|reason| {
            anyhow::anyhow!("--device {}: {reason}; --device cpu runs on any machine", self.device)
        })?;
        if common.verbose > 0 {
            writeln!(anstream::stderr().lock(), "device {device}")?;
        }
        Ok(device)
    }
}
