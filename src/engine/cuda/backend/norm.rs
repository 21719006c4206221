//! Normalised rows and heads.

use super::CudaKernels;
use super::launch::{at, len32};
use crate::engine::cuda::device::{Argument, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::Prepare;

pub(super) fn rms_norm<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, width: usize) -> Buffer<D> {
    let y = k.like(x);
    k.rows("rms_norm", x.len() / width, &[at(x), at(&y), len32(width)]);
    k.rounded(y)
}

pub(super) fn rms_norm_grad<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    grad_y: &Buffer<D>,
    width: usize,
    grad_x: &Buffer<D>,
) {
    k.rows("rms_norm_grad", x.len() / width, &[at(x), at(grad_y), at(grad_x), len32(width)]);
}

/// Tables, gain and sides, as both kernels take them.
fn shape_of<D: Device>(shape: Prepare<'_, CudaKernels<D>>) -> [Argument; 7] {
    [
        at(&shape.tables.cos),
        at(&shape.tables.sin),
        Argument::Address(shape.gain.map_or(0, Buffer::address)),
        len32(shape.heads),
        len32(shape.width),
        len32(shape.tokens_per_row),
        len32(shape.first),
    ]
}

pub(super) fn prepare<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, shape: Prepare<'_, CudaKernels<D>>) -> Buffer<D> {
    let y = k.like(x);
    k.rows("prepare", x.len() / shape.width, &[&[at(x), at(&y)], &shape_of(shape)[..]].concat());
    k.rounded(y)
}

pub(super) fn prepare_grad<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    shape: Prepare<'_, CudaKernels<D>>,
    grad_y: &Buffer<D>,
    grad_x: &Buffer<D>,
    grad_gain: Option<&Buffer<D>>,
) {
    let rows = x.len() / shape.width;
    let terms = grad_gain.is_some().then(|| Buffer::unset(&k.shared, rows));
    let written = [at(x), at(grad_y), at(grad_x), Argument::Address(terms.as_ref().map_or(0, Buffer::address))];
    k.rows("prepare_grad", rows, &[&written[..], &shape_of(shape)].concat());
    if let (Some(terms), Some(grad_gain)) = (terms, grad_gain) {
        let (heads, out) = (shape.heads, grad_gain.address());
        k.columns("column_partials", rows / heads, heads, heads, &[at(&terms)], &[len32(heads)], out);
    }
}
