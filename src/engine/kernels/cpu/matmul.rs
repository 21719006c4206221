//! Matrix products on one thread.
//!
//! Large ones go to the tile unit where there is one. The others are faer's, which picks the widest vectors the
//! processor has and cannot be told otherwise. Under `--isa avx2` products are those of the gemm crate dfdx uses, whose
//! stable build has no wider kernels than AVX2's.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::tiles;
use crate::engine::isa;
use crate::engine::kernels::traits::Store;

/// A matrix over a slice, row-major or the transpose of one that is.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    /// Values from the beginning of a row (of a column, when transposed) to that of the next.
    stride: usize,
    is_transposed: bool,
}

impl<'a> Matrix<'a> {
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn stride(&self) -> usize {
        self.stride
    }

    pub fn is_transposed(&self) -> bool {
        self.is_transposed
    }

    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    pub fn transpose(self) -> Self {
        Matrix { rows: self.columns, columns: self.rows, is_transposed: !self.is_transposed, ..self }
    }

    /// Some rows and columns of it.
    pub fn part(self, rows: Range<usize>, columns: Range<usize>) -> Self {
        let start = match self.is_transposed {
            false => rows.start * self.stride + columns.start,
            true => columns.start * self.stride + rows.start,
        };
        Matrix { values: &self.values[start..], rows: rows.len(), columns: columns.len(), ..self }
    }

    fn view(self) -> MatRef<'a, f32> {
        let (height, width) = if self.is_transposed { (self.columns, self.rows) } else { (self.rows, self.columns) };
        let values = &self.values[..extent(height, width, self.stride)];
        let view = MatRef::from_row_major_slice_with_stride(values, height, width, self.stride);
        if self.is_transposed { view.transpose() } else { view }
    }
}

/// Values from the first to the last of a matrix.
fn extent(rows: usize, columns: usize, stride: usize) -> usize {
    (rows.max(1) - 1) * stride + columns
}

/// A row-major matrix over a slice, to write to.
pub(super) struct MatrixMut<'a> {
    values: &'a mut [f32],
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a> MatrixMut<'a> {
    pub fn new(values: &'a mut [f32], rows: usize, columns: usize, stride: usize) -> Self {
        MatrixMut { values, rows, columns, stride }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn stride(&self) -> usize {
        self.stride
    }

    pub fn values(&mut self) -> &mut [f32] {
        self.values
    }

    fn view(self) -> MatMut<'a, f32> {
        let values = &mut self.values[..extent(self.rows, self.columns, self.stride)];
        // faer 0.24's own row-major constructor for writing lays rows out as columns.
        MatMut::from_column_major_slice_with_stride_mut(values, self.columns, self.rows, self.stride).transpose_mut()
    }
}

/// A row-major matrix over a slice.
pub(super) fn rows(values: &[f32], rows: usize, columns: usize) -> Matrix<'_> {
    strided(values, rows, columns, columns)
}

/// A row-major matrix whose rows begin `stride` values apart.
pub(super) fn strided(values: &[f32], rows: usize, columns: usize, stride: usize) -> Matrix<'_> {
    Matrix { values, rows, columns, stride, is_transposed: false }
}

/// [`rows`], to write to.
pub(super) fn rows_mut(values: &mut [f32], rows: usize, columns: usize) -> MatrixMut<'_> {
    strided_mut(values, rows, columns, columns)
}

/// [`strided`], to write to.
pub(super) fn strided_mut(values: &mut [f32], rows: usize, columns: usize, stride: usize) -> MatrixMut<'_> {
    MatrixMut::new(values, rows, columns, stride)
}

/// `out (+)= factor * a b`.
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(unused_mut))]
pub(super) fn product(a: Matrix<'_>, b: Matrix<'_>, store: Store, factor: f32, mut out: MatrixMut<'_>) {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if tiles::pays(a.rows, a.columns, b.columns) && tiles::product(a, b, store, factor, &mut out) {
        return;
    }
    if isa::held_to_avx2() {
        return narrow_product(a.view(), b.view(), store, factor, out.view());
    }
    let accumulate = match store {
        Store::Replace => Accum::Replace,
        Store::Add => Accum::Add,
    };
    matmul(out.view(), accumulate, a.view(), b.view(), factor, Par::Seq);
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
