//! Single-precision matrix products for the orthogonalizer.
//!
//! One product runs on one thread, so its bits do not depend on the number of threads; different
//! matrices are multiplied in parallel by the caller.

use gemm::Parallelism;

/// A row-major matrix or its transpose, borrowed.
#[derive(Clone, Copy)]
pub(super) struct MatrixView<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> MatrixView<'a> {
    /// `rows` x `columns` values, row-major.
    ///
    /// # Panics
    /// When the number of values is not `rows * columns`: a defect of the caller.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a {rows} x {columns} view of {} values", data.len());
        MatrixView { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The same values seen as their transpose.
    pub(super) fn transposed(self) -> Self {
        MatrixView {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `left * right`, row-major, accumulated in single precision.
///
/// # Panics
/// When the inner sides differ: a defect of the caller.
pub(super) fn product(left: MatrixView<'_>, right: MatrixView<'_>) -> Vec<f32> {
    assert_eq!(left.columns, right.rows, "inner sides of a matrix product differ");
    let (rows, columns, inner) = (left.rows, right.columns, left.columns);
    let mut out = vec![0.0f32; rows * columns];
    if out.is_empty() {
        return out;
    }
    // SAFETY: `out` holds rows * columns values at strides (columns, 1). Both views cover all of a
    // slice of rows * columns values at their strides (checked in `new`, kept by `transposed`), so
    // every address read or written lies inside its slice. `out` is new, so nothing overlaps.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            columns as isize,
            false,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_small_integers_are_exact_for_every_orientation() {
        let (a, b): (Vec<f32>, Vec<f32>) = (
            (0..35).map(|i| (i * 7 % 11) as f32 - 5.0).collect(),
            (0..21).map(|i| (i * 5 % 13) as f32 - 6.0).collect(),
        );
        // a: 5 x 7, b: 7 x 3; also a given as the transpose of a 7 x 5, b as that of a 3 x 7.
        let at: Vec<f32> = (0..35).map(|i| a[(i % 5) * 7 + i / 5]).collect();
        let bt: Vec<f32> = (0..21).map(|i| b[(i % 7) * 3 + i / 7]).collect();
        let mut expected = vec![0.0; 15];
        for row in 0..5 {
            for column in 0..3 {
                expected[row * 3 + column] = (0..7).map(|k| a[row * 7 + k] * b[k * 3 + column]).sum();
            }
        }
        for left in [MatrixView::new(&a, 5, 7), MatrixView::new(&at, 7, 5).transposed()] {
            for right in [MatrixView::new(&b, 7, 3), MatrixView::new(&bt, 3, 7).transposed()] {
                assert_eq!(product(left, right), expected);
            }
        }
    }
}
