//! Matrix products on one thread.
//!
//! Large ones go to the tile unit where there is one. The others are faer's, which picks the widest vectors the
//! processor has and cannot be told otherwise. Under `--isa avx2` products are those of the gemm crate dfdx uses, whose
//! stable build has no wider kernels than AVX2's.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::matrix::{Matrix, MatrixMut};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::tiles;
use crate::engine::isa;
use crate::engine::network::WriteMode;

/// `out (+)= factor * a b`.
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(unused_mut))]
pub(super) fn product(a: Matrix<'_>, b: Matrix<'_>, mode: WriteMode, factor: f32, mut out: MatrixMut<'_>) {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if tiles::pays(a.rows(), a.columns(), b.columns()) && tiles::product(a, b, mode, factor, &mut out) {
        return;
    }
    if isa::held_to_avx2() {
        return narrow_product(a.view(), b.view(), mode, factor, out.view());
    }
    let accumulate = match mode {
        WriteMode::Overwrite => Accum::Replace,
        WriteMode::Accumulate => Accum::Add,
    };
    matmul(out.view(), accumulate, a.view(), b.view(), factor, Par::Seq);
}

/// [`product`] with vectors of 256 bits.
fn narrow_product(a: MatRef<'_, f32>, b: MatRef<'_, f32>, mode: WriteMode, factor: f32, out: MatMut<'_, f32>) {
    assert!((a.nrows(), b.ncols(), a.ncols()) == (out.nrows(), out.ncols(), b.nrows()), "dims of a product differ");
    let keep = if mode == WriteMode::Accumulate { 1.0 } else { 0.0 };
    // SAFETY: pointers and strides are those of three views whose dims fit each other (checked above); `out` is
    // borrowed exclusively, so it overlaps neither of the others.
    unsafe {
        gemm::gemm(
            out.nrows(),
            out.ncols(),
            a.ncols(),
            out.as_ptr_mut(),
            out.col_stride(),
            out.row_stride(),
            mode == WriteMode::Accumulate,
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
