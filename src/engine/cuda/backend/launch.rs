//! Kernels' arguments, and the shapes of grids they are launched in.

use crate::engine::cuda::device::{Argument, DType, Device, GemmDesc, Launch};
use crate::engine::cuda::memory::Buffer;

use super::CudaKernels;
use super::gemm_bf16::GemmBf16;

/// Threads of a block where nothing asks for another number.
const THREADS: u32 = 256;
/// Threads of a block that has a column each (`scatter`).
pub(super) const COLUMN_THREADS: usize = 128;
/// Threads of a block that has a span of columns each (`columns.cu`): 512 columns.
const SPAN_THREADS: usize = 64;
/// Values of a span (`SPAN` in `values.cu`).
pub(super) const SPAN: usize = 8;
/// Rows summed in one go (`ROWS_A_CHUNK` in `common.cu`).
const ROWS_A_CHUNK: usize = 64;
/// Columns of a block of `column_sums`, threads of a warp.
pub(super) const WARP: usize = 32;

pub(in crate::engine::cuda) fn len32(value: usize) -> Argument {
    Argument::U32(value as u32)
}

pub(in crate::engine::cuda) fn len64(value: usize) -> Argument {
    Argument::U64(value as u64)
}

pub(super) fn at<D: Device>(buffer: &Buffer<D>) -> Argument {
    Argument::Address(buffer.address())
}

/// The address of one of a buffer's values.
pub(in crate::engine::cuda) fn offset<D: Device>(buffer: &Buffer<D>, values: usize) -> u64 {
    buffer.address() + (values * buffer.dtype().bytes()) as u64
}

impl<D: Device> CudaKernels<D> {
    pub(in crate::engine::cuda) fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 2],
        threads: u32,
        arguments: &[Argument],
    ) {
        self.launch_with(kernel, grid, threads, 0, arguments);
    }

    /// The same with so many bytes of shared memory that the launch decides on.
    pub(in crate::engine::cuda) fn launch_with(
        &self,
        kernel: &'static str,
        grid: [usize; 2],
        threads: u32,
        shared_bytes: usize,
        arguments: &[Argument],
    ) {
        if grid.contains(&0) {
            return;
        }
        let (grid, shared_bytes) = (grid.map(|side| side as u32), shared_bytes as u32);
        let launch = Launch { kernel, grid, threads, shared_bytes, arguments };
        // SAFETY: each caller gives a kernel the arguments its source declares (tests check number and
        // types), and buffers of the lengths it indexes. Buffers freed after a launch are reused by later ones only.
        self.shared.run(|device| unsafe { device.launch(&launch) });
    }

    /// One thread a value; the count goes last.
    pub(in crate::engine::cuda) fn each(&self, kernel: &'static str, n: usize, arguments: &[Argument]) {
        let arguments = [arguments, &[len64(n)]].concat();
        self.launch(kernel, [n.div_ceil(THREADS as usize), 1], THREADS, &arguments);
    }

    /// One thread a span of values; the count goes last.
    pub(in crate::engine::cuda) fn spans(&self, kernel: &'static str, n: usize, arguments: &[Argument]) {
        let arguments = [arguments, &[len64(n)]].concat();
        self.launch(kernel, [n.div_ceil(SPAN * THREADS as usize), 1], THREADS, &arguments);
    }

    /// One warp a row; the count goes last.
    pub(in crate::engine::cuda) fn rows(&self, kernel: &'static str, rows: usize, arguments: &[Argument]) {
        self.lanes(kernel, rows, WARP, arguments);
    }

    /// So many lanes a row, a power of two; the count goes last.
    pub(super) fn lanes(&self, kernel: &'static str, rows: usize, lanes: usize, arguments: &[Argument]) {
        let arguments = [arguments, &[len64(rows)]].concat();
        self.launch(kernel, [rows.div_ceil(THREADS as usize / lanes), 1], THREADS, &arguments);
    }

    /// Runs the first pass of a sum down columns and adds the chunks' sums to `out` at an offset in values.
    ///
    /// `before` come before the partial sums' address, `after` behind it; activations are `width` wide, and of each row
    /// of theirs there are `columns` sums.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn columns(
        &self,
        kernel: &'static str,
        rows: usize,
        width: usize,
        columns: usize,
        before: &[Argument],
        after: &[Argument],
        out: u64,
    ) {
        let chunks = rows.div_ceil(ROWS_A_CHUNK);
        let partial = Buffer::unset(&self.shared, chunks * columns);
        let arguments = [before, &[at(&partial)], after, &[len64(rows)]].concat();
        let threads = if width.is_multiple_of(SPAN) { width / SPAN } else { width };
        self.launch(kernel, [chunks, threads.div_ceil(SPAN_THREADS)], SPAN_THREADS as u32, &arguments);
        let arguments = [at(&partial), Argument::Address(out), len32(columns), len32(chunks)];
        self.launch("column_sums", [columns.div_ceil(WARP), 1], THREADS, &arguments);
    }

    pub(in crate::engine::cuda) fn gemm(&self, product: GemmDesc) {
        if product.rows * product.columns == 0 {
            return;
        }
        // SAFETY: callers give the addresses of buffers of the dims they state, and never one of the factors as `out`.
        if self.shared.run(|device| unsafe { device.gemm(&product) }) == Some(false) {
            self.own_gemm(&product);
        }
    }

    /// A product by this crate's kernels.
    fn own_gemm(&self, product: &GemmDesc) {
        if product.dtypes == [DType::Bf16; 2] || product.dtypes == [DType::Bf16, DType::F32] {
            let gemm_bf16 = GemmBf16::from(product);
            // Sums over tokens are long and may be split.
            return if product.a_transposed { self.split_k_gemm_bf16(&gemm_bf16) } else { self.gemm_bf16(&gemm_bf16) };
        }
        let arguments = product.arguments();
        // SAFETY: the kernel takes these arguments; the callers of `gemm` vouch for the matrices.
        self.shared.run(|device| unsafe { device.launch(&product.launch(&arguments)) });
    }
}
