//! The network's operations as kernel launches.

mod attention;
pub(super) mod attention_bf16;
mod attention_wgmma;
mod elementwise;
mod embedding;
mod gated_skip;
pub(in crate::engine::cuda) mod gemm_bf16;
mod gemm_f32;
mod head_gate;
mod ids;
mod launch;
mod linear;
mod loss;
mod norm;
mod operations;
mod own_value;
pub(in crate::engine::cuda) mod qkv;
mod residual;
mod scalars;

use std::sync::Arc;

pub(super) use self::attention::WIDEST_HEAD;
pub(super) use self::ids::Ids;
pub(super) use self::launch::{Operand, in_view, len32, len64, optional, values};
use super::device::{DType, Device, Instruction};
use super::error::DeviceError;
use super::memory::{Buffer, Shared};
use crate::engine::Precision;

/// A device running the kernels of `src/engine/cuda/kernels`.
pub(super) struct CudaKernels<D: Device> {
    pub(super) shared: Arc<Shared<D>>,
    /// How activations and matrices are stored.
    precision: Precision,
    /// Whether the forward pass keeps what the backward pass could make again.
    keeps: bool,
    /// What own products and attention are made of.
    pub(super) instruction: Instruction,
}

impl<D: Device> Clone for CudaKernels<D> {
    fn clone(&self) -> Self {
        CudaKernels { shared: Arc::clone(&self.shared), ..*self }
    }
}

/// Cosines and sines on the device.
pub(super) struct Tables<D: Device> {
    cos: Buffer<D>,
    sin: Buffer<D>,
    /// Angles of a position: half of a head's rotated coordinates.
    half: usize,
}

impl<D: Device> CudaKernels<D> {
    pub fn new(device: Arc<D>, precision: Precision) -> Self {
        // A GPU has more memory than a group's activations need, and waits for it.
        let instruction = device.instruction();
        CudaKernels { shared: Arc::new(Shared::new(device)), precision, keeps: true, instruction }
    }

    /// The same with less memory, for what that changes.
    #[cfg(test)]
    pub fn making_again(self) -> Self {
        CudaKernels { keeps: false, ..self }
    }

    /// The same by kernels that are made of that instruction, which the device must have.
    #[cfg(test)]
    pub fn made_of(self, instruction: Instruction) -> Self {
        CudaKernels { instruction, ..self }
    }

    /// How activations and matrices are stored.
    pub fn dtype(&self) -> DType {
        match self.precision {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::Bf16,
        }
    }

    /// Whether everything asked of the device so far has been done.
    pub fn check(&self) -> Result<(), DeviceError> {
        self.shared.check()
    }

    /// `len` values of that kind, to be overwritten.
    pub(super) fn buffer_of(&self, dtype: DType, len: usize) -> Buffer<D> {
        Buffer::unset_of(dtype, &self.shared, len)
    }

    fn like(&self, x: &Buffer<D>) -> Buffer<D> {
        self.buffer_of(x.dtype(), x.len())
    }

    /// The buffer, all zero.
    pub(super) fn cleared(&self, buffer: Buffer<D>) -> Buffer<D> {
        self.shared.clear(buffer.view());
        buffer
    }

    /// A buffer's values, on the host; the buffer stays.
    pub(super) fn read(&self, buffer: &Buffer<D>) -> Vec<f32> {
        let words = self.shared.read(buffer.view());
        match buffer.dtype() {
            DType::F32 => words,
            DType::Bf16 => {
                let halves = words.iter().flat_map(|word: &f32| [word.to_bits() << 16, word.to_bits() & 0xffff_0000]);
                halves.map(f32::from_bits).take(buffer.len()).collect()
            }
        }
    }
}
