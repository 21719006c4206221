//! The residual stream between the parts of a block, one pass each.

use super::CudaKernels;
use super::launch::{Operand, SPAN, WARP, in_view, len32, optional, values};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::{
    FusedMixInputs, FusedMixOutputs, Kernels, Mix, MixGrads, Norm, PendingResidual, Skip, mix_rms_norm_grad_after,
    mixed_after,
};

const NOTHING: [Operand<'static>; 2] = [Operand::Null; 2];

/// A product of n values and its scale, as kernels take them.
fn addend_of<'a, D: Device>(
    residual: Option<PendingResidual<'a, CudaKernels<D>>>,
    dtype: DType,
    n: usize,
) -> [Operand<'a>; 2] {
    residual.map_or(NOTHING, |PendingResidual { product, scale, width }| {
        [values(product, dtype, n), values(scale, DType::F32, width)]
    })
}

pub(super) fn fused_mix_rms_norm<D: Device>(
    k: &CudaKernels<D>,
    x: Buffer<D>,
    inputs: FusedMixInputs<'_, CudaKernels<D>>,
) -> FusedMixOutputs<Buffer<D>> {
    let Some(mix) = inputs.mix else { return mixed_after(k, x, inputs) };
    let (dtype, norm) = (x.dtype(), inputs.norm);
    let width = norm.width;
    let n = x.len() / width * width;
    let input = inputs.keep_input.then(|| k.like(&x));
    if let Some(residual) = &inputs.residual {
        k.check_width("fused_mix_rms_norm", residual.width, width);
    }
    let residual = addend_of(inputs.residual, dtype, n);
    let skip = inputs.skip.map_or(NOTHING, |Skip { output, weights, row }| {
        k.check_width("fused_mix_rms_norm", row.width, width);
        let weights = k.slice(weights, row.range());
        [values(output, dtype, n), weights.map_or(Operand::Null, |weights| in_view(weights, DType::F32, width))]
    });
    let kept = input.as_ref().map(Buffer::view);
    let [mixed, normed] = run(k, &x, [residual, skip], mix, optional(kept, dtype, n), norm);
    FusedMixOutputs { before: input.is_some().then_some(x), input, mixed, normed }
}

pub(super) fn mix_rms_norm<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    mix: Mix<'_, CudaKernels<D>>,
    norm: Norm,
) -> [Buffer<D>; 2] {
    run(k, x, [NOTHING; 2], mix, Operand::Null, norm)
}

fn run<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    added: [[Operand<'_>; 2]; 2],
    Mix { x0, weights }: Mix<'_, CudaKernels<D>>,
    kept: Operand<'_>,
    Norm { width, factor }: Norm,
) -> [Buffer<D>; 2] {
    let (dtype, rows) = (x.dtype(), x.len() / width);
    let n = rows * width;
    let [mixed, normed] = [k.like(x), k.like(x)];
    let rest = [
        values(x0, dtype, n),
        values(weights, DType::F32, 2 * width),
        kept,
        values(&mixed, dtype, n),
        values(&normed, dtype, n),
        len32(width),
        Operand::F32(factor),
    ];
    let operands = [&[values(x, dtype, n)][..], added.as_flattened(), &rest].concat();
    let kernel = dtype.select(["fused_mix_rms_norm", "fused_mix_rms_norm_bf16"]);
    // SAFETY: the kernel reads whole rows of what is not null and writes as many, with weights for each channel.
    unsafe { k.rows(kernel, rows, &operands) };
    [mixed, normed]
}

pub(super) fn add_residual_rms_norm<D: Device>(
    k: &CudaKernels<D>,
    residual: Option<PendingResidual<'_, CudaKernels<D>>>,
    norm: Norm,
    x: &Buffer<D>,
) -> Buffer<D> {
    let Some(residual) = residual else { return k.rms_norm(x, norm) };
    let Norm { width, factor } = norm;
    k.check_width("add_residual_rms_norm", residual.width, width);
    let (normed, dtype, rows) = (k.like(x), x.dtype(), x.len() / width);
    let n = rows * width;
    let [product, scale] = addend_of(Some(residual), dtype, n);
    let operands = [values(x, dtype, n), product, scale, values(&normed, dtype, n), len32(width), Operand::F32(factor)];
    let kernel = dtype.select(["add_residual_rms_norm", "add_residual_rms_norm_bf16"]);
    // SAFETY: the kernel reads and writes whole rows, with a scale for each channel.
    unsafe { k.rows(kernel, rows, &operands) };
    normed
}

/// Spans of a lane, and warps of a block (`mix_norm_grad.cu`).
const MIX_SPANS: usize = 2;
const MIX_WARPS: usize = 4;

pub(super) fn mix_rms_norm_grad<D: Device>(
    k: &CudaKernels<D>,
    (x, mixed): (&Buffer<D>, Option<&Buffer<D>>),
    mix: Mix<'_, CudaKernels<D>>,
    (norm, grad_normed): (Norm, &Buffer<D>),
    grads: MixGrads<'_, Buffer<D>>,
) {
    let (dtype, Norm { width, factor }) = (x.dtype(), norm);
    if !width.is_multiple_of(SPAN) || width > MIX_SPANS * WARP * SPAN {
        return mix_rms_norm_grad_after(k, (x, mixed), mix, (norm, grad_normed), grads);
    }
    let rows = x.len() / width;
    let n = rows * width;
    let before = [
        values(x, dtype, n),
        values(mix.x0, dtype, n),
        values(mix.weights, DType::F32, 2 * width),
        values(grad_normed, dtype, n),
        values(&*grads.mixed, dtype, n),
        values(&*grads.x0, dtype, n),
    ];
    let kernel = dtype.select(["mix_rms_norm_grad", "mix_rms_norm_grad_bf16"]);
    let (blocks, after) = ((1, MIX_WARPS * WARP), [len32(width), Operand::F32(factor)]);
    // SAFETY: the kernel takes rows of this width (checked above), reads and writes whole rows, and makes two sums for each
    // channel.
    unsafe { k.columns_by(kernel, rows, blocks, 2 * width, &before, &after, grads.weights.view()) };
}
