//! The factor that clips the gradients, and whether a step is taken at all.

use super::sums::DOUBLE;
use crate::engine::cuda::backend::{CudaKernels, Operand, in_view, len32};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::view::View;

/// Threads of a block of which one does the work: a warp.
const THREADS: u32 = 32;

impl<D: Device> CudaKernels<D> {
    /// Writes to `out` how many of the doubles are not finite: a float, so that ranks can add theirs.
    pub(super) fn count_bad(&self, losses: View<'_>, out: View<'_>) {
        let count = losses.len() / DOUBLE;
        let operands = [in_view(losses, DType::F32, DOUBLE * count), len32(count), in_view(out, DType::F32, 1)];
        // SAFETY: `count_bad` reads so many doubles and writes one float.
        unsafe { self.launch("count_bad", [1, 1], THREADS, &operands) };
    }

    /// Writes to `factor` what makes the norm at most `max_norm`, given its square (a double) and the number of losses of
    /// all ranks that are not finite; negative where the step is not to be taken.
    pub(super) fn clip_factor(&self, square: View<'_>, bad: View<'_>, max_norm: f64, factor: View<'_>) {
        let operands = [
            in_view(square, DType::F32, DOUBLE),
            in_view(bad, DType::F32, 1),
            Operand::F64(max_norm),
            in_view(factor, DType::F32, 1),
        ];
        // SAFETY: `clip_factor` reads a double and a float and writes a float.
        unsafe { self.launch("clip_factor", [1, 1], THREADS, &operands) };
    }
}
