//! The residual stream around a block's branches, a pass each.

use super::CudaKernels;
use super::launch::{at, len32, offset};
use crate::engine::cuda::device::{Argument, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::{Branch, Entered, Entering, Kernels, Skip};

const NOTHING: Argument = Argument::Address(0);

/// A product and its scale, as kernels take them.
fn branch_of<D: Device>(branch: Option<Branch<'_, CudaKernels<D>>>) -> [Argument; 2] {
    branch.map_or([NOTHING; 2], |Branch { product, scale, .. }| [at(product), at(scale)])
}

pub(super) fn enter<D: Device>(
    k: &CudaKernels<D>,
    x: Buffer<D>,
    entering: Entering<'_, CudaKernels<D>>,
) -> Entered<Buffer<D>> {
    let input = entering.keep.then(|| k.like(&x));
    let branch = branch_of(entering.branch);
    let skip = entering.skip.map_or([NOTHING; 2], |Skip { output, weights, row }| {
        [at(output), Argument::Address(offset(weights, row.range().start))]
    });
    let kept = input.as_ref().map_or(NOTHING, at);
    let [mixed, normed] = run(k, &x, [branch, skip], [entering.x0, entering.mix], kept, entering.width);
    match input {
        Some(input) => Entered { input, before: Some(x), mixed, normed },
        None => Entered { input: x, before: None, mixed, normed },
    }
}

pub(super) fn mix_norm<D: Device>(
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
    k.rows(x.element().of(["enter", "enter_bf16"]), x.len() / width, &arguments);
    [mixed, normed]
}

pub(super) fn add_norm<D: Device>(
    k: &CudaKernels<D>,
    branch: Option<Branch<'_, CudaKernels<D>>>,
    width: usize,
    x: &Buffer<D>,
) -> Buffer<D> {
    if branch.is_none() {
        return k.rms_norm(x, width);
    }
    let normed = k.like(x);
    let [product, scale] = branch_of(branch);
    let arguments = [at(x), product, scale, at(&normed), len32(width)];
    k.rows(x.element().of(["add_norm", "add_norm_bf16"]), x.len() / width, &arguments);
    normed
}
