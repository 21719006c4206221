//! Linear layers: which matrices are multiplied, and how they are stored.

use super::CudaKernels;
use super::gemm_bf16::GemmBf16;
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::gemm::{Batch, GemmDesc};
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::view::View;
use crate::engine::network::{Linear, WriteMode};

fn beta(mode: WriteMode) -> f32 {
    match mode {
        WriteMode::Overwrite => 0.0,
        WriteMode::Accumulate => 1.0,
    }
}

/// `y (+)= alpha * x W^T`.
pub(super) fn forward<'a>(s: Linear, alpha: f32, mode: WriteMode, [x, w, y]: [View<'a>; 3]) -> GemmDesc<'a> {
    GemmDesc {
        m: s.tokens,
        n: s.outputs,
        k: s.inputs,
        a_transposed: false,
        b_transposed: true,
        alpha,
        beta: beta(mode),
        a: x,
        b: w,
        c: y,
        out: y,
        batch: Batch::ONE,
    }
}

/// `grad_x (+)= grad_y W`.
pub(super) fn by_inputs<'a>(s: Linear, mode: WriteMode, [grad_y, w, grad_x]: [View<'a>; 3]) -> GemmDesc<'a> {
    GemmDesc {
        m: s.tokens,
        n: s.inputs,
        k: s.outputs,
        a_transposed: false,
        b_transposed: false,
        alpha: 1.0,
        beta: beta(mode),
        a: grad_y,
        b: w,
        c: grad_x,
        out: grad_x,
        batch: Batch::ONE,
    }
}

/// `grad_w += grad_y^T x`.
pub(super) fn by_weights<'a>(s: Linear, [grad_y, x, grad_w]: [View<'a>; 3]) -> GemmDesc<'a> {
    GemmDesc {
        m: s.outputs,
        n: s.inputs,
        k: s.tokens,
        a_transposed: true,
        b_transposed: false,
        alpha: 1.0,
        beta: beta(WriteMode::Accumulate),
        a: grad_y,
        b: x,
        c: grad_w,
        out: grad_w,
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
    k.gemm(&forward(s, 1.0, mode, [x, w, y].map(Buffer::view)));
}

impl<D: Device> CudaKernels<D> {
    /// A product by the library, or where it has no algorithm by this crate's kernels.
    pub(in crate::engine::cuda) fn gemm(&self, gemm: &GemmDesc<'_>) {
        if gemm.is_empty() {
            return;
        }
        let made = self.shared.run(|device| {
            gemm.check(self.shared.id())?;
            // SAFETY: the operands fit the product and the result is apart from the factors (checked above); freed memory is
            // used again only by what is launched later.
            unsafe { device.gemm(gemm) }
        });
        if made == Some(false) {
            self.own_gemm(gemm);
        }
    }

    /// A product by this crate's kernels.
    fn own_gemm(&self, gemm: &GemmDesc<'_>) {
        match gemm.dtypes() {
            // Sums over tokens are long and may be split.
            [DType::Bf16, _] if gemm.a_transposed => self.split_k_gemm_bf16(&GemmBf16::from(gemm)),
            [DType::Bf16, _] => self.gemm_bf16(&GemmBf16::from(gemm)),
            [DType::F32, _] => self.gemm_f32(gemm),
        }
    }
}
