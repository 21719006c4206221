//! `--device`: where the kernels engine runs.

use std::io::Write;

use clap::Args;

use super::CommonArgs;
use crate::collective::Launch;
use crate::engine::{DeviceChoice, EngineDevice, GraphLaunches, Precision};

/// The device flag of the binaries that run a model.
#[derive(Clone, Copy, Debug, Args)]
pub struct DeviceArgs {
    /// Where the kernels engine runs: cpu, cuda, cuda:N, or auto for a GPU if one can be used (-v says which)
    #[arg(long, default_value_t, value_name = "NAME")]
    device: DeviceChoice,
}

impl DeviceArgs {
    /// [`Self::open`], for one of several processes: a CUDA device is then the one of its local rank.
    pub fn open_for(
        self,
        precision: Precision,
        common: &CommonArgs,
        launch: Option<&Launch>,
    ) -> anyhow::Result<EngineDevice> {
        let Some(launch) = launch else { return self.open(precision, common) };
        let device = match (self.device, launch.local_rank) {
            (DeviceChoice::Cpu, _) => DeviceChoice::Cpu,
            (DeviceChoice::Cuda(_), Some(ordinal)) => DeviceChoice::Cuda(ordinal),
            (DeviceChoice::Cuda(_), None) => {
                anyhow::bail!("which GPU is that of {}? LOCAL_RANK is not set", launch.rank)
            }
            (DeviceChoice::Auto, _) => anyhow::bail!("--device auto may differ between ranks; name cpu or cuda"),
        };
        DeviceArgs { device }.open(precision, common)
    }

    /// Opens the device; a CUDA device asked for by name must be there.
    pub fn open(self, precision: Precision, common: &CommonArgs) -> anyhow::Result<EngineDevice> {
        let device = EngineDevice::open(self.device).map_err(|reason| {
            anyhow::anyhow!("--device {}: {reason}; --device cpu runs on any machine", self.device)
        })?;
        if common.verbose > 0 {
            let _ = writeln!(anstream::stderr().lock(), "device {device}");
        }
        if device.accelerator().is_some() && precision == Precision::F32 && !common.quiet {
            let _ = writeln!(anstream::stderr().lock(), "{SLOW_PRECISION}");
        }
        Ok(device)
    }
}

/// Said where single precision is asked of a GPU.
const SLOW_PRECISION: &str = "single precision has no tensor cores on a GPU: at full size it takes hours where \
                              --precision bf16 takes minutes";

/// Tells where a driver would not record graphs, once the work is done.
pub fn tell_of_graphs(common: &CommonArgs) {
    if let (false, Some(warning)) = (common.quiet, GraphLaunches::so_far().warning()) {
        let _ = writeln!(anstream::stderr().lock(), "{warning}");
    }
}
