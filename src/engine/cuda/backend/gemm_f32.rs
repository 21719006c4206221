//! Products of single-precision matrices by the kernel in `gemm.cu`.

use super::CudaKernels;
use super::launch::in_32_bits;
use crate::engine::cuda::device::{Argument, Device, Launch};
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::gemm::GemmDesc;

const KERNEL: &str = "gemm_f32";
/// Rows and columns that a block makes (`SIDE` in the source).
const SIDE: usize = 64;
/// Threads of a block.
const THREADS: u32 = 256;

fn arguments(gemm: &GemmDesc<'_>) -> Result<[Argument; 16], DeviceError> {
    let strides = |transposed: bool, rows: usize, columns: usize| match transposed {
        false => [columns as u64, 1],
        true => [1, rows as u64],
    };
    let [a_row, a_column] = strides(gemm.a_transposed, gemm.m, gemm.k);
    let [b_row, b_column] = strides(gemm.b_transposed, gemm.k, gemm.n);
    let [a_matrix, b_matrix, out_matrix] = gemm.batch.strides.map(|stride| Argument::U64(stride as u64));
    let size = |value: usize| in_32_bits(KERNEL, value).map(Argument::U32);
    Ok([
        Argument::of(gemm.a),
        Argument::of(gemm.b),
        Argument::of(gemm.c),
        Argument::of(gemm.out),
        size(gemm.m)?,
        size(gemm.n)?,
        size(gemm.k)?,
        Argument::U64(a_row),
        Argument::U64(a_column),
        Argument::U64(b_row),
        Argument::U64(b_column),
        Argument::F32(gemm.alpha),
        Argument::F32(gemm.beta),
        a_matrix,
        b_matrix,
        out_matrix,
    ])
}

impl<D: Device> CudaKernels<D> {
    /// A product of single-precision matrices, unlike the library's always by the same sums.
    pub(super) fn gemm_f32(&self, gemm: &GemmDesc<'_>) {
        self.shared.run(|device| {
            gemm.check(self.shared.id())?;
            let arguments = arguments(gemm)?;
            let blocks = [gemm.m.div_ceil(SIDE) * gemm.n.div_ceil(SIDE), gemm.batch.count];
            let [x, y] = blocks.map(|blocks| in_32_bits(KERNEL, blocks));
            let launch =
                Launch { kernel: KERNEL, grid: [x?, y?], threads: THREADS, shared_bytes: 0, arguments: &arguments };
            // SAFETY: the operands fit the product (checked above), and the arguments are those the kernel declares.
            unsafe { device.launch(&launch) }
        });
    }
}
