//! Normalized rows and heads.

use super::CudaKernels;
use super::launch::{SPAN, WARP, at, len32};
use crate::engine::cuda::device::{Argument, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::{QkNormRope, WriteMode};

pub(super) fn rms_norm<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, width: usize) -> Buffer<D> {
    let y = k.like(x);
    k.rows(x.dtype().select(["rms_norm", "rms_norm_bf16"]), x.len() / width, &[at(x), at(&y), len32(width)]);
    y
}

pub(super) fn rms_norm_grad<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    grad_y: &Buffer<D>,
    width: usize,
    mode: WriteMode,
    grad_x: &Buffer<D>,
) {
    let accumulate = Argument::U32(u32::from(mode == WriteMode::Accumulate));
    let arguments = [at(x), at(grad_y), at(grad_x), len32(width), accumulate];
    k.rows(x.dtype().select(["rms_norm_grad", "rms_norm_grad_bf16"]), x.len() / width, &arguments);
}

/// The smear of normalized rows.
pub(super) fn norm_smear<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    gate: &Buffer<D>,
    width: usize,
    seq_len: usize,
) -> Buffer<D> {
    let y = k.like(x);
    let arguments = [at(x), at(gate), at(&y), len32(width), len32(seq_len)];
    k.rows(x.dtype().select(["norm_smear", "norm_smear_bf16"]), x.len() / width, &arguments);
    y
}

/// Lanes that share a head (`lanes_of` in `heads.cu`).
fn lanes_of(width: usize) -> usize {
    let is_shared = width.is_power_of_two() && (2 * SPAN..=WARP * SPAN).contains(&width);
    if is_shared { width / SPAN } else { WARP }
}

/// Tables, gain and dims, as both kernels take them.
fn shape_of<D: Device>(shape: QkNormRope<'_, CudaKernels<D>>) -> [Argument; 7] {
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

pub(super) fn qk_norm_rope<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    shape: QkNormRope<'_, CudaKernels<D>>,
) -> Buffer<D> {
    let y = k.like(x);
    let kernel = x.dtype().select(["qk_norm_rope", "qk_norm_rope_bf16"]);
    let arguments = [&[at(x), at(&y)], &shape_of(shape)[..]].concat();
    k.lanes(kernel, x.len() / shape.width, lanes_of(shape.width), &arguments);
    y
}

pub(super) fn qk_norm_rope_grad<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    shape: QkNormRope<'_, CudaKernels<D>>,
    grad_y: &Buffer<D>,
    grad_x: &Buffer<D>,
    grad_gain: Option<&Buffer<D>>,
) {
    let rows = x.len() / shape.width;
    let terms = grad_gain.is_some().then(|| Buffer::unset(&k.shared, rows));
    let written = [at(x), at(grad_y), at(grad_x), Argument::Address(terms.as_ref().map_or(0, Buffer::address))];
    let kernel = x.dtype().select(["qk_norm_rope_grad", "qk_norm_rope_grad_bf16"]);
    k.lanes(kernel, rows, lanes_of(shape.width), &[&written[..], &shape_of(shape)].concat());
    if let (Some(terms), Some(grad_gain)) = (terms, grad_gain) {
        let (heads, out) = (shape.heads, grad_gain.address());
        k.columns("column_partials", rows / heads, heads, heads, &[at(&terms)], &[len32(heads)], out);
    }
}
