//! Sums and mixtures of activations, by channel, and their gradients.

use super::CudaKernels;
use super::launch::{at, len32, offset};
use crate::engine::cuda::device::{Argument, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::{ChannelRow, Kernels};

pub(super) fn add<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, sum: &Buffer<D>) {
    k.each("add", sum.len(), &[at(x), at(sum)]);
    k.round(sum);
}

pub(super) fn smear<D: Device>(k: &CudaKernels<D>, a: &Buffer<D>, gate: &Buffer<D>, seq_len: usize) -> Buffer<D> {
    let y = k.like(a);
    k.each("smear", a.len(), &[at(a), at(gate), at(&y), len32(gate.len()), len32(seq_len)]);
    k.rounded(y)
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
    let sum = k.zeros(width);
    k.columns("smear_grad", a.len() / width, width, width, &before, &after, sum.address());
    k.each("smear_gate_grad", width, &[at(&sum), at(gate), at(grad_gate)]);
}

pub(super) fn mix<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, x0: &Buffer<D>, mix: &Buffer<D>) -> Buffer<D> {
    let y = k.like(x);
    k.each("mix", x.len(), &[at(x), at(x0), at(mix), at(&y), len32(mix.len() / 2)]);
    k.rounded(y)
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
    k.columns("mix_grad", x.len() / width, width, 2 * width, &before, &[len32(width)], grad_mix.address());
}

pub(super) fn add_skip<D: Device>(
    k: &CudaKernels<D>,
    skip: &Buffer<D>,
    weights: &Buffer<D>,
    row: ChannelRow,
    x: &Buffer<D>,
) {
    let weights = Argument::Address(offset(weights, row.range().start));
    k.each("add_skip", x.len(), &[at(skip), weights, at(x), len32(row.width)]);
    k.round(x);
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
    k.columns("add_skip_grad", rows, width, width, &before, &[len32(width)], out);
}

pub(super) fn relu_squared<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>) -> Buffer<D> {
    let y = k.like(x);
    k.each("relu_squared", x.len(), &[at(x), at(&y)]);
    k.rounded(y)
}

pub(super) fn relu_squared_grad<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, grad: &Buffer<D>) {
    k.each("relu_squared_grad", x.len(), &[at(x), at(grad)]);
}
