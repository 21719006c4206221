//! GPUs while a run goes on, by the word of NVIDIA's management library, if it is there.
//!
//! A thread of its own asks: a driver that takes its time delays no line's time.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use crate::rerun::record::GpuUse;

/// How often GPUs are looked at: a call takes the driver some milliseconds.
#[cfg(feature = "nvml")]
const EVERY: Duration = Duration::from_secs(1);
/// How long the last answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks at the GPUs until it is ended.
pub(super) struct Sampler {
    /// Its end is the sign to end.
    stop: Sender<()>,
    found: Receiver<GpuUse>,
}

impl Sampler {
    /// Begins.
    pub fn begin() -> Self {
        let (stop, stopped) = mpsc::channel();
        let (finder, found) = mpsc::channel();
        let work = move || drop(finder.send(watch(&stopped)));
        // Without a thread the other end is gone, and the end says so.
        let _ = std::thread::Builder::new().name("gpus".into()).spawn(work);
        Sampler { stop, found }
    }

    /// What was seen.
    pub fn end(self) -> GpuUse {
        drop(self.stop);
        self.found.recv_timeout(PATIENCE).unwrap_or_else(|_| GpuUse::not_measured("the driver gives no answer"))
    }
}

#[cfg(not(feature = "nvml"))]
fn watch(_: &Receiver<()>) -> GpuUse {
    GpuUse::not_measured("this build of rerun has no NVML")
}

#[cfg(feature = "nvml")]
fn watch(stopped: &Receiver<()>) -> GpuUse {
    use nvml_wrapper::Nvml;

    /// The name that the driver installs; the one without a number comes with development files.
    const LIBRARY: &str = "libnvidia-ml.so.1";
    let nvml = match Nvml::builder().lib_path(LIBRARY.as_ref()).init() {
        Ok(nvml) => nvml,
        Err(error) => return GpuUse::not_measured(&format!("{LIBRARY}: {error}")),
    };
    let count = match nvml.device_count() {
        Ok(count) => count,
        Err(error) => return GpuUse::not_measured(&format!("NVML: {error}")),
    };
    let mut devices: Vec<_> = (0..count)
        .filter_map(|index| {
            let device = nvml.device_by_index(index).ok()?;
            Some((seen::begin(&device)?, device))
        })
        .collect();
    while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(EVERY) {
        devices.iter_mut().for_each(|(record, device)| seen::look(record, device));
    }
    // The last moment counts for runs of less than a second.
    devices.iter_mut().for_each(|(record, device)| seen::look(record, device));
    GpuUse {
        driver: nvml.sys_driver_version().ok().map(|version| crate::escape::visible(&version)),
        devices: devices.into_iter().map(|(record, _)| record).collect(),
        not_measured: None,
    }
}

#[cfg(feature = "nvml")]
mod seen {
    use nvml_wrapper::Device;
    use nvml_wrapper::enum_wrappers::device::Clock;

    use crate::escape::visible;
    use crate::rerun::record::GpuRecord;
    use crate::units::Bytes;

    /// A device as it is before the run; none if the driver does not let us look.
    pub fn begin(device: &Device) -> Option<GpuRecord> {
        let memory = device.memory_info().ok()?;
        let mut record = GpuRecord {
            name: device.name().map_or_else(|_| "NVIDIA GPU".into(), |name| visible(&name)),
            memory: Bytes(memory.total),
            memory_before: Bytes(memory.used),
            peak_memory: Bytes(memory.used),
            lowest_clock_mhz: None,
            highest_clock_mhz: None,
        };
        look(&mut record, device);
        Some(record)
    }

    /// One look.
    pub fn look(record: &mut GpuRecord, device: &Device) {
        if let Ok(memory) = device.memory_info() {
            record.peak_memory = record.peak_memory.max(Bytes(memory.used));
        }
        if let Ok(clock) = device.clock_info(Clock::SM) {
            record.lowest_clock_mhz = Some(record.lowest_clock_mhz.map_or(clock, |lowest| lowest.min(clock)));
            record.highest_clock_mhz = Some(record.highest_clock_mhz.map_or(clock, |highest| highest.max(clock)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever this machine has: either devices, or the reason why nothing was measured.
    #[test]
    fn what_is_not_measured_has_a_reason() {
        let found = Sampler::begin().end();
        assert_eq!(found.not_measured.is_some(), found.driver.is_none() && found.devices.is_empty(), "{found:?}");
        for gpu in &found.devices {
            assert!(gpu.peak_memory >= gpu.memory_before && gpu.memory >= gpu.peak_memory, "{gpu:?}");
        }
    }
}
