//! `--device`: where the engines run.

use std::str::FromStr;

use super::cuda::{CudaDevice, LABEL as CUDA_LABEL, NoDevice};
#[cfg(feature = "dfdx-cuda")]
use super::reference;
use crate::engine::{DfdxEngine, Engine, EngineError, EngineKind, KernelsEngine, LibraryProducts, Precision};

/// A device by name, as `--device` takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// `cpu`: the processor. The default: published numbers then do not depend on what else is in the machine.
    #[default]
    Cpu,
    /// `cuda` or `cuda:N`: the N-th CUDA device, or nothing.
    Cuda(usize),
    /// `auto`: the first CUDA device that can be used, else the processor.
    Auto,
}

/// A device that does not exist by that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such device; cpu, cuda, cuda:N (counted from 0) and auto are known")]
pub struct UnknownDevice;

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        match text {
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            "auto" => Ok(DeviceChoice::Auto),
            _ => text.strip_prefix("cuda:").and_then(|n| n.parse().ok()).map(DeviceChoice::Cuda).ok_or(UnknownDevice),
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceChoice::Cpu => f.pad("cpu"),
            DeviceChoice::Cuda(ordinal) => f.pad(&format!("cuda:{ordinal}")),
            DeviceChoice::Auto => f.pad("auto"),
        }
    }
}

/// What engines run on: the processor, or an open CUDA device.
#[derive(Clone, Default)]
pub struct EngineDevice {
    gpu: Option<CudaDevice>,
    refusal: Option<NoDevice>,
}

impl std::fmt::Debug for EngineDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_string())
    }
}

impl std::fmt::Display for EngineDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.gpu, &self.refusal) {
            (Some(gpu), _) => f.pad(gpu.name()),
            (None, None) => f.pad("cpu"),
            (None, Some(reason)) => write!(f, "cpu ({reason})"),
        }
    }
}

impl EngineDevice {
    /// Opens the device of that name. `auto` falls back to the processor and remembers why.
    pub fn open(choice: DeviceChoice) -> Result<Self, NoDevice> {
        match choice {
            DeviceChoice::Cpu => Ok(EngineDevice::default()),
            DeviceChoice::Cuda(ordinal) => Ok(EngineDevice { gpu: Some(CudaDevice::open(ordinal)?), refusal: None }),
            DeviceChoice::Auto => Ok(match CudaDevice::open(0) {
                Ok(gpu) => EngineDevice { gpu: Some(gpu), refusal: None },
                Err(refusal) => EngineDevice { gpu: None, refusal: Some(refusal) },
            }),
        }
    }

    /// The accelerator's name, if this is one.
    pub fn accelerator(&self) -> Option<&str> {
        self.gpu.as_ref().map(CudaDevice::name)
    }

    /// The accelerator's library of matrix products, and what it has chosen for those made so far; none on the processor.
    pub fn library_products(&self) -> Option<LibraryProducts> {
        self.gpu.as_ref().and_then(CudaDevice::products)
    }

    /// [`Engine::label`] of the engine of that kind.
    pub fn label(&self, kind: EngineKind) -> String {
        match (kind, &self.gpu) {
            (EngineKind::Kernels, Some(_)) => CUDA_LABEL.to_string(),
            #[cfg(feature = "dfdx-cuda")]
            (EngineKind::Dfdx, Some(_)) => reference::CUDA_LABEL.to_string(),
            _ => kind.to_string(),
        }
    }

    /// An engine on this device; scorers compute in that precision.
    pub fn engine(&self, kind: EngineKind, precision: Precision) -> Result<Box<dyn Engine>, EngineError> {
        let refused = |message: &str| Err(EngineError::Backend { engine: kind, message: message.into() });
        match (kind, &self.gpu) {
            (EngineKind::Kernels, None) => Ok(Box::new(KernelsEngine::scoring_in(precision))),
            (EngineKind::Kernels, Some(gpu)) => Ok(gpu.engine(precision)),
            (EngineKind::Dfdx, _) if precision != Precision::F32 => {
                refused("computes in single precision only; --precision bf16 needs --engine kernels")
            }
            (EngineKind::Dfdx, None) => Ok(Box::new(DfdxEngine)),
            #[cfg(feature = "dfdx-cuda")]
            (EngineKind::Dfdx, Some(gpu)) => Ok(Box::new(reference::DfdxCudaEngine::new(gpu.ordinal()))),
            #[cfg(not(feature = "dfdx-cuda"))]
            (EngineKind::Dfdx, Some(_)) => refused(
                "runs on the processor only: this binary was built without the feature dfdx-cuda; a CUDA device needs \
                 --engine kernels",
            ),
        }
    }

