//! Rows of tables, and rows of activations.

use super::launch::{COLUMN_THREADS, len32, len64, values};
use super::{CudaKernels, Ids};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::memory::Buffer;

/// Threads of the one block that adds up counts (`start_ids`).
const START_THREADS: u32 = 256;

pub(super) fn tails<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, row: usize, keep: usize) -> Buffer<D> {
    let (dtype, rows) = (x.dtype(), x.len() / row);
    let y = k.buffer_of(dtype, rows * keep);
    let operands = [values(x, dtype, rows * row), values(&y, dtype, rows * keep), len64(row), len64(keep)];
    k.check_at_most("tails", "kept values", keep, row);
    // SAFETY: `tails` reads whole rows of x, of which it keeps no more than there is (checked), and writes all of y.
    unsafe { k.spans(dtype.select(["tails", "tails_bf16"]), y.len(), &operands) };
    y
}

pub(super) fn gather<D: Device>(k: &CudaKernels<D>, table: &Buffer<D>, ids: &Ids<D>, width: usize) -> Buffer<D> {
    let dtype = table.dtype();
    let y = k.buffer_of(dtype, ids.len() * width);
    let operands = [
        values(table, dtype, ids.rows() * width),
        ids.operand(ids.len()),
        values(&y, dtype, ids.len() * width),
        len32(width),
    ];
    // SAFETY: `gather` reads rows of the table by numbers that are all below its rows (bound of `Ids`).
    unsafe { k.spans(dtype.select(["gather", "gather_bf16"]), y.len(), &operands) };
    y
}

/// Rows of one table row are added in the order of their positions, as on the CPU. The order is found on the device.
pub(super) fn scatter<D: Device>(
    k: &CudaKernels<D>,
    grad: &Buffer<D>,
    ids: &Ids<D>,
    width: usize,
    grad_table: &Buffer<D>,
) {
    let (rows, count) = (ids.rows(), ids.len());
    let (starts, order) = (Buffer::unset(&k.shared, rows + 1), Buffer::unset(&k.shared, count));
    let starts = |len| values(&starts, DType::F32, len);
    let (all, order) = (ids.operand(count), values(&order, DType::F32, count));
    let table = values(grad_table, DType::F32, rows * width);
    let grad_rows = values(grad, grad.dtype(), count * width);
    // SAFETY: the first three kernels read all numbers and write a place for each of the table's rows, one more, and each
    // position; the last one follows them to rows of `grad` and of the table. Every number is below `rows` (bound of
    // `Ids`).
    unsafe {
        k.rows("count_ids", rows, &[all, starts(rows + 1), len32(count)]);
        k.launch("start_ids", [1, 1], START_THREADS, &[starts(rows + 1), len32(rows)]);
        k.rows("order_ids", rows, &[all, starts(rows + 1), order, len32(count)]);
        let grid = [rows, width.div_ceil(COLUMN_THREADS)];
        let kernel = grad.dtype().select(["scatter", "scatter_bf16"]);
        k.launch(kernel, grid, COLUMN_THREADS as u32, &[grad_rows, order, starts(rows + 1), table, len32(width)]);
    }
}
