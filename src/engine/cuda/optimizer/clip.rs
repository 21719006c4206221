//! What gradients are multiplied by, and whether a step is taken at all.

use crate::engine::cuda::backend::CudaKernels;
use crate::engine::cuda::device::{Argument, Device};

/// Threads of a block of which one does the work: a warp.
const THREADS: u32 = 32;

impl<D: Device> CudaKernels<D> {
    /// Puts at `out` how many of the doubles at `losses` are no finite numbers: a float, so that ranks can add theirs.
    pub(super) fn count_bad(&self, losses: u64, count: usize, out: u64) {
        let arguments = [Argument::Address(losses), Argument::U32(count as u32), Argument::Address(out)];
        self.launch("count_bad", [1, 1], THREADS, &arguments);
    }

    /// Puts at `factor` what makes the norm at most `max_norm`, given its square and the number of bad losses of all
    /// ranks; negative where the step is not to be taken.
    pub(super) fn clip_factor(&self, square: u64, bad: u64, max_norm: f64, factor: u64) {
        let addresses = [square, bad].map(Argument::Address);
        let arguments = [&addresses[..], &[Argument::F64(max_norm), Argument::Address(factor)]].concat();
        self.launch("clip_factor", [1, 1], THREADS, &arguments);
    }
}
