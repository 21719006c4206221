//! Weights in the form the network uses, and gradients of the weights as they are stored.

use std::ops::Range;
use std::sync::Arc;

use super::arena::{Arena, Members, Scales, Transformed};
use super::sums::DOUBLE;
use crate::engine::EngineError;
use crate::engine::cuda::backend::qkv::can_be_stacked;
use crate::engine::cuda::backend::{CudaKernels, Operand, in_view, len32, len64, optional, values};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::error::DeviceError;
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::{Kernels, Network, Scaled};
use crate::model::{ModelConfig, ParamRole};
use crate::optim::FakeQuant;

const F32: DType = DType::F32;

/// One value for each of the arena's.
pub(super) type Flat<D> = Arc<Buffer<D>>;

/// The weights that a network in training uses.
pub(super) struct EffectiveWeights<D: Device> {
    /// Stored as activations are; in bfloat16 without the controls, which stay in single precision. In single precision,
    /// scales are folded into the matrices before them.
    plain: Flat<D>,
    /// In bfloat16: matrices with their scales folded in, for the backward pass, and the bigram table's scale for every
    /// channel.
    folded: Option<(Flat<D>, Arc<Buffer<D>>)>,
    /// In bfloat16: of each block the matrices of queries, keys and values, one after another, for one product.
    stacked: Option<Flat<D>>,
}

/// Of a block, the matrices that are stacked.
const STACKED: [&str; 3] = ["attn.c_q.weight", "attn.c_k.weight", "attn.c_v.weight"];

/// Where a matrix is in the arena and among the stacked.
type Places = (Range<usize>, Range<usize>);

/// Where those of a block are.
fn stacked_places(arena: &Arena, block: usize) -> Result<[Places; 3], DeviceError> {
    let [queries, keys, values] = STACKED.map(|part| arena.place(&format!("blocks.{block}.{part}")));
    let places = [queries?, keys?, values?];
    // Every block has matrices of the same shapes.
    let mut start = block * places.iter().map(Range::len).sum::<usize>();
    Ok(places.map(|place| {
        let own = start..start + place.len();
        start = own.end;
        (place, own)
    }))
}

impl<D: Device> EffectiveWeights<D> {
    /// Room for them, zeros between the parameters.
    pub fn new(k: &CudaKernels<D>, arena: &Arena, config: &ModelConfig) -> Self {
        let zeros = || Arc::new(k.zeros(arena.len()));
        let folded = match k.dtype() {
            DType::F32 => None,
            DType::Bf16 => Some((zeros(), Arc::new(k.gradients(config.model_dim)))),
        };
        let last = config.num_layers.checked_sub(1).and_then(|last| stacked_places(arena, last).ok());
        let lens = |places: &[Places; 3]| places.each_ref().map(|(place, _)| place.len());
        let last = last.filter(|places| can_be_stacked(k.dtype(), lens(places)));
        let stacked = last.map(|[.., (_, own)]| Arc::new(k.zeros(own.end)));
        EffectiveWeights { plain: zeros(), folded, stacked }
    }

    /// All of them in the arena's order, but for the controls of bfloat16.
    #[cfg(test)]
    pub fn plain(&self) -> &Buffer<D> {
        &self.plain
    }

    /// The network whose parameters these are, and in bfloat16 the matrices of its backward pass.
    #[allow(clippy::type_complexity)]
    pub fn network(
        &self,
        config: &ModelConfig,
        arena: &Arena,
        weights: &Flat<D>,
    ) -> Result<(Network<Buffer<D>>, Option<Scaled<Buffer<D>>>), EngineError> {
        let mut network = Network::build(config, &mut |spec| {
            let is_apart = spec.role == ParamRole::Control && self.folded.is_some();
            part(arena, if is_apart { weights } else { &self.plain }, &spec.name)
        })?;
        if let Some(stacked) = &self.stacked {
            for (i, block) in network.blocks.iter_mut().enumerate() {
                let [queries, keys, values] = stacked_places(arena, i)?.map(|(_, own)| Buffer::part(stacked, own));
                (block.c_q, block.c_k, block.c_v) = (queries?, keys?, values?);
            }
        }
        let Some((folded, channels)) = &self.folded else { return Ok((network, None)) };
        if let Some(bigram) = &mut network.bigram {
            bigram.scale = Buffer::part(channels, 0..channels.len())?;
        }
        let all = flat_network(config, arena, folded)?;
        let blocks = all.blocks.into_iter().map(|block| [block.attn_proj, block.mlp_proj]).collect();
        Ok((network, Some(Scaled { blocks, projection: all.bigram.and_then(|bigram| bigram.projection) })))
    }
}

/// A parameter out of an allocation in the arena's order.
fn part<D: Device>(arena: &Arena, flat: &Flat<D>, name: &str) -> Result<Buffer<D>, EngineError> {
    Ok(Buffer::part(flat, arena.place(name)?)?)
}

/// An allocation in the arena's order as a network.
pub(super) fn flat_network<D: Device>(
    config: &ModelConfig,
    arena: &Arena,
    flat: &Flat<D>,
) -> Result<Network<Buffer<D>>, EngineError> {
    Network::build(config, &mut |spec| part(arena, flat, &spec.name))
}

