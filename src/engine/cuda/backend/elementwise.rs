//! Sums and mixtures of activations, by channel, and their gradients.

use super::CudaKernels;
use super::launch::{at, len32, offset};
use crate::engine::cuda::device::{Argument, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::{ChannelRow, Kernels};

pub(super) fn add<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, sum: &Buffer<D>) {
    k.spans(sum.dtype().select(["add", "add_bf16"]), sum.len(), &[at(x), at(sum)]);
}

pub(super) fn smear<D: Device>(k: &CudaKernels<D>, a: &Buffer<D>, gate: &Buffer<D>, seq_len: usize) -> Buffer<D> {
    let y = k.like(a);
    let kernel = a.dtype().select(["smear", "smear_bf16"]);
    k.spans(kernel, a.len(), &[at(a), at(gate), at(&y), len32(gate.len()), len32(seq_len)]);
    y
}

pub(super) fn smear_grad<D: Device>(
    k: &CudaKernels<D>,
    [a, gate, grad_y]: [&Buffer<D>; 3],
    seq_len: usize,
    grad_a: &Buffer<D>,
    grad_gate: &Buffer<D>,
) {
    let width = gate.len();
    let before = [at(a), at(gate), at(grad_y), at(grad_a)];
    let after = [len32(width), len32(seq_len)];
    let sum = k.gradients(width);
    k.columns(
        a.dtype().select(["smear_grad", "smear_grad_bf16"]),
        a.len() / width,
        width,
        width,
        &before,
        &after,
        sum.address(),
    );
    k.each("smear_gate_grad", width, &[at(&sum), at(gate), at(grad_gate)]);
}

pub(super) fn mix_grad<D: Device>(
    k: &CudaKernels<D>,
    [x, x0, mix]: [&Buffer<D>; 3],
    grad: &Buffer<D>,
    grad_x0: &Buffer<D>,
    grad_mix: &Buffer<D>,
) {
    let width = mix.len() / 2;
    let before = [at(x), at(x0), at(mix), at(grad), at(grad_x0)];
    k.columns(
        x.dtype().select(["mix_grad", "mix_grad_bf16"]),
        x.len() / width,
        width,
        2 * width,
        &before,
        &[len32(width)],
        grad_mix.address(),
    );
}

pub(super) fn add_skip<D: Device>(
    k: &CudaKernels<D>,
    skip: &Buffer<D>,
    weights: &Buffer<D>,
    row: ChannelRow,
    x: &Buffer<D>,
) {
    let weights = Argument::Address(offset(weights, row.range().start));
    let kernel = x.dtype().select(["add_skip", "add_skip_bf16"]);
    k.spans(kernel, x.len(), &[at(skip), weights, at(x), len32(row.width)]);
}

pub(super) fn add_skip_grad<D: Device>(
    k: &CudaKernels<D>,
    [skip, weights, grad_x]: [&Buffer<D>; 3],
    row: ChannelRow,
    grad_skip: &Buffer<D>,
    grad_weights: &Buffer<D>,
) {
    let (width, start) = (row.width, row.range().start);
    let before = [at(skip), Argument::Address(offset(weights, start)), at(grad_x), at(grad_skip)];
    let (rows, out) = (skip.len() / width, offset(grad_weights, start));
    k.columns(
        skip.dtype().select(["add_skip_grad", "add_skip_grad_bf16"]),
        rows,
        width,
        width,
        &before,
        &[len32(width)],
        out,
    );
}

pub(super) fn relu_squared<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>) -> Buffer<D> {
    let y = k.like(x);
    k.spans(x.dtype().select(["relu_squared", "relu_squared_bf16"]), x.len(), &[at(x), at(&y)]);
    y
}

pub(super) fn relu_squared_grad<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, grad: &Buffer<D>) {
    k.spans(x.dtype().select(["relu_squared_grad", "relu_squared_grad_bf16"]), x.len(), &[at(x), at(grad)]);
}
