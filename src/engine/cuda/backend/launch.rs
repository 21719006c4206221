//! Kernels' operands with their bounds, and the shapes of grids they are launched in.

use super::CudaKernels;
use crate::engine::cuda::device::{Argument, DType, Device, Launch};
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::view::View;

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

/// An argument of a kernel; numbers in memory with what the kernel needs them to be, which is checked at the launch.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::cuda) enum Operand<'a> {
    /// Exactly `len` numbers of that type.
    Values {
        view: View<'a>,
        dtype: DType,
        len: usize,
    },
    /// The same of numbers that may be columns of a wider matrix; the kernel is told their stride.
    Rows {
        view: View<'a>,
        dtype: DType,
        len: usize,
    },
    /// No numbers, where a kernel takes a null pointer for that.
    Null,
    /// A size, of the kernel's type `u32`.
    Size32(usize),
    /// A size, of the kernel's type `u64`.
    Size64(usize),
    /// A switch, of the kernel's type `u32`.
    Flag(bool),
    F32(f32),
    F64(f64),
}

/// All values of a buffer, of which the kernel needs exactly `len` of that type.
pub(in crate::engine::cuda) fn values<D: Device>(buffer: &Buffer<D>, dtype: DType, len: usize) -> Operand<'_> {
    in_view(buffer.view(), dtype, len)
}

