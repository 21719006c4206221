//! Sums in double precision that stay on the device.

use crate::engine::cuda::backend::{CudaKernels, len32, len64};
use crate::engine::cuda::device::{Argument, DType, Device};
use crate::engine::cuda::memory::Buffer;

/// Values whose sum one block makes (`VALUES_A_BLOCK` in `sums.cu`).
const VALUES_A_BLOCK: usize = 8192;
/// Threads of a block that sums.
const THREADS: u32 = 256;
/// Single-precision places a double takes.
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

    /// Sums of `count` arrays of `n` values of a buffer that begin `stride` values apart.
    pub(super) fn sums(&self, x: &Buffer<D>, summed: Summed, count: usize, stride: usize, n: usize) -> Buffer<D> {
        let out = self.doubles(count);
        let parts = self.parts((x.address(), x.dtype()), summed, count, stride, n);
        self.totals(&parts, out.address(), count, false);
        out
    }

    /// Adds a sum of `n` single-precision values to a double on the device, or puts it there.
    pub(super) fn sum_to(&self, x: u64, summed: Summed, n: usize, out: u64, add: bool) {
        let parts = self.parts((x, DType::F32), summed, 1, n, n);
        self.totals(&parts, out, 1, add);
    }

    fn parts(&self, x: (u64, DType), summed: Summed, count: usize, stride: usize, n: usize) -> Buffer<D> {
        let parts = n.div_ceil(VALUES_A_BLOCK).max(1);
        let partial = self.doubles(count * parts);
        let arguments = [
            Argument::Address(x.0),
            Argument::Address(partial.address()),
            Argument::U32(u32::from(summed == Summed::Squares)),
            len32(parts),
            len64(stride),
            len64(n),
        ];
        self.launch(x.1.select(["sum_parts", "sum_parts_bf16"]), [count * parts, 1], THREADS, &arguments);
        partial
    }

    fn totals(&self, partial: &Buffer<D>, out: u64, count: usize, add: bool) {
        let parts = partial.len() / DOUBLE / count.max(1);
        let add = Argument::U32(u32::from(add));
        let arguments = [Argument::Address(partial.address()), Argument::Address(out), len32(parts), add];
        self.launch("sum_totals", [count, 1], THREADS, &arguments);
    }

    /// The doubles of a buffer, on the host.
    pub(super) fn read_doubles(&self, buffer: &Buffer<D>) -> Vec<f64> {
        let values = self.read(buffer);
        let double = |halves: &[f32]| match *halves {
            [low, high] => f64::from_bits(u64::from(low.to_bits()) | u64::from(high.to_bits()) << 32),
            _ => f64::NAN,
        };
        values.chunks(DOUBLE).map(double).collect()
    }
}
