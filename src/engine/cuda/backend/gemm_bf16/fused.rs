//! Linear layers of the network with their epilogues.

use super::{Epilogue, GemmBf16};
use crate::engine::cuda::backend::CudaKernels;
use crate::engine::cuda::device::Device;
use crate::engine::cuda::gemm::Batch;
use crate::engine::cuda::view::View;
use crate::engine::network::Linear;

impl<D: Device> CudaKernels<D> {
    /// `y = (max(h, 0) + slope min(h, 0))^2` with `h = x W^T`, both rounded; `h` is written to `hidden`, if that is given.
    pub(in crate::engine::cuda) fn fused_squared(
        &self,
        dims: Linear,
        slope: f32,
        operands: [View<'_>; 3],
        hidden: Option<View<'_>>,
    ) {
        self.gemm_bf16(&forward(dims, operands, Epilogue::Squared { slope, hidden }));
    }

    /// `grad_hidden = 2 (max(hidden, 0) + slope^2 min(hidden, 0)) grad_y W`, the product rounded and the result again.
    ///
    /// The dimensions are those of the layer after the square: its inputs are the hidden values.
    pub(in crate::engine::cuda) fn fused_squared_grad(
        &self,
        dims: Linear,
        slope: f32,
        [grad_y, w, hidden, grad_hidden]: [View<'_>; 4],
    ) {
        self.gemm_bf16(&GemmBf16 {
            m: dims.tokens,
            n: dims.inputs,
            k: dims.outputs,
            a_transposed: false,
            b_transposed: false,
            alpha: 1.0,
            epilogue: Epilogue::SquaredGrad { slope, hidden },
            a: grad_y,
            b: w,
            out: grad_hidden,
            batch: Batch::ONE,
        });
    }

    /// `y += scale (x W^T)` by channel, the product rounded and the sum again.
    pub(in crate::engine::cuda) fn fused_residual_add(&self, dims: Linear, [x, w, scale, y]: [View<'_>; 4]) {
        self.gemm_bf16(&forward(dims, [x, w, y], Epilogue::ResidualAdd { scale }));
    }
}

/// `x W^T`.
fn forward<'a>(dims: Linear, [x, w, y]: [View<'a>; 3], epilogue: Epilogue<'a>) -> GemmBf16<'a> {
    GemmBf16 {
        m: dims.tokens,
        n: dims.outputs,
        k: dims.inputs,
        a_transposed: false,
        b_transposed: true,
        alpha: 1.0,
        epilogue,
        a: x,
        b: w,
        out: y,
        batch: Batch::ONE,
    }
}
