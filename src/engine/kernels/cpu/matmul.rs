//! Matrix products on one thread.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use crate::engine::kernels::traits::Store;

/// A row-major matrix over a slice.
pub(super) fn rows(values: &[f32], rows: usize, columns: usize) -> MatRef<'_, f32> {
    strided(values, rows, columns, columns)
}

/// A row-major matrix whose rows begin `stride` values apart.
pub(super) fn strided(values: &[f32], rows: usize, columns: usize, stride: usize) -> MatRef<'_, f32> {
    let values = &values[..(rows.max(1) - 1) * stride + columns];
    MatRef::from_row_major_slice_with_stride(values, rows, columns, stride)
}

/// [`rows`], to write to.
pub(super) fn rows_mut(values: &mut [f32], rows: usize, columns: usize) -> MatMut<'_, f32> {
    strided_mut(values, rows, columns, columns)
}

/// [`strided`], to write to.
pub(super) fn strided_mut(values: &mut [f32], rows: usize, columns: usize, stride: usize) -> MatMut<'_, f32> {
    let values = &mut values[..(rows.max(1) - 1) * stride + columns];
    // faer 0.24's own row-major constructor for writing lays rows out as columns.
    MatMut::from_column_major_slice_with_stride_mut(values, columns, rows, stride).transpose_mut()
}

/// `out (+)= factor * a b`.
pub(super) fn product(a: MatRef<'_, f32>, b: MatRef<'_, f32>, store: Store, factor: f32, out: MatMut<'_, f32>) {
    let accumulate = match store {
        Store::Replace => Accum::Replace,
        Store::Add => Accum::Add,
    };
    matmul(out, accumulate, a, b, factor, Par::Seq);
}
