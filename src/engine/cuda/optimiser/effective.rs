//! Weights as the network sees them, and gradients of the weights as they are.

use super::arena::{Arena, Scales, Seen};
use super::sums::DOUBLE;
use crate::engine::FakeQuant;
use crate::engine::cuda::backend::{CudaKernels, len32, len64, offset};
use crate::engine::cuda::device::{Argument, Device};
use crate::engine::cuda::memory::Buffer;

impl<D: Device> CudaKernels<D> {
    /// Copies the weights, block linears rounded to their grids if asked for, scales folded into what they follow.
    ///
    /// The same numbers as `fold(&fake_quantise(weights))`.
    pub(super) fn see(&self, arena: &Arena, weights: &Buffer<D>, effective: &Buffer<D>, fake_quant: FakeQuant) {
        self.shared.run(|device| device.copy(weights.address(), effective.address(), weights.bytes()));
        for seen in arena.seen() {
            let limit = grid(seen, fake_quant);
            if limit == 0.0 && seen.scales.is_none() {
                continue;
            }
            let start = seen.matrices.start;
            let [place, seen_place] = [weights, effective].map(|buffer| Argument::Address(offset(buffer, start)));
            let scale = Argument::Address(seen.scales.map_or(0, |scales| offset(weights, scales.start)));
            let arguments = [&[place, seen_place, scale, Argument::F32(limit)], &stack(seen)[..]].concat();
            self.rows("effective_rows", seen.matrices.count * seen.matrices.rows, &arguments);
        }
    }

    /// Turns gradients of what [`Self::see`] made into those of the weights, in place.
    pub(super) fn unfold(&self, arena: &Arena, weights: &Buffer<D>, gradients: &Buffer<D>, fake_quant: FakeQuant) {
        for seen in arena.seen() {
            let Some(Scales { start, len, stride }) = seen.scales else { continue };
            let (matrices, rows) = (seen.matrices, seen.matrices.count * seen.matrices.rows);
            let dots = Buffer::<D>::unset(&self.shared, DOUBLE * rows);
            let before = [
                Argument::Address(offset(weights, matrices.start)),
                Argument::Address(offset(gradients, matrices.start)),
                Argument::Address(offset(weights, start)),
                Argument::Address(dots.address()),
                Argument::F32(grid(seen, fake_quant)),
            ];
            self.rows("unfold_rows", rows, &[&before, &stack(seen)[..]].concat());
            let arguments = [
                Argument::Address(dots.address()),
                Argument::Address(offset(gradients, start)),
                len32(matrices.rows),
                len32(len),
                len64(stride),
            ];
            self.each("scale_gradients", matrices.count * len, &arguments);
        }
    }
}

/// The kernels' `limit`: 0 for what is not rounded.
fn grid(seen: Seen, fake_quant: FakeQuant) -> f32 {
    match fake_quant {
        FakeQuant::Off => 0.0,
        FakeQuant::On => seen.limit.unwrap_or(0.0),
    }
}

/// Sides and distances of matrices and scales.
fn stack(Seen { matrices, scales, .. }: Seen) -> [Argument; 5] {
    [
        len32(matrices.rows),
        len32(matrices.columns),
        len64(matrices.stride),
        len32(scales.map_or(0, |scales| scales.len)),
        len64(scales.map_or(0, |scales| scales.stride)),
    ]
}