/// The same for a part of a buffer.
pub(in crate::engine::cuda) fn in_view(view: View<'_>, dtype: DType, len: usize) -> Operand<'_> {
    Operand::Values { view, dtype, len }
}

/// The same for what may be columns of a wider matrix.
pub(in crate::engine::cuda) fn in_rows(view: View<'_>, dtype: DType, len: usize) -> Operand<'_> {
    Operand::Rows { view, dtype, len }
}

/// The same for what may be absent.
pub(in crate::engine::cuda) fn optional(view: Option<View<'_>>, dtype: DType, len: usize) -> Operand<'_> {
    view.map_or(Operand::Null, |view| in_view(view, dtype, len))
}

pub(in crate::engine::cuda) fn len32<'a>(value: usize) -> Operand<'a> {
    Operand::Size32(value)
}

pub(in crate::engine::cuda) fn len64<'a>(value: usize) -> Operand<'a> {
    Operand::Size64(value)
}

/// A size as a kernel's 32 bits.
pub(super) fn in_32_bits(operation: &'static str, value: usize) -> Result<u32, DeviceError> {
    u32::try_from(value).map_err(|_| DeviceError::Size { operation, value })
}

impl Operand<'_> {
    /// The argument, for the `index`-th of a kernel on the device of that id.
    fn argument(&self, kernel: &'static str, index: usize, device: usize) -> Result<Argument, DeviceError> {
        Ok(match *self {
            Operand::Values { view, dtype, len } => {
                view.check(kernel, || format!("argument {index}"), device, dtype, len)?;
                Argument::of(view)
            }
            Operand::Rows { view, dtype, len } => {
                view.check_rows(kernel, || format!("argument {index}"), device, dtype, len)?;
                Argument::of(view)
            }
            Operand::Null => Argument::NULL,
            Operand::Size32(value) => Argument::U32(in_32_bits(kernel, value)?),
            Operand::Size64(value) => Argument::U64(value as u64),
            Operand::Flag(value) => Argument::U32(u32::from(value)),
            Operand::F32(value) => Argument::F32(value),
            Operand::F64(value) => Argument::F64(value),
        })
    }
}

/// Kernels are launched by `unsafe` functions with one contract:
///
/// the operands are of the types the kernel declares, in its order, and `dtype` and `len` of each are what the kernel
/// reads or writes with this grid. That a view really is so, and of this device, is checked here: if not, the error is
/// kept and nothing is launched.
impl<D: Device> CudaKernels<D> {
    /// Keeps an error unless a size of an operation is at most so large.
    pub(in crate::engine::cuda) fn check_at_most(
        &self,
        operation: &'static str,
        size: &str,
        found: usize,
        expected: usize,
    ) {
        if found > expected {
            let operand = format!("{size}, at most");
            self.shared.keep(Err::<(), _>(DeviceError::Length { operation, operand, found, expected }));
        }
    }

    /// Keeps an error unless what is added has as many channels as the stream.
    pub(super) fn check_width(&self, operation: &'static str, found: usize, expected: usize) {
        if found != expected {
            let operand = "what is added (channels)".into();
            self.shared.keep(Err::<(), _>(DeviceError::Length { operation, operand, found, expected }));
        }
    }

    /// Values from the beginning of one row of `width` to the next; keeps an error where there are no such rows.
    pub(super) fn row_stride(&self, operation: &'static str, view: View<'_>, width: usize) -> usize {
        self.shared.keep(view.row_stride(operation, width)).unwrap_or(width)
    }

    /// Some of a buffer's values; keeps an error where they reach past its end.
    pub(in crate::engine::cuda) fn slice<'a>(
        &self,
        buffer: &'a Buffer<D>,
        range: std::ops::Range<usize>,
    ) -> Option<View<'a>> {
        self.shared.keep(buffer.view().slice(range))
    }

    /// Launches a kernel; an empty grid is no launch.
    ///
    /// # Safety
    /// Types and sizes must be the kernel's, as said above.
    pub(in crate::engine::cuda) unsafe fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 2],
        threads: u32,
        operands: &[Operand<'_>],
    ) {
        // SAFETY: passed on to the caller.
        unsafe { self.launch_with(kernel, grid, threads, 0, operands) };
    }

    /// The same with so many bytes of shared memory that the launch decides on.
    ///
    /// # Safety
    /// As for [`Self::launch`], and the shared memory must be as much as the kernel uses.
    pub(in crate::engine::cuda) unsafe fn launch_with(
        &self,
        kernel: &'static str,
        grid: [usize; 2],
        threads: u32,
        shared_bytes: usize,
        operands: &[Operand<'_>],
    ) {
        if grid.contains(&0) {
            return;
        }
        self.shared.run(|device| {
            let id = self.shared.id();
            let argument = |(index, operand): (usize, &Operand<'_>)| operand.argument(kernel, index + 1, id);
            let arguments = operands.iter().enumerate().map(argument).collect::<Result<Vec<_>, _>>()?;
            let [x, y] = grid.map(|blocks| in_32_bits(kernel, blocks));
            let shared_bytes = in_32_bits(kernel, shared_bytes)?;
            let launch = Launch { kernel, grid: [x?, y?], threads, shared_bytes, arguments: &arguments };
            // SAFETY: every view is as long and stored as the caller says the kernel needs (checked above), and of this
            // device. Buffers freed after a launch are reused by later ones only.
            unsafe { device.launch(&launch) }
        });
    }

    /// One thread a value; the count goes last.
    ///
    /// # Safety
    /// As for [`Self::launch`].
    pub(in crate::engine::cuda) unsafe fn each(&self, kernel: &'static str, n: usize, operands: &[Operand<'_>]) {
        let operands = [operands, &[len64(n)]].concat();
        // SAFETY: passed on to the caller.
        unsafe { self.launch(kernel, [n.div_ceil(THREADS as usize), 1], THREADS, &operands) };
    }

    /// One thread a span of values; the count goes last.
    ///
    /// # Safety
    /// As for [`Self::launch`].
    pub(in crate::engine::cuda) unsafe fn spans(&self, kernel: &'static str, n: usize, operands: &[Operand<'_>]) {
        let operands = [operands, &[len64(n)]].concat();
        // SAFETY: passed on to the caller.
        unsafe { self.launch(kernel, [n.div_ceil(SPAN * THREADS as usize), 1], THREADS, &operands) };
    }

    /// One warp a row; the count goes last.
    ///
    /// # Safety
    /// As for [`Self::launch`].
    pub(in crate::engine::cuda) unsafe fn rows(&self, kernel: &'static str, rows: usize, operands: &[Operand<'_>]) {
        // SAFETY: passed on to the caller.
        unsafe { self.lanes(kernel, rows, WARP, operands) };
    }

    /// So many lanes a row, a power of two; the count goes last.
    ///
    /// # Safety
    /// As for [`Self::launch`].
    pub(super) unsafe fn lanes(&self, kernel: &'static str, rows: usize, lanes: usize, operands: &[Operand<'_>]) {
        let operands = [operands, &[len64(rows)]].concat();
        // SAFETY: passed on to the caller.
        unsafe { self.launch(kernel, [rows.div_ceil(THREADS as usize / lanes), 1], THREADS, &operands) };
    }

    /// Sums down the columns of a matrix of `rows` rows, `width` wide, which `kernel` makes `columns` values of in each
    /// row, and adds them to `out`.
    ///
    /// The kernel sums chunks of rows: `before` come before the address of those partial sums, `after` behind it. A
    /// second kernel adds up the chunks.
    ///
    /// # Safety
    /// As for [`Self::launch`]; the partial sums of a chunk must be `columns` values.
    #[allow(clippy::too_many_arguments)]
    pub(super) unsafe fn columns(
        &self,
        kernel: &'static str,
        rows: usize,
        width: usize,
        columns: usize,
        before: &[Operand<'_>],
        after: &[Operand<'_>],
        out: View<'_>,
    ) {
        let threads = if width.is_multiple_of(SPAN) { width / SPAN } else { width };
        let blocks = (threads.div_ceil(SPAN_THREADS), SPAN_THREADS);
        // SAFETY: passed on to the caller.
        unsafe { self.columns_by(kernel, rows, blocks, columns, before, after, out) };
    }

    /// The same with so many blocks of so many threads for each chunk of rows.
    ///
    /// # Safety
    /// As for [`Self::columns`].
    #[allow(clippy::too_many_arguments)]
    pub(super) unsafe fn columns_by(
        &self,
        kernel: &'static str,
        rows: usize,
        (blocks, threads): (usize, usize),
        columns: usize,
        before: &[Operand<'_>],
        after: &[Operand<'_>],
        out: View<'_>,
    ) {
        let chunks = rows.div_ceil(ROWS_A_CHUNK);
        let partial = Buffer::unset(&self.shared, chunks * columns);
        let partial = values(&partial, DType::F32, chunks * columns);
        let operands = [before, &[partial], after, &[len64(rows)]].concat();
        // SAFETY: passed on to the caller; a chunk a block, and the partial sums have room for all chunks.
        unsafe { self.launch(kernel, [chunks, blocks], threads as u32, &operands) };
        let operands = [partial, in_view(out, DType::F32, columns), len32(columns), len32(chunks)];
        // SAFETY: `column_sums` reads [chunks, columns] values and adds to as many as there are columns.
        unsafe { self.launch("column_sums", [columns.div_ceil(WARP), 1], THREADS, &operands) };
    }
}
