//! Matrices over slices.

use std::ops::Range;

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

    /// Values from an element to the one below it and to the one right of it.
    pub fn strides(self) -> (usize, usize) {
        if self.is_transposed { (1, self.stride) } else { (self.stride, 1) }
    }

    /// The values from its first element to its last.
    pub fn elements(self) -> &'a [f32] {
        let (height, width) = if self.is_transposed { (self.columns, self.rows) } else { (self.rows, self.columns) };
        &self.values[..extent(height, width, self.stride)]
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

    /// The values from its first element to its last.
    pub fn elements(&mut self) -> &mut [f32] {
        &mut self.values[..extent(self.rows, self.columns, self.stride)]
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
