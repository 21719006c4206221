//! Matrices over slices.

use std::ops::Range;

use faer::{MatMut, MatRef};

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

    pub fn view(self) -> MatRef<'a, f32> {
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

    pub fn view(self) -> MatMut<'a, f32> {
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
