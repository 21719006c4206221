//! Linear layers: which matrices are multiplied, and how they lie.

use super::CudaKernels;
use super::launch::offset;
use crate::engine::cuda::device::{Batch, Device, Element, Plus, Product};
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::{Linear, Store};

/// A matrix on the device: where it is and how it is stored.
#[derive(Clone, Copy)]
pub(super) struct Matrix {
    pub address: u64,
    pub element: Element,
}

impl Matrix {
    pub fn of<D: Device>(buffer: &Buffer<D>) -> Self {
        Matrix { address: buffer.address(), element: buffer.element() }
    }

    /// The part of a buffer from one of its values on.
    pub fn from<D: Device>(buffer: &Buffer<D>, values: usize) -> Self {
        Matrix { address: offset(buffer, values), element: buffer.element() }
    }
}

fn plus(store: Store, out: Matrix) -> Plus {
    let factor = match store {
        Store::Replace => 0.0,
        Store::Add => 1.0,
    };
    Plus { factor, address: out.address }
}

/// `y (+)= factor * x W^T`.
pub(super) fn forward(s: Linear, factor: f32, store: Store, [x, w, y]: [Matrix; 3]) -> Product {
    Product {
        rows: s.tokens,
        columns: s.outputs,
        inner: s.inputs,
        a_transposed: false,
        b_transposed: true,
        elements: [x.element, y.element],
        factor,
        plus: plus(store, y),
        a: x.address,
        b: w.address,
        out: y.address,
        batch: Batch::ONE,
    }
}

/// `grad_x (+)= grad_y W`.
pub(super) fn by_inputs(s: Linear, store: Store, [grad_y, w, grad_x]: [Matrix; 3]) -> Product {
    Product {
        rows: s.tokens,
        columns: s.inputs,
        inner: s.outputs,
        a_transposed: false,
        b_transposed: false,
        elements: [grad_y.element, grad_x.element],
        factor: 1.0,
        plus: plus(store, grad_x),
        a: grad_y.address,
        b: w.address,
        out: grad_x.address,
        batch: Batch::ONE,
    }
}

/// `grad_w += grad_y^T x`.
pub(super) fn by_weights(s: Linear, [grad_y, x, grad_w]: [Matrix; 3]) -> Product {
    Product {
        rows: s.outputs,
        columns: s.inputs,
        inner: s.tokens,
        a_transposed: true,
        b_transposed: false,
        elements: [grad_y.element, grad_w.element],
        factor: 1.0,
        plus: plus(Store::Add, grad_w),
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
    store: Store,
    y: &Buffer<D>,
) {
    k.product(forward(s, 1.0, store, [x, w, y].map(Matrix::of)));
}
