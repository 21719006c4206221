//! Rows of tables, and rows of activations.

use super::CudaKernels;
use super::launch::{COLUMN_THREADS, at, len32, len64};
use crate::engine::cuda::device::Device;
use crate::engine::cuda::memory::Buffer;

/// Threads of the one block that adds up counts (`start_ids`).
const START_THREADS: u32 = 256;

pub(super) fn tails<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, row: usize, keep: usize) -> Buffer<D> {
    let y = k.buffer_of(x.dtype(), x.len() / row * keep);
    k.spans(x.dtype().select(["tails", "tails_bf16"]), y.len(), &[at(x), at(&y), len64(row), len64(keep)]);
    y
}

pub(super) fn gather<D: Device>(k: &CudaKernels<D>, table: &Buffer<D>, ids: &Buffer<D>, width: usize) -> Buffer<D> {
    let y = k.buffer_of(table.dtype(), ids.len() * width);
    k.spans(table.dtype().select(["gather", "gather_bf16"]), y.len(), &[at(table), at(ids), at(&y), len32(width)]);
    y
}

/// Rows of one table row are added in the order of their positions, as on the CPU. The order is found on the device.
pub(super) fn scatter<D: Device>(
    k: &CudaKernels<D>,
    grad: &Buffer<D>,
    ids: &Buffer<D>,
    width: usize,
    grad_table: &Buffer<D>,
) {
    let rows = grad_table.len() / width;
    let (starts, order) = (Buffer::unset(&k.shared, rows + 1), Buffer::unset(&k.shared, ids.len()));
    k.rows("count_ids", rows, &[at(ids), at(&starts), len32(ids.len())]);
    k.launch("start_ids", [1, 1], START_THREADS, &[at(&starts), len32(rows)]);
    k.rows("order_ids", rows, &[at(ids), at(&starts), at(&order), len32(ids.len())]);
    let arguments = [at(grad), at(&order), at(&starts), at(grad_table), len32(width)];
    let kernel = grad.dtype().select(["scatter", "scatter_bf16"]);
    k.launch(kernel, [rows, width.div_ceil(COLUMN_THREADS)], COLUMN_THREADS as u32, &arguments);
}
