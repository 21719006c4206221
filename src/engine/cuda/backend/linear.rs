//! Linear layers: which matrices are multiplied, and how they lie.

use super::CudaKernels;
use crate::engine::cuda::device::{Batch, Device, Product};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::{Linear, Store};

/// `y (+)= factor * x W^T`, of device addresses.
pub(super) fn forward(s: Linear, factor: f32, store: Store, [x, w, y]: [u64; 3]) -> Product {
    Product {
        rows: s.tokens,
        columns: s.outputs,
        inner: s.inputs,
        a_transposed: false,
        b_transposed: true,
        factor,
        store,
        a: x,
        b: w,
        out: y,
        batch: Batch::ONE,
    }
}

/// `grad_x (+)= grad_y W`.
pub(super) fn by_inputs(s: Linear, store: Store, [grad_y, w, grad_x]: [u64; 3]) -> Product {
    Product {
        rows: s.tokens,
        columns: s.inputs,
        inner: s.outputs,
        a_transposed: false,
        b_transposed: false,
        factor: 1.0,
        store,
        a: grad_y,
        b: w,
        out: grad_x,
        batch: Batch::ONE,
    }
}

/// `grad_w += grad_y^T x`.
pub(super) fn by_weights(s: Linear, [grad_y, x, grad_w]: [u64; 3]) -> Product {
    Product {
        rows: s.outputs,
        columns: s.inputs,
        inner: s.tokens,
        a_transposed: true,
        b_transposed: false,
        factor: 1.0,
        store: Store::Add,
        a: grad_y,
        b: x,
        out: grad_w,
        batch: Batch::ONE,
    }
}

pub(super) fn linear<D: Device>(
    k: &CudaKernels<D>,
    s: Linear,
    x: &Buffer<D>,
    w: &Buffer<D>,
    store: Store,
    y: &Buffer<D>,
) {
    k.product(forward(s, 1.0, store, [x, w, y].map(Buffer::address)));
    k.round(y);
}