    /// The kernels engine on an accelerator with other groups of windows than its own, for measurements; `None` on the
    /// processor, which has no groups.
    pub fn engine_in_groups(&self, precision: Precision, tokens: usize) -> Option<Box<dyn Engine>> {
        self.gpu.as_ref().map(|gpu| gpu.engine_in_groups(precision, tokens))
    }

    /// An engine to train with, in that precision: one whose gradients have the same bits every time.
    pub fn training_engine(&self, kind: EngineKind, precision: Precision) -> Result<Box<dyn Engine>, EngineError> {
        let refused = |message: &str| Err(EngineError::Backend { engine: kind, message: message.into() });
        match (kind, &self.gpu) {
            (EngineKind::Dfdx, Some(_)) => refused(
                "trains on the processor only: on a CUDA device it adds up gradients in another order every time; train \
                 with --engine kernels",
            ),
            (_, None) if precision != Precision::F32 => {
                refused("trains in single precision on the processor; --precision bf16 needs --device cuda")
            }
            _ => self.engine(kind, precision),
        }
    }

    /// Where dfdx checks what was scored here: on this device, if this binary can, else on the processor.
    pub fn for_cross_check(&self) -> EngineDevice {
        if cfg!(feature = "dfdx-cuda") { self.clone() } else { EngineDevice::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names() {
        for (text, choice) in [
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda(0)),
            ("cuda:3", DeviceChoice::Cuda(3)),
            ("auto", DeviceChoice::Auto),
        ] {
            assert_eq!(text.parse(), Ok(choice));
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "cuda0"] {
            assert_eq!(text.parse::<DeviceChoice>(), Err(UnknownDevice), "{text}");
        }
    }

    #[test]
    fn without_a_device_auto_is_the_processor_and_says_why() {
        let auto = EngineDevice::open(DeviceChoice::Auto).unwrap();
        match EngineDevice::open(DeviceChoice::Cuda(0)) {
            Ok(device) => assert_eq!(device.accelerator(), auto.accelerator()),
            Err(reason) => {
                assert_eq!(auto.to_string(), format!("cpu ({reason})"));
                assert!(!reason.to_string().contains('\n'));
            }
        }
        assert!(EngineDevice::open(DeviceChoice::Cuda(usize::MAX)).is_err());
        assert_eq!(EngineDevice::open(DeviceChoice::Cpu).unwrap().to_string(), "cpu");
    }

    #[test]
    fn the_processor_has_every_engine_and_cross_checks_what_it_scored() {
        let device = EngineDevice::default();
        for kind in [EngineKind::Kernels, EngineKind::Dfdx] {
            for engine in [device.engine(kind, Precision::F32), device.training_engine(kind, Precision::F32)] {
                assert_eq!(engine.unwrap().label(), device.label(kind));
            }
        }
        let refusal = device.engine(EngineKind::Dfdx, Precision::Bf16).err().unwrap().to_string();
        assert!(refusal.contains("--precision bf16 needs --engine kernels"), "{refusal}");
        assert!(device.for_cross_check().accelerator().is_none());
        let refusal = device.training_engine(EngineKind::Kernels, Precision::Bf16).err().unwrap().to_string();
        assert!(refusal.contains("--precision bf16 needs --device cuda"), "{refusal}");
    }

    mod on_a_gpu {
        use super::*;

        #[test]
        #[ignore = "needs a CUDA device"]
        fn engines_there_are_those_of_the_build() {
            let gpu = CudaDevice::of_the_tests();
            let device = EngineDevice { gpu: Some(gpu), refusal: None };
            for engine in [
                device.engine(EngineKind::Kernels, Precision::F32),
                device.training_engine(EngineKind::Kernels, Precision::F32),
            ] {
                assert_eq!(engine.unwrap().label(), "kernels on cuda");
            }
            let refusal = device.training_engine(EngineKind::Dfdx, Precision::F32).err().unwrap().to_string();
            assert!(refusal.contains("trains on the processor only"), "{refusal}");
            let dfdx = device.engine(EngineKind::Dfdx, Precision::F32);
            if cfg!(feature = "dfdx-cuda") {
                assert_eq!(dfdx.unwrap().label(), "dfdx on cuda");
                assert!(device.for_cross_check().accelerator().is_some());
            } else {
                let refusal = dfdx.err().unwrap().to_string();
                assert!(refusal.contains("built without the feature dfdx-cuda"), "{refusal}");
                assert_eq!(device.label(EngineKind::Dfdx), "dfdx");
                assert!(
                    device.for_cross_check().accelerator().is_none(),
                    "what this device cannot the processor checks"
                );
            }
        }
    }
}
