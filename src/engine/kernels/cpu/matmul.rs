//! Matrix products on one thread.
//!
//! faer picks the widest vectors the processor has and cannot be told otherwise. Under `--isa avx2` products are
//! those of the gemm crate dfdx uses, whose stable build has no wider kernels than AVX2's.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use crate::engine::isa;
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
    if isa::held_to_avx2() {
        return narrow_product(a, b, store, factor, out);
    }
    let accumulate = match store {
        Store::Replace => Accum::Replace,
        Store::Add => Accum::Add,
    };
    matmul(out, accumulate, a, b, factor, Par::Seq);
}

/// [`product`] with vectors of 256 bits.
fn narrow_product(a: MatRef<'_, f32>, b: MatRef<'_, f32>, store: Store, factor: f32, out: MatMut<'_, f32>) {
    assert!((a.nrows(), b.ncols(), a.ncols()) == (out.nrows(), out.ncols(), b.nrows()), "sides of a product differ");
    let keep = if store == Store::Add { 1.0 } else { 0.0 };
    // SAFETY: pointers and strides are those of three views whose sides fit each other (checked above); `out` is
    // borrowed exclusively, so it overlaps neither of the others.
    unsafe {
        gemm::gemm(
            out.nrows(),
            out.ncols(),
            a.ncols(),
            out.as_ptr_mut(),
            out.col_stride(),
            out.row_stride(),
            store == Store::Add,
            a.as_ptr(),
            a.col_stride(),
            a.row_stride(),
            b.as_ptr(),
            b.col_stride(),
            b.row_stride(),
            keep,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