impl<D: Device> CudaKernels<D> {
    /// Makes them from the weights as they are stored: block linears rounded to their grids if asked for, scales folded in
    /// or kept apart.
    ///
    /// The same numbers as `fold(&fake_quant.applied(weights))`, rounded to what stores them.
    pub(super) fn make_effective(
        &self,
        arena: &Arena,
        weights: &Buffer<D>,
        effective: &EffectiveWeights<D>,
        fake_quant: FakeQuant,
    ) {
        let plain = &effective.plain;
        match plain.dtype() {
            DType::F32 => self.shared.copy(weights.view(), plain.view()),
            DType::Bf16 => self.narrow(weights, plain, arena.role(ParamRole::Control).start),
        }
        for transformed in arena.transformed(&Members::ALL) {
            if grid(transformed, fake_quant) != 0.0 || transformed.scales.is_some() {
                self.transform(transformed, weights, effective, fake_quant);
            }
        }
        if let Some(stacked) = &effective.stacked {
            let places = (0..).map_while(|block| stacked_places(arena, block).ok());
            for (place, own) in places.flatten() {
                let (Some(from), Some(to)) = (self.slice(plain, place), self.slice(stacked, own)) else { return };
                self.shared.copy(from, to);
            }
        }
        if let (Some((_, channels)), Some(scale)) = (&effective.folded, arena.bigram_scale()) {
            let n = channels.len();
            let Some(scale) = self.slice(weights, scale..scale + 1) else { return };
            // SAFETY: `repeat` reads one value and writes n.
            unsafe { self.each("repeat", n, &[in_view(scale, F32, 1), values(channels, F32, n)]) };
        }
    }

    /// Rounds the first n values of an allocation to bfloat16.
    fn narrow(&self, from: &Buffer<D>, to: &Buffer<D>, n: usize) {
        let (Some(from), Some(to)) = (self.slice(from, 0..n), self.slice(to, 0..n)) else { return };
        // SAFETY: `narrow` reads n values and writes as many.
        unsafe { self.spans("narrow", n, &[in_view(from, F32, n), in_view(to, DType::Bf16, n)]) };
    }

    fn transform(
        &self,
        transformed: Transformed,
        weights: &Buffer<D>,
        effective: &EffectiveWeights<D>,
        fake_quant: FakeQuant,
    ) {
        let matrices = transformed.matrices;
        let (plain, n, rows) = (&effective.plain, matrices.values().len(), matrices.count * matrices.rows);
        let dtype = plain.dtype();
        let matrices_of = |buffer| self.slice(buffer, matrices.values());
        let (out, folded) = match (&effective.folded, transformed.scales) {
            (_, None) => (matrices_of(plain), None),
            // A table's rows are read as they are.
            (Some((folded, _)), Some(_)) if !transformed.is_table => (matrices_of(plain), matrices_of(folded)),
            (_, Some(_)) => (None, matrices_of(plain)),
        };
        let Some(stored) = matrices_of(weights) else { return };
        let operands = [
            in_view(stored, F32, n),
            optional(out, dtype, n),
            optional(folded, dtype, n),
            self.scales_in(weights, transformed),
            Operand::F32(grid(transformed, fake_quant)),
        ];
        let operands = [&operands[..], &stack(transformed)].concat();
        // SAFETY: the kernel reads rows of all matrices and a scale of each, and writes as many to what is not null.
        unsafe { self.rows(dtype.select(["effective_rows", "effective_rows_bf16"]), rows, &operands) };
    }

    /// The scales of some matrices, in a buffer in the arena's order; nothing where they have none.
    fn scales_in<'a>(&self, buffer: &'a Buffer<D>, transformed: Transformed) -> Operand<'a> {
        let Some(scales) = transformed.scales else { return Operand::Null };
        let n = scales.extent(transformed.matrices.count);
        optional(self.slice(buffer, scales.start..scales.start + n), F32, n)
    }

    /// Turns gradients of what [`Self::make_effective`] made into those of the weights, in place.
    pub(super) fn unfold(
        &self,
        transformed: &[Transformed],
        weights: &Buffer<D>,
        gradients: &Buffer<D>,
        fake_quant: FakeQuant,
    ) {
        for &one in transformed {
            let Some(Scales { len, stride, .. }) = one.scales else { continue };
            let (matrices, n) = (one.matrices, one.matrices.values().len());
            let rows = matrices.count * matrices.rows;
            let dots = Buffer::<D>::unset(&self.shared, DOUBLE * rows);
            let dots = values(&dots, F32, DOUBLE * rows);
            let in_arena = (self.slice(weights, matrices.values()), self.slice(gradients, matrices.values()));
            let (Some(stored), Some(gradient)) = in_arena else { return };
            let before = [
                in_view(stored, F32, n),
                in_view(gradient, F32, n),
                self.scales_in(weights, one),
                dots,
                Operand::F32(grid(one, fake_quant)),
            ];
            let operands = [dots, self.scales_in(gradients, one), len32(matrices.rows), len32(len), len64(stride)];
            // SAFETY: `unfold_rows` reads rows of all matrices, their scales and gradients, and writes a double for each row;
            // `scale_gradients` reads those and writes a gradient for each scale.
            unsafe {
                self.rows("unfold_rows", rows, &[&before[..], &stack(one)].concat());
                self.each("scale_gradients", matrices.count * len, &operands);
            }
        }
    }
}

/// The kernels' `limit`: 0 for what is not rounded.
fn grid(transformed: Transformed, fake_quant: FakeQuant) -> f32 {
    fake_quant.grid(transformed.limit).unwrap_or(0.0)
}

/// Dimensions and strides of matrices and scales.
fn stack<'a>(Transformed { matrices, scales, .. }: Transformed) -> [Operand<'a>; 5] {
    [
        len32(matrices.rows),
        len32(matrices.columns),
        len64(matrices.stride),
        len32(scales.map_or(0, |scales| scales.len)),
        len64(scales.map_or(0, |scales| scales.stride)),
    ]
}
