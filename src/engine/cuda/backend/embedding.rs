//! Rows of tables, and rows of activations.

use super::CudaKernels;
use super::launch::{COLUMN_THREADS, at, len32, len64};
use crate::engine::cuda::device::Device;
use crate::engine::cuda::memory::Buffer;

fn upload_ids<D: Device>(k: &CudaKernels<D>, ids: &[usize]) -> Buffer<D> {
    Buffer::of_bits(&k.shared, &ids.iter().map(|&id| id as u32).collect::<Vec<_>>())
}

pub(super) fn tails<D: Device>(k: &CudaKernels<D>, x: &Buffer<D>, row: usize, keep: usize) -> Buffer<D> {
    let y = k.buffer(x.len() / row * keep);
    k.each("tails", y.len(), &[at(x), at(&y), len64(row), len64(keep)]);
    y
}

pub(super) fn gather<D: Device>(k: &CudaKernels<D>, table: &Buffer<D>, ids: &[usize], width: usize) -> Buffer<D> {
    let (ids, y) = (upload_ids(k, ids), k.buffer(ids.len() * width));
    k.each("gather", y.len(), &[at(table), at(&ids), at(&y), len32(width)]);
    y
}

/// Rows of one table row are added in the order of their positions, as on the CPU.
pub(super) fn scatter<D: Device>(
    k: &CudaKernels<D>,
    grad: &Buffer<D>,
    ids: &[usize],
    width: usize,
    grad_table: &Buffer<D>,
) {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by_key(|&position| ids.get(position));
    let (mut rows, mut starts) = (Vec::new(), Vec::new());
    for (i, id) in order.iter().map(|&position| ids[position]).enumerate() {
        if rows.last() != Some(&id) {
            rows.push(id);
            starts.push(i);
        }
    }
    starts.push(ids.len());
    let (order, starts, table_rows) = (upload_ids(k, &order), upload_ids(k, &starts), upload_ids(k, &rows));
    let arguments = [at(grad), at(&order), at(&starts), at(&table_rows), at(grad_table), len32(width)];
    k.launch("scatter", [rows.len(), width.div_ceil(COLUMN_THREADS)], COLUMN_THREADS as u32, &arguments);
}
