//! The residual stream between the parts of a block, one pass each.

use super::CudaKernels;
use super::launch::{at, len32, offset};
use crate::engine::cuda::device::{Argument, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::{FusedMixInputs, FusedMixOutputs, Kernels, PendingResidual, Skip};

const NOTHING: Argument = Argument::Address(0);

/// A product and its scale, as kernels take them.
fn addend_of<D: Device>(residual: Option<PendingResidual<'_, CudaKernels<D>>>) -> [Argument; 2] {
    residual.map_or([NOTHING; 2], |PendingResidual { product, scale, .. }| [at(product), at(scale)])
}

pub(super) fn fused_mix_rms_norm<D: Device>(
    k: &CudaKernels<D>,
    x: Buffer<D>,
    inputs: FusedMixInputs<'_, CudaKernels<D>>,
) -> FusedMixOutputs<Buffer<D>> {
    let input = inputs.keep_input.then(|| k.like(&x));
    let residual = addend_of(inputs.residual);
    let skip = inputs.skip.map_or([NOTHING; 2], |Skip { output, weights, row }| {
        [at(output), Argument::Address(offset(weights, row.range().start))]
    });
    let kept = input.as_ref().map_or(NOTHING, at);
    let [mixed, normed] = run(k, &x, [residual, skip], [inputs.x0, inputs.mix], kept, inputs.width);
    match input {
        Some(input) => FusedMixOutputs { input, before: Some(x), mixed, normed },
        None => FusedMixOutputs { input: x, before: None, mixed, normed },
    }
}

pub(super) fn mix_rms_norm<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    x0: &Buffer<D>,
    mix: &Buffer<D>,
    width: usize,
) -> [Buffer<D>; 2] {
    run(k, x, [[NOTHING; 2]; 2], [x0, mix], NOTHING, width)
}

fn run<D: Device>(
    k: &CudaKernels<D>,
    x: &Buffer<D>,
    added: [[Argument; 2]; 2],
    [x0, mix]: [&Buffer<D>; 2],
    kept: Argument,
    width: usize,
) -> [Buffer<D>; 2] {
    let [mixed, normed] = [k.like(x), k.like(x)];
    let rest = [at(x0), at(mix), kept, at(&mixed), at(&normed), len32(width)];
    let arguments = [&[at(x)][..], added.as_flattened(), &rest].concat();
    k.rows(x.dtype().select(["fused_mix_rms_norm", "fused_mix_rms_norm_bf16"]), x.len() / width, &arguments);
    [mixed, normed]
}

pub(super) fn add_residual_rms_norm<D: Device>(
    k: &CudaKernels<D>,
    residual: Option<PendingResidual<'_, CudaKernels<D>>>,
    width: usize,
    x: &Buffer<D>,
) -> Buffer<D> {
    if residual.is_none() {
        return k.rms_norm(x, width);
    }
    let normed = k.like(x);
    let [product, scale] = addend_of(residual);
    let arguments = [at(x), product, scale, at(&normed), len32(width)];
    k.rows(x.dtype().select(["add_residual_rms_norm", "add_residual_rms_norm_bf16"]), x.len() / width, &arguments);
    normed
}
