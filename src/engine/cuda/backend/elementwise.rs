//! Sums and mixtures of activations, by channel, and their gradients.

use super::CudaKernels;
use super::launch::{Operand, in_view, len32, values};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::view::View;
use crate::engine::network::{ChannelRow, Kernels, Smear};

const F32: DType = DType::F32;

impl<D: Device> CudaKernels<D> {
    /// `sum += x`.
    pub(in crate::engine::cuda) fn add_views(&self, x: View<'_>, sum: View<'_>) {
        let (dtype, n) = (sum.dtype(), sum.len());
        // SAFETY: `add` reads and writes n values of both.
        unsafe {
            self.spans(dtype.select(["add", "add_bf16"]), n, &[in_view(x, dtype, n), in_view(sum, dtype, n)]);
        }
    }
}

/// The tokens that a smear stops at, one for each of so many rows, or none.
pub(super) fn begins<'a, D: Device>(smear: Smear<'a, CudaKernels<D>>, rows: usize) -> Operand<'a> {
    smear.begins.map_or(Operand::Null, |ids| ids.operand(rows))
}

pub(super) fn smear<D: Device>(k: &CudaKernels<D>, a: &Buffer<D>, smear: Smear<'_, CudaKernels<D>>) -> Buffer<D> {
    let (y, dtype, n, width) = (k.like(a), a.dtype(), a.len(), smear.gate.len());
    let ids = begins(smear, n / width);
    let tensors = [values(a, dtype, n), values(smear.gate, F32, width), ids, values(&y, dtype, n)];
    let operands = [&tensors[..], &[len32(width), len32(smear.seq_len)]].concat();
    // SAFETY: `smear` reads n values and the ones a row before, but for a first row, a gate for each channel, and an id for
    // each row if there are any.
    unsafe { k.spans(dtype.select(["smear", "smear_bf16"]), n, &operands) };
    y
}

pub(super) fn smear_grad<D: Device>(
    k: &CudaKernels<D>,
    [a, grad_y]: [&Buffer<D>; 2],
    smear: Smear<'_, CudaKernels<D>>,
    grad_a: &Buffer<D>,
    grad_gate: &Buffer<D>,
) {
    let (dtype, gate, width) = (a.dtype(), smear.gate, smear.gate.len());
    let rows = a.len() / width;
    let n = rows * width;
    let channels = values(gate, F32, width);
    let before =
        [values(a, dtype, n), channels, values(grad_y, dtype, n), begins(smear, rows), values(grad_a, dtype, n)];
    let after = [len32(width), len32(smear.seq_len)];
    let sum = k.gradients(width);
    let kernel = dtype.select(["smear_grad", "smear_grad_bf16"]);
    let gate_operands = [values(&sum, F32, width), values(gate, F32, width), values(grad_gate, F32, width)];
    // SAFETY: `smear_grad` reads whole rows and their neighbors, and makes a sum for each channel; `smear_gate_grad` reads
    // and writes a value for each channel.
    unsafe {
        k.columns(kernel, rows, width, width, &before, &after, sum.view());
        k.each("smear_gate_grad", width, &gate_operands);
    }
}

pub(super) fn mix_grad<D: Device>(
    k: &CudaKernels<D>,
    [x, x0, mix]: [&Buffer<D>; 3],
    grad: &Buffer<D>,
    grad_x0: &Buffer<D>,
    grad_mix: &Buffer<D>,
) {
    let (dtype, width) = (x.dtype(), mix.len() / 2);
    let rows = x.len() / width;
    let n = rows * width;
    let before = [
        values(x, dtype, n),
        values(x0, dtype, n),
        values(mix, F32, 2 * width),
        values(grad, dtype, n),
        values(grad_x0, dtype, n),
    ];
    let kernel = dtype.select(["mix_grad", "mix_grad_bf16"]);
    // SAFETY: `mix_grad` reads and writes whole rows, and makes two sums for each channel.
    unsafe { k.columns(kernel, rows, width, 2 * width, &before, &[len32(width)], grad_mix.view()) };
}

pub(super) fn add_skip<D: Device>(
    k: &CudaKernels<D>,
    skip: &Buffer<D>,
    weights: &Buffer<D>,
    row: ChannelRow,
    x: &Buffer<D>,
) {
    let (dtype, n, width) = (x.dtype(), x.len(), row.width);
    let Some(weights) = k.slice(weights, row.range()) else { return };
    let operands = [values(skip, dtype, n), in_view(weights, F32, width), values(x, dtype, n), len32(width)];
    // SAFETY: `add_skip` reads and writes n values, and reads a weight for each channel.
    unsafe { k.spans(dtype.select(["add_skip", "add_skip_bf16"]), n, &operands) };
}

pub(super) fn add_skip_grad<D: Device>(
    k: &CudaKernels<D>,
    [skip, weights, grad_x]: [&Buffer<D>; 3],
    row: ChannelRow,
    grad_skip: &Buffer<D>,
    grad_weights: &Buffer<D>,
) {
    let (dtype, width) = (skip.dtype(), row.width);
    let rows = skip.len() / width;
    let n = rows * width;
    let channels = (k.slice(weights, row.range()), k.slice(grad_weights, row.range()));
    let (Some(weights), Some(out)) = channels else { return };
    let before =
        [values(skip, dtype, n), in_view(weights, F32, width), values(grad_x, dtype, n), values(grad_skip, dtype, n)];
    let kernel = dtype.select(["add_skip_grad", "add_skip_grad_bf16"]);
    // SAFETY: `add_skip_grad` reads and writes whole rows, and makes a sum for each channel.
    unsafe { k.columns(kernel, rows, width, width, &before, &[len32(width)], out) };
}

pub(super) fn leaky_relu_squared<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, slope: f32) -> Buffer<D> {
    let (y, dtype, n) = (k.like(x), x.dtype(), x.len());
    let kernel = dtype.select(["leaky_relu_squared", "leaky_relu_squared_bf16"]);
    // SAFETY: `leaky_relu_squared` reads n values and writes as many.
    unsafe { k.spans(kernel, n, &[values(x, dtype, n), values(&y, dtype, n), Operand::F32(slope)]) };
    y
}

pub(super) fn leaky_relu_squared_grad<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, slope: f32, grad: &Buffer<D>) {
    let (dtype, n) = (x.dtype(), x.len());
    let kernel = dtype.select(["leaky_relu_squared_grad", "leaky_relu_squared_grad_bf16"]);
    // SAFETY: `leaky_relu_squared_grad` reads n values and reads and writes as many.
    unsafe { k.spans(kernel, n, &[values(x, dtype, n), values(grad, dtype, n), Operand::F32(slope)]) };
}
