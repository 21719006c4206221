//! Matrix products on one thread.
//!
//! Large ones go to the tile unit where there is one, thin and small ones to [`thin`]. The others are those of the
//! assembly kernels behind the tensor library faer, with the widest vectors the processor has; without AVX2, and under
//! `--isa avx2`, all are those of the gemm crate dfdx uses, whose stable build has no wider kernels than AVX2's.

use super::matrix::{Matrix, MatrixMut};
use super::thin;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::tiles;
use crate::engine::isa;
use crate::engine::network::WriteMode;

/// `out (+)= factor * a b`.
pub(super) fn product(a: Matrix<'_>, b: Matrix<'_>, mode: WriteMode, factor: f32, mut out: MatrixMut<'_>) {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if tiles::pays(a.rows(), a.columns(), b.columns()) && tiles::product(a, b, mode, factor, &mut out) {
        return;
    }
    assert!((a.rows(), b.columns(), a.columns()) == (out.rows(), out.columns(), b.rows()), "dims of a product differ");
    let wide = Wide::detect().filter(|_| !isa::held_to_avx2());
    match wide {
        _ if out.rows() == 0 || out.columns() == 0 => {}
        None => narrow_product(a, b, mode, factor, out),
        // Nothing is added up.
        Some(_) if a.columns() == 0 && mode == WriteMode::Accumulate => {}
        Some(_) if a.columns() == 0 => {
            let (columns, step) = (out.columns(), out.stride());
            out.elements().chunks_mut(step).for_each(|row| row[..columns].fill(0.0));
        }
        Some(_) if thin::product(a, b, mode, factor, &mut out) => {}
        Some(wide) => wide.product(a, b, mode, factor, out),
    }
}

/// Kernels for vectors as wide as the processor has them.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
struct Wide {
    #[cfg(target_arch = "x86_64")]
    instructions: private_gemm_x86::InstrSet,
}

impl Wide {
    #[cfg(target_arch = "x86_64")]
    fn detect() -> Option<Self> {
        use private_gemm_x86::InstrSet;
        let instructions = if is_x86_feature_detected!("avx512f") {
            InstrSet::Avx512
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            InstrSet::Avx256
        } else {
            return None;
        };
        Some(Wide { instructions })
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detect() -> Option<Self> {
        None
    }

    /// `out (+)= factor * a b`; sides fit each other and none is zero.
    #[cfg(target_arch = "x86_64")]
    fn product(self, a: Matrix<'_>, b: Matrix<'_>, mode: WriteMode, factor: f32, mut out: MatrixMut<'_>) {
        use std::ptr::null;

        use private_gemm_x86::{Accum, DType, DstKind, IType};
        let accumulate = match mode {
            WriteMode::Overwrite => Accum::Replace,
            WriteMode::Accumulate => Accum::Add,
        };
        let (rows, inner, columns) = (a.rows(), a.columns(), b.columns());
        let ((a_row, a_column), (b_row, b_column), out_row) = (a.strides(), b.strides(), out.stride());
        // SAFETY: pointers and strides are those of three matrices whose slices hold every element (`elements` checks)
        // and whose sides fit each other; `out` is borrowed exclusively, so it overlaps neither of the others; the
        // processor has these instructions (`detect`).
        unsafe {
            private_gemm_x86::gemm(
                DType::F32,
                IType::U64,
                self.instructions,
                rows,
                columns,
                inner,
                out.elements().as_mut_ptr().cast(),
                out_row as isize,
                1,
                null(),
                null(),
                DstKind::Full,
                accumulate,
                a.elements().as_ptr().cast(),
                a_row as isize,
                a_column as isize,
                false,
                null(),
                0,
                b.elements().as_ptr().cast(),
                b_row as isize,
                b_column as isize,
                false,
                (&raw const factor).cast(),
                1,
            );
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn product(self, a: Matrix<'_>, b: Matrix<'_>, mode: WriteMode, factor: f32, out: MatrixMut<'_>) {
        narrow_product(a, b, mode, factor, out);
    }
}

/// [`product`] with vectors of 256 bits.
fn narrow_product(a: Matrix<'_>, b: Matrix<'_>, mode: WriteMode, factor: f32, mut out: MatrixMut<'_>) {
    let keep = if mode == WriteMode::Accumulate { 1.0 } else { 0.0 };
    let (rows, inner, columns) = (a.rows(), a.columns(), b.columns());
    let ((a_row, a_column), (b_row, b_column), out_row) = (a.strides(), b.strides(), out.stride());
    // SAFETY: pointers and strides are those of three matrices whose slices hold every element (`elements` checks) and
    // whose sides fit each other (the caller checked); `out` is borrowed exclusively, so it overlaps neither of the
    // others.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.elements().as_mut_ptr(),
            1,
            out_row as isize,
            mode == WriteMode::Accumulate,
            a.elements().as_ptr(),
            a_column as isize,
            a_row as isize,
            b.elements().as_ptr(),
            b_column as isize,
            b_row as isize,
            keep,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
