//! What enters the linear layers: what Hessians are summed over.

use std::sync::Mutex;

use super::CpuKernels;
use super::buffer::Buffer;
use crate::engine::network::{Loaded, Observer};
use crate::engine::{EngineError, Precision, check};
use crate::model::{LinearInput, ModelConfig, Params};

/// A network that shows what enters its linear layers, in single precision.
pub struct LayerInputs {
    network: Loaded<CpuKernels>,
    wanted: Vec<LinearInput>,
}

impl LayerInputs {
    /// Prepares weights; only inputs that are `wanted` are kept.
    pub fn new(config: &ModelConfig, weights: &Params, wanted: Vec<LinearInput>) -> Result<Self, EngineError> {
        check::model(config, weights)?;
        let kernels = CpuKernels { precision: Precision::F32 };
        Ok(LayerInputs { network: Loaded::new(kernels, Precision::F32, config, weights)?, wanted })
    }

    /// What enters the layers when a row of tokens is run, `[tokens, channels]` each, in the order of the forward pass: a
    /// block that is run several times has several of each.
    ///
    /// The same bits for any number of threads: a row is run on the thread that asks for it.
    pub fn of(&self, inputs: &[u16]) -> Result<Vec<(LinearInput, Vec<f32>)>, EngineError> {
        let kept = Kept { wanted: &self.wanted, seen: Mutex::default() };
        self.network.observe(inputs, &kept)?;
        Ok(kept.seen.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

/// Copies what is wanted.
struct Kept<'a> {
    wanted: &'a [LinearInput],
    seen: Mutex<Vec<(LinearInput, Vec<f32>)>>,
}

impl Observer<Buffer> for Kept<'_> {
    fn see(&self, input: LinearInput, x: &Buffer) {
        if self.wanted.contains(&input) {
            let mut seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            seen.push((input, x.to_vec()));
        }
    }
}
