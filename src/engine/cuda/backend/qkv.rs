//! Queries, keys and values: in bfloat16 one product with their stacked matrices.
//!
//! Matrices of whole alignments that follow one another in memory ([`stacked`], or the trainer's) are one matrix. What the product writes is
//! queries, keys and values side by side in each row, and so are their gradients: [`Buffer::side_by_side`]. Everything else
//! is three products.

use std::sync::Arc;

use super::attention_bf16::takes;
use super::{CudaKernels, linear};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::gemm::{ALIGNMENT, GemmDesc};
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::{Kernels, Linear, Qkv, WriteMode, qkv_after, qkv_grad_after};

/// Whether matrices of so many values can follow one another: each is a factor by itself, too.
pub(in crate::engine::cuda) fn can_be_stacked(dtype: DType, lens: [usize; 3]) -> bool {
    dtype == DType::Bf16 && lens.iter().all(|len| len.is_multiple_of(ALIGNMENT))
}

/// The matrices in one buffer, where their product can be one.
pub(super) fn stacked<D: Device>(k: &CudaKernels<D>, matrices: [Buffer<D>; 3]) -> [Buffer<D>; 3] {
    let lens = matrices.each_ref().map(Buffer::len);
    if !can_be_stacked(k.dtype(), lens) {
        return matrices;
    }
    let all = Arc::new(k.unset(lens.iter().sum()));
    let mut start = 0;
    let parts = lens.map(|len| {
        start += len;
        Buffer::part(&all, start - len..start)
    });
    let [Ok(queries), Ok(keys), Ok(values)] = parts else { return matrices };
    let stacked = [queries, keys, values];
    for (matrix, part) in matrices.iter().zip(&stacked) {
        k.shared.copy(matrix.view(), part.view());
    }
    stacked
}

/// The three as one linear layer.
fn one(dims: Qkv) -> Linear {
    Linear { tokens: dims.tokens, inputs: dims.inputs, outputs: dims.outputs().iter().sum() }
}

pub(super) fn qkv<D: Device>(k: &CudaKernels<D>, dims: Qkv, x: &Buffer<D>, w: [&Buffer<D>; 3]) -> [Buffer<D>; 3] {
    let matrix = Buffer::joined(w).filter(|_| k.dtype() == DType::Bf16 && takes(dims.head));
    let Some(matrix) = matrix else { return qkv_after(k, dims, x, w) };
    let s = one(dims);
    let all = Arc::new(k.unset(s.tokens * s.outputs));
    k.gemm(&linear::forward(s, 1.0, WriteMode::Overwrite, [x.view(), matrix, all.view()]));
    match k.shared.keep(Buffer::side_by_side(&all, dims.outputs())) {
        Some(parts) => parts,
        None => qkv_after(k, dims, x, w),
    }
}

pub(super) fn qkv_grad<D: Device>(
    k: &CudaKernels<D>,
    dims: Qkv,
    grads: [&Buffer<D>; 3],
    (x, w): (&Buffer<D>, [&Buffer<D>; 3]),
    grad_w: [&mut Buffer<D>; 3],
    (mode, grad_x): (WriteMode, &mut Buffer<D>),
) {
    let (Some(grad), Some(matrix)) = (Buffer::beside(grads), Buffer::joined(w)) else {
        return qkv_grad_after(k, dims, grads, (x, w), grad_w, (mode, grad_x));
    };
    let s = one(dims);
    let all = k.buffer_of(DType::F32, s.outputs * s.inputs);
    let product = linear::by_weights(s, [grad.view(), x.view(), all.view()]);
    k.gemm(&GemmDesc { beta: 0.0, ..product });
    let mut start = 0;
    for grad_w in grad_w {
        let end = start + grad_w.len();
        if let Some(part) = k.slice(&all, start..end) {
            k.add_views(part, grad_w.view());
        }
        start = end;
    }
    k.gemm(&linear::by_inputs(s, mode, [grad.view(), matrix, grad_x.view()]));
}
