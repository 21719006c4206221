//! Weights as the network sees them, and gradients of the weights as they are.

use std::sync::Arc;

use super::arena::{Arena, Members, Scales, Seen};
use super::sums::DOUBLE;
use crate::engine::FakeQuant;
use crate::engine::cuda::backend::{CudaKernels, len32, len64, offset};
use crate::engine::cuda::device::{Argument, DType, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::{Kernels, Network, Scaled};
use crate::model::{ModelConfig, ParamRole, layout};

/// One value for each place of the arena.
pub(super) type Whole<D> = Arc<Buffer<D>>;

/// The weights a network in training sees.
pub(super) struct Effective<D: Device> {
    /// Stored as activations are, those with a place before the controls in bfloat16. In single precision, scales are
    /// folded into what they follow.
    plain: Whole<D>,
    /// In bfloat16: matrices with their scales folded in, for the backward pass, and the bigram table's scale for every
    /// channel.
    folded: Option<(Whole<D>, Arc<Buffer<D>>)>,
}

impl<D: Device> Effective<D> {
    /// Room for them, zeros between their places.
    pub fn new(k: &CudaKernels<D>, arena: &Arena, config: &ModelConfig) -> Self {
        let zeros = || Arc::new(k.zeros(arena.len()));
        let folded = match k.dtype() {
            DType::F32 => None,
            DType::Bf16 => Some((zeros(), Arc::new(k.gradients(config.model_dim)))),
        };
        Effective { plain: zeros(), folded }
    }

    /// All of them as they lie, but for the controls of bfloat16.
    #[cfg(test)]
    pub fn plain(&self) -> &Buffer<D> {
        &self.plain
    }

    /// The network whose parameters these are, and in bfloat16 the matrices of its backward pass.
    pub fn network(
        &self,
        config: &ModelConfig,
        arena: &Arena,
        weights: &Whole<D>,
    ) -> (Network<Buffer<D>>, Option<Scaled<Buffer<D>>>) {
        let mut places = arena.places().into_iter().zip(layout(config));
        let mut network = Network::build(config, &mut || match places.next() {
            Some((place, spec)) if spec.role == ParamRole::Control && self.folded.is_some() => {
                Buffer::part(weights, place)
            }
            Some((place, _)) => Buffer::part(&self.plain, place),
            None => Buffer::part(&self.plain, 0..0),
        });
        let Some((folded, repeated)) = &self.folded else { return (network, None) };
        if let Some(bigram) = &mut network.bigram {
            bigram.scale = Buffer::part(repeated, 0..repeated.len());
        }
        let mut places = arena.places().into_iter();
        let all = Network::build(config, &mut || Buffer::part(folded, places.next().unwrap_or_default()));
        let blocks = all.blocks.into_iter().map(|block| [block.attn_proj, block.mlp_proj]).collect();
        (network, Some(Scaled { blocks, projection: all.bigram.and_then(|bigram| bigram.projection) }))
    }
}

impl<D: Device> CudaKernels<D> {
    /// Makes them: block linears rounded to their grids if asked for, scales folded in or apart.
    ///
    /// The same numbers as `fold(&fake_quantise(weights))`, rounded to what stores them.
    pub(super) fn see(&self, arena: &Arena, weights: &Buffer<D>, effective: &Effective<D>, fake_quant: FakeQuant) {
        let plain = &effective.plain;
        match plain.dtype() {
            DType::F32 => {
                self.shared.run(|device| device.copy(weights.address(), plain.address(), weights.bytes()));
            }
            DType::Bf16 => {
                let arguments = [Argument::Address(weights.address()), Argument::Address(plain.address())];
                self.spans("narrow", arena.role(ParamRole::Control).start, &arguments);
            }
        }
        for seen in arena.seen(&Members::ALL) {
            let limit = grid(seen, fake_quant);
            if limit == 0.0 && seen.scales.is_none() {
                continue;
            }
            let start = seen.matrices.start;
            let at = |buffer: &Buffer<D>| Argument::Address(offset(buffer, start));
            let nothing = Argument::Address(0);
            let [out, folded] = match (&effective.folded, seen.scales) {
                (_, None) => [at(plain), nothing],
                // A table's rows are read as they are.
                (Some((folded, _)), Some(_)) if !seen.is_table => [at(plain), at(folded)],
                (_, Some(_)) => [nothing, at(plain)],
            };
            let scale = Argument::Address(seen.scales.map_or(0, |scales| offset(weights, scales.start)));
            let arguments = [&[at(weights), out, folded, scale, Argument::F32(limit)], &stack(seen)[..]].concat();
            let kernel = plain.dtype().select(["effective_rows", "effective_rows_bf16"]);
            self.rows(kernel, seen.matrices.count * seen.matrices.rows, &arguments);
        }
        if let (Some((_, repeated)), Some(scale)) = (&effective.folded, arena.bigram_scale()) {
            let arguments = [Argument::Address(offset(weights, scale)), Argument::Address(repeated.address())];
            self.each("repeat", repeated.len(), &arguments);
        }
    }

    /// Turns gradients of what [`Self::see`] made into those of the weights, in place.
    pub(super) fn unfold(&self, seen: &[Seen], weights: &Buffer<D>, gradients: &Buffer<D>, fake_quant: FakeQuant) {
        for &seen in seen {
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
