//! Shapes and groups of arguments of [`Kernels`]' operations.

use super::traits::Kernels;

/// Whether a result overwrites its destination or is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum WriteMode {
    Overwrite,
    Accumulate,
}

/// Dimensions of a linear layer applied to some tokens.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Linear {
    pub tokens: usize,
    pub inputs: usize,
    pub outputs: usize,
}

/// One row of a small matrix of channel weights.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct ChannelRow {
    pub row: usize,
    pub width: usize,
}

impl ChannelRow {
    /// Where it lies in the matrix.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.row * self.width..(self.row + 1) * self.width
    }
}

/// A norm of rows: `factor * x / sqrt(mean(x^2) + eps)`.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Norm {
    /// Values of a row.
    pub width: usize,
    /// What the norm is multiplied by.
    pub factor: f32,
}

impl Norm {
    /// The norm alone.
    pub fn of(width: usize) -> Self {
        Norm { width, factor: 1.0 }
    }
}

/// Heads laid side by side in a row of activations.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Heads {
    /// Tokens in a row of the batch; positions count from 0 in each.
    pub seq_len: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; query head `h` reads `h / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// Width of a head.
    pub width: usize,
    /// Queries begin at this position of every row; the ones before it are not computed.
    pub first_query: usize,
}

impl Heads {
    /// Queries in a row.
    pub fn queries(&self) -> usize {
        self.seq_len - self.first_query
    }

    /// What a query's product with a key is multiplied by: `1 / sqrt(width)`.
    pub fn score_scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

/// Shape of [`Kernels::gate_heads`]: `factor * sigmoid(slope * w_h . x[..window])` for each head h.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct GateShape {
    /// Channels of a token's input x.
    pub inputs: usize,
    /// Channels that the gate reads, from the first on.
    pub window: usize,
    /// Heads side by side in a row of outputs, and their width.
    pub heads: usize,
    pub width: usize,
    pub factor: f32,
    pub slope: f32,
}

/// Parameters of [`Kernels::smear`].
pub(in crate::engine) struct Smear<'a, K: Kernels + ?Sized> {
    /// One value a channel.
    pub gate: &'a K::Buffer,
    pub seq_len: usize,
    /// The tokens, where a begin mark takes nothing from the position before.
    pub begins: Option<&'a K::Ids>,
}

/// The product of a residual projection that has not been added to the residual stream yet.
pub(in crate::engine) struct PendingResidual<'a, K: Kernels + ?Sized> {
    pub product: &'a K::Buffer,
    /// By channel.
    pub scale: &'a K::Buffer,
    /// Channels.
    pub width: usize,
}

impl<'a, K: Kernels + ?Sized> PendingResidual<'a, K> {
    /// What a [`Kernels::residual_projection`] has returned.
    pub fn of(product: &'a Option<K::Buffer>, scale: &'a K::Buffer, width: usize) -> Option<Self> {
        product.as_ref().map(|product| PendingResidual { product, scale, width })
    }
}

/// An encoder block's output on its way into a decoder block.
pub(in crate::engine) struct Skip<'a, K: Kernels + ?Sized> {
    pub output: &'a K::Buffer,
    pub weights: &'a K::Buffer,
    pub row: ChannelRow,
}

/// An encoder block's output on its way into a decoder block, weighed against the stream.
pub(in crate::engine) struct GatedSkip<'a, K: Kernels + ?Sized> {
    pub output: &'a K::Buffer,
    pub weights: &'a K::Buffer,
    pub gates: &'a K::Buffer,
    /// Of weights and gates.
    pub row: ChannelRow,
}

/// What a block mixes into its input.
pub(in crate::engine) struct Mix<'a, K: Kernels + ?Sized> {
    /// The network's first activations.
    pub x0: &'a K::Buffer,
    /// Two rows of channel weights: of the input, of `x0`.
    pub weights: &'a K::Buffer,
}

/// Gradients that [`Kernels::mix_rms_norm_grad`] changes.
pub(in crate::engine) struct MixGrads<'a, B> {
    /// Of the mixture where it does not come from its norm; becomes that of what `x0` is mixed into.
    pub mixed: &'a mut B,
    /// Added to.
    pub x0: &'a mut B,
    /// Added to.
    pub weights: &'a mut B,
}

/// Arguments of [`Kernels::fused_mix_rms_norm`].
pub(in crate::engine) struct FusedMixInputs<'a, K: Kernels + ?Sized> {
    pub residual: Option<PendingResidual<'a, K>>,
    pub skip: Option<Skip<'a, K>>,
    /// None: the mixture is the input.
    pub mix: Option<Mix<'a, K>>,
    pub norm: Norm,
    /// Whether the block's input is wanted too.
    pub keep_input: bool,
}

/// Results of [`Kernels::fused_mix_rms_norm`].
pub(in crate::engine) struct FusedMixOutputs<B> {
    /// `x` with residual and skip added, if `keep_input` was set.
    pub input: Option<B>,
    /// `x` as it came in, where the input is wanted and a residual was added to it.
    pub before: Option<B>,
    pub mixed: B,
    pub normed: B,
}

/// Shape and parameters of [`Kernels::qk_norm_rope`].
pub(in crate::engine) struct QkNormRope<'a, K: Kernels + ?Sized> {
    /// Heads side by side in a row of activations.
    pub heads: usize,
    /// Width of a head.
    pub width: usize,
    /// Tokens of each row of the batch that are present.
    pub tokens_per_row: usize,
    /// Position of the first of them.
    pub first: usize,
    /// One factor a head.
    pub gain: Option<&'a K::Buffer>,
    pub tables: &'a K::Tables,
}

/// The linear layers of queries, keys and values, which read the same rows.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Qkv {
    pub tokens: usize,
    pub inputs: usize,
    /// Outputs of queries, and of keys and of values each.
    pub queries: usize,
    pub keys: usize,
    /// Width of a head.
    pub head: usize,
}

impl Qkv {
    /// Outputs of the three.
    pub fn outputs(&self) -> [usize; 3] {
        [self.queries, self.keys, self.keys]
    }

    /// The three.
    pub fn linears(&self) -> [Linear; 3] {
        self.outputs().map(|outputs| Linear { tokens: self.tokens, inputs: self.inputs, outputs })
    }
}

/// What the gradients of attention, and of what comes before it, are made of.
pub(in crate::engine) struct AttentionInputs<'a, K: Kernels + ?Sized> {
    /// Queries and keys as their linears made them, values as attention read them.
    pub projected: [&'a K::Buffer; 3],
    /// Queries and keys as attention read them.
    pub rotated: [K::Buffer; 2],
    /// Of queries and keys.
    pub shapes: [QkNormRope<'a, K>; 2],
    /// Attention's output, and `lse`.
    pub outputs: [&'a K::Buffer; 2],
    /// The gradient of the output.
    pub grad: &'a K::Buffer,
    /// What else is added to the gradient of values.
    pub own_value: Option<K::Buffer>,
}

impl<K: Kernels + ?Sized> Clone for QkNormRope<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Kernels + ?Sized> Copy for QkNormRope<'_, K> {}

impl<K: Kernels + ?Sized> Clone for Smear<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Kernels + ?Sized> Copy for Smear<'_, K> {}

impl<K: Kernels + ?Sized> Clone for Mix<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Kernels + ?Sized> Copy for Mix<'_, K> {}
