//! Skips that a gate weighs against the stream.

use super::CudaKernels;
use super::launch::{in_view, len32, values};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::{GatedSkip, Kernels};

const F32: DType = DType::F32;

pub(super) fn add<D: Device>(k: &CudaKernels<D>, skip: GatedSkip<'_, CudaKernels<D>>, x: &Buffer<D>) {
    let GatedSkip { output, weights, gates, row } = skip;
    let (dtype, n, width) = (x.dtype(), x.len(), row.width);
    let (Some(weights), Some(gates)) = (k.slice(weights, row.range()), k.slice(gates, row.range())) else { return };
    let channels = [weights, gates].map(|channels| in_view(channels, F32, width));
    let operands = [&[values(output, dtype, n)][..], &channels, &[values(x, dtype, n), len32(width)]].concat();
    // SAFETY: `add_gated_skip` reads and writes n values, and reads a weight and a gate for each channel.
    unsafe { k.spans(dtype.select(["add_gated_skip", "add_gated_skip_bf16"]), n, &operands) };
}

pub(super) fn add_grad<D: Device>(
    k: &CudaKernels<D>,
    GatedSkip { output, weights, gates, row }: GatedSkip<'_, CudaKernels<D>>,
    x: &Buffer<D>,
    grad: &Buffer<D>,
    grad_skip: &Buffer<D>,
    [grad_weights, grad_gates]: [&Buffer<D>; 2],
) {
    let (dtype, width) = (x.dtype(), row.width);
    let rows = x.len() / width;
    let n = rows * width;
    let channels = [weights, gates, grad_weights, grad_gates].map(|channels| k.slice(channels, row.range()));
    let [Some(weights), Some(gates), Some(grad_weights), Some(grad_gates)] = channels else { return };
    let [weights, gates, grad_weights, grad_gates] =
        [weights, gates, grad_weights, grad_gates].map(|channels| in_view(channels, F32, width));
    let before = [
        values(x, dtype, n),
        values(output, dtype, n),
        weights,
        gates,
        values(grad, dtype, n),
        values(grad_skip, dtype, n),
    ];
    let sums = k.gradients(2 * width);
    let kernel = dtype.select(["add_gated_skip_grad", "add_gated_skip_grad_bf16"]);
    let of_channels = [values(&sums, F32, 2 * width), gates, grad_weights, grad_gates];
    // SAFETY: `add_gated_skip_grad` reads and writes whole rows, and makes two sums for each channel;
    // `gated_skip_channels` reads those and reads and writes a value for each channel.
    unsafe {
        k.columns(kernel, rows, width, 2 * width, &before, &[len32(width)], sums.view());
        k.each("gated_skip_channels", width, &of_channels);
    }
}
