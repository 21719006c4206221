//! Linear layers: which matrices are multiplied, and how they lie.

use super::CudaKernels;
use super::launch::offset;
use crate::engine::cuda::device::{Batch, DType, Device, GemmDesc, Plus};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::{Linear, WriteMode};

/// A matrix on the device: where it is and how it is stored.
#[derive(Clone, Copy)]
pub(super) struct Matrix {
    pub address: u64,
    pub dtype: DType,
}

impl Matrix {
    pub fn of<D: Device>(buffer: &Buffer<D>) -> Self {
        Matrix { address: buffer.address(), dtype: buffer.dtype() }
    }

    /// The part of a buffer from one of its values on.
    pub fn from<D: Device>(buffer: &Buffer<D>, values: usize) -> Self {
        Matrix { address: offset(buffer, values), dtype: buffer.dtype() }
    }
}

fn plus(mode: WriteMode, out: Matrix) -> Plus {
    let factor = match mode {
        WriteMode::Overwrite => 0.0,
        WriteMode::Accumulate => 1.0,
    };
    Plus { factor, address: out.address }
}

/// `y (+)= factor * x W^T`.
pub(super) fn forward(s: Linear, factor: f32, mode: WriteMode, [x, w, y]: [Matrix; 3]) -> GemmDesc {
    GemmDesc {
        rows: s.tokens,
        columns: s.outputs,
        inner: s.inputs,
        a_transposed: false,
        b_transposed: true,
        dtypes: [x.dtype, y.dtype],
        factor,
        plus: plus(mode, y),
        a: x.address,
        b: w.address,
        out: y.address,
        batch: Batch::ONE,
    }
}

/// `grad_x (+)= grad_y W`.
pub(super) fn by_inputs(s: Linear, mode: WriteMode, [grad_y, w, grad_x]: [Matrix; 3]) -> GemmDesc {
    GemmDesc {
        rows: s.tokens,
        columns: s.inputs,
        inner: s.outputs,
        a_transposed: false,
        b_transposed: false,
        dtypes: [grad_y.dtype, grad_x.dtype],
        factor: 1.0,
        plus: plus(mode, grad_x),
        a: grad_y.address,
        b: w.address,
        out: grad_x.address,
        batch: Batch::ONE,
    }
}

/// `grad_w += grad_y^T x`.
pub(super) fn by_weights(s: Linear, [grad_y, x, grad_w]: [Matrix; 3]) -> GemmDesc {
    GemmDesc {
        rows: s.outputs,
        columns: s.inputs,
        inner: s.tokens,
        a_transposed: true,
        b_transposed: false,
        dtypes: [grad_y.dtype, grad_w.dtype],
        factor: 1.0,
        plus: plus(WriteMode::Accumulate, grad_w),
        a: grad_y.address,
        b: x.address,
        out: grad_w.address,
        batch: Batch::ONE,
    }
}

pub(super) fn linear<D: Device>(
    k: &CudaKernels<D>,
    s: Linear,
    x: &Buffer<D>,
    w: &Buffer<D>,
    mode: WriteMode,
    y: &Buffer<D>,
) {
    k.gemm(forward(s, 1.0, mode, [x, w, y].map(Matrix::of)));
}
