//! Sums in double precision that stay on the device.

use crate::engine::cuda::backend::{CudaKernels, Operand, in_view, len32, len64, values};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::view::View;

/// Values whose sum one block makes (`VALUES_A_BLOCK` in `sums.cu`).
const VALUES_A_BLOCK: usize = 8192;
/// Threads of a block that sums.
const THREADS: u32 = 256;
/// Single-precision values a double takes the room of.
pub(super) const DOUBLE: usize = 2;

/// What is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Summed {
    Values,
    Squares,
}

impl<D: Device> CudaKernels<D> {
    /// Room for so many doubles.
    pub(super) fn doubles(&self, count: usize) -> Buffer<D> {
        Buffer::unset(&self.shared, DOUBLE * count)
    }

    /// Sums of `count` arrays of `n` values of a buffer that begin `stride` values apart and fill it.
    pub(super) fn sums(&self, x: &Buffer<D>, summed: Summed, count: usize, stride: usize, n: usize) -> Buffer<D> {
        self.check_at_most("sum_parts", "values of an array", n, stride);
        let out = self.doubles(count);
        let parts = self.parts(x.view(), summed, count, stride, n);
        self.totals(&parts, out.view(), count, false);
        out
    }

    /// Adds the sum of single-precision values to a double on the device, or writes it there.
    pub(super) fn sum_to(&self, x: View<'_>, summed: Summed, out: View<'_>, add: bool) {
        let parts = self.parts(x, summed, 1, x.len(), x.len());
        self.totals(&parts, out, 1, add);
    }

    fn parts(&self, x: View<'_>, summed: Summed, count: usize, stride: usize, n: usize) -> Buffer<D> {
        let (dtype, parts) = (x.dtype(), n.div_ceil(VALUES_A_BLOCK).max(1));
        let partial = self.doubles(count * parts);
        let operands = [
            in_view(x, dtype, count * stride),
            values(&partial, DType::F32, DOUBLE * count * parts),
            Operand::Flag(summed == Summed::Squares),
            len32(parts),
            len64(stride),
            len64(n),
        ];
        // SAFETY: `sum_parts` reads n values of each array, which are no more than its stride, and writes a double for each
        // of its parts.
        unsafe { self.launch(dtype.select(["sum_parts", "sum_parts_bf16"]), [count * parts, 1], THREADS, &operands) };
        partial
    }

    fn totals(&self, partial: &Buffer<D>, out: View<'_>, count: usize, add: bool) {
        let parts = partial.len() / DOUBLE / count.max(1);
        let operands = [
            values(partial, DType::F32, DOUBLE * count * parts),
            in_view(out, DType::F32, DOUBLE * count),
            len32(parts),
            Operand::Flag(add),
        ];
        // SAFETY: `sum_totals` reads the parts of each array and writes a double for it.
        unsafe { self.launch("sum_totals", [count, 1], THREADS, &operands) };
    }

    /// The doubles of a buffer, on the host.
    pub(super) fn read_doubles(&self, buffer: &Buffer<D>) -> Result<Vec<f64>, DeviceError> {
        let values = self.read(buffer);
        self.check()?;
        let (pairs, rest) = values.as_chunks::<DOUBLE>();
        if !rest.is_empty() {
            let (operation, operand, expected) = ("copy from the device", "doubles".into(), DOUBLE * pairs.len());
            return Err(DeviceError::Length { operation, operand, found: values.len(), expected });
        }
        let double =
            |[low, high]: &[f32; DOUBLE]| f64::from_bits(u64::from(low.to_bits()) | u64::from(high.to_bits()) << 32);
        Ok(pairs.iter().map(double).collect())
    }
}
