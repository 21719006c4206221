//! What a device must be able to do.

use super::operands::{
    AttentionInputs, ChannelRow, FusedMixInputs, FusedMixOutputs, GateShape, GatedSkip, Heads, Linear, Mix, MixGrads,
    Norm, PendingResidual, QkNormRope, Qkv, Skip, Smear, WriteMode,
};

/// Operations of the network on a device's buffers.
///
/// Activations are row-major `[tokens, width]`, rows of a batch one after another; weights are `[out, in]`.
/// `grad_*` arguments are added to unless said otherwise. A device may store activations and matrices in fewer bits; vectors
/// of channels and gradients of parameters are in single precision everywhere.
///
/// Methods with a body are made of others; a device that can do them in one pass does.
pub(in crate::engine) trait Kernels: Send + Sync {
    /// Values on the device.
    type Buffer: Send + Sync;
    /// Cosines and sines of positions.
    type Tables: Send + Sync;
    /// Row numbers: tokens, rows of the bigram table.
    type Ids: Send + Sync;

    /// Activations that are zero.
    fn zeros(&self, len: usize) -> Self::Buffer;
    /// Activations of no particular size, to be overwritten.
    fn unset(&self, len: usize) -> Self::Buffer;
    /// Gradients of parameters, zero.
    fn gradients(&self, len: usize) -> Self::Buffer {
        self.zeros(len)
    }
    /// Values as they are.
    fn upload(&self, values: &[f32]) -> Self::Buffer;
    /// Activations or a matrix.
    fn store(&self, values: &[f32]) -> Self::Buffer {
        self.upload(values)
    }
    /// Row numbers of a table of `rows` rows, all of them below that.
    fn ids(&self, ids: &[u32], rows: usize) -> Self::Ids;
    fn download(&self, buffer: Self::Buffer) -> Vec<f32>;
    /// Cosines and sines of every position.
    fn rope_tables(&self, tables: &crate::model::RopeTables) -> Self::Tables;

    /// The last `keep` values of every `row` values.
    fn tails(&self, x: &Self::Buffer, row: usize, keep: usize) -> Self::Buffer;
    /// A copy.
    fn copy(&self, x: &Self::Buffer) -> Self::Buffer;
    /// `sum += x`.
    fn add(&self, x: &Self::Buffer, sum: &mut Self::Buffer);

    /// Rows `ids` of a table.
    fn gather(&self, table: &Self::Buffer, ids: &Self::Ids, width: usize) -> Self::Buffer;
    /// Adds each row of `grad` to the row of the table it came from.
    fn scatter(&self, grad: &Self::Buffer, ids: &Self::Ids, width: usize, grad_table: &mut Self::Buffer);

    /// What results of the forward pass are rounded to. Channel scales are folded into the matrices they follow in
    /// single precision and stand apart in bfloat16, which could not hold the folded matrix.
    fn precision(&self) -> crate::engine::Precision;

    /// Whether the forward pass keeps what the backward pass could make again from less: memory for time. The bits are the
    /// same either way.
    fn keeps(&self) -> bool {
        false
    }

    /// `y (+)= x W^T`.
    fn linear(&self, dims: Linear, x: &Self::Buffer, w: &Self::Buffer, mode: WriteMode, y: &mut Self::Buffer);
    /// The projection that ends attention or the MLP: adds `scale (x W^T)` by channel to the residual stream `y` and
    /// returns `None`, or returns the product for [`Kernels::add_residual`] to add later.
    ///
    /// In single precision the scale is in the matrix already; in bfloat16 the product is rounded before it is scaled.
    fn residual_projection(
        &self,
        dims: Linear,
        x: &Self::Buffer,
        w: &Self::Buffer,
        scale: &Self::Buffer,
        y: &mut Self::Buffer,
    ) -> Option<Self::Buffer>;
    /// Whether [`Kernels::residual_projection`] adds its product itself.
    fn projection_adds_residual(&self) -> bool {
        true
    }
    /// Adds the product of a [`Kernels::residual_projection`] that returned one.
    fn add_residual(&self, residual: Option<PendingResidual<'_, Self>>, x: &mut Self::Buffer) {
        if let Some(PendingResidual { product, scale, width }) = residual {
            self.add_skip(product, scale, ChannelRow { row: 0, width }, x);
        }
    }
    /// `grad_x (+)= grad_y W`.
    fn linear_grad_x(
        &self,
        s: Linear,
        grad_y: &Self::Buffer,
        w: &Self::Buffer,
        mode: WriteMode,
        grad_x: &mut Self::Buffer,
    );
    /// `grad_w += grad_y^T x`.
    fn linear_grad_w(&self, dims: Linear, grad_y: &Self::Buffer, x: &Self::Buffer, grad_w: &mut Self::Buffer);

    /// Matrices that one input is multiplied with, as the device wants them for [`Kernels::qkv`].
    fn stacked(&self, matrices: [Self::Buffer; 3]) -> [Self::Buffer; 3] {
        matrices
    }
    /// Queries, keys and values of an input. What comes out is read by [`Kernels::qk_norm_rope`], [`Kernels::attention`] and
    /// their gradients, and by nothing else: a device may have them side by side in one buffer.
    fn qkv(&self, dims: Qkv, x: &Self::Buffer, w: [&Self::Buffer; 3]) -> [Self::Buffer; 3] {
        qkv_after(self, dims, x, w)
    }
    /// From the gradients that [`Kernels::attention_inputs_grad`] returned: adds to those of the matrices; `grad_x (+)=` that
    /// of the input.
    fn qkv_grad(
        &self,
        dims: Qkv,
        grads: [&Self::Buffer; 3],
        (x, w): (&Self::Buffer, [&Self::Buffer; 3]),
        grad_w: [&mut Self::Buffer; 3],
        (mode, grad_x): (WriteMode, &mut Self::Buffer),
    ) {
        qkv_grad_after(self, dims, grads, (x, w), grad_w, (mode, grad_x));
    }

    /// `factor * x / sqrt(mean(x^2) + eps)` over rows.
    fn rms_norm(&self, x: &Self::Buffer, norm: Norm) -> Self::Buffer;
    /// `grad_x (+)=` the gradient by the norm's argument.
    fn rms_norm_grad(
        &self,
        x: &Self::Buffer,
        grad_y: &Self::Buffer,
        norm: Norm,
        mode: WriteMode,
        grad_x: &mut Self::Buffer,
    );
    /// [`Kernels::residual_projection`] and [`Kernels::add_residual`] in one.
    fn project_into_residual(
        &self,
        dims: Linear,
        x: &Self::Buffer,
        w: &Self::Buffer,
        scale: &Self::Buffer,
        y: &mut Self::Buffer,
    ) {
        let product = self.residual_projection(dims, x, w, scale, y);
        self.add_residual(product.as_ref().map(|product| PendingResidual { product, scale, width: dims.outputs }), y);
    }
    /// [`Kernels::add_residual`], then the norm of `x`.
    fn add_residual_rms_norm(
        &self,
        residual: Option<PendingResidual<'_, Self>>,
        norm: Norm,
        x: &mut Self::Buffer,
    ) -> Self::Buffer {
        self.add_residual(residual, x);
        self.rms_norm(x, norm)
    }
    /// The mixture of `x` and `x0`, and its norm.
    fn mix_rms_norm(&self, x: &Self::Buffer, mix: Mix<'_, Self>, norm: Norm) -> [Self::Buffer; 2] {
        let mixed = self.mix(x, mix.x0, mix.weights);
        let normed = self.rms_norm(&mixed, norm);
        [mixed, normed]
    }
    /// What a block begins with: adds the pending residual and the skip to `x`, mixes in `x0` and normalizes the mixture.
    fn fused_mix_rms_norm(&self, x: Self::Buffer, inputs: FusedMixInputs<'_, Self>) -> FusedMixOutputs<Self::Buffer> {
        mixed_after(self, x, inputs)
    }

    /// `(1 - g) a[t] + g a[t - 1]`, `g = sigmoid(gate)`, nothing before position 0 nor, where the tokens are given, before
    /// a begin mark.
    fn smear(&self, a: &Self::Buffer, smear: Smear<'_, Self>) -> Self::Buffer;
    /// [`Kernels::smear`] of the norm of `x`, whose rows are as wide as the gate.
    fn norm_smear(&self, x: &Self::Buffer, smear: Smear<'_, Self>, width: usize) -> Self::Buffer {
        self.smear(&self.rms_norm(x, Norm::of(width)), smear)
    }
    fn smear_grad(
        &self,
        a: &Self::Buffer,
        smear: Smear<'_, Self>,
        grad_y: &Self::Buffer,
        grad_a: &mut Self::Buffer,
        grad_gate: &mut Self::Buffer,
    );

    /// `mix[0] * x + mix[1] * x0` by channel.
    fn mix(&self, x: &Self::Buffer, x0: &Self::Buffer, mix: &Self::Buffer) -> Self::Buffer;
    /// Turns `grad`, the gradient of the mixture, into that of `x` in place.
    fn mix_grad(
        &self,
        x: &Self::Buffer,
        x0: &Self::Buffer,
        mix: &Self::Buffer,
        grad: &mut Self::Buffer,
        grad_x0: &mut Self::Buffer,
        grad_mix: &mut Self::Buffer,
    );

    /// The gradient of [`Kernels::mix_rms_norm`]: [`Kernels::rms_norm_grad`] of the mixture, then [`Kernels::mix_grad`].
    /// `mixed` is the mixture, where it is at hand.
    fn mix_rms_norm_grad(
        &self,
        (x, mixed): (&Self::Buffer, Option<&Self::Buffer>),
        mix: Mix<'_, Self>,
        (norm, grad_normed): (Norm, &Self::Buffer),
        grads: MixGrads<'_, Self::Buffer>,
    ) {
        mix_rms_norm_grad_after(self, (x, mixed), mix, (norm, grad_normed), grads);
    }

    /// `x += weights[row] * skip` by channel.
    fn add_skip(&self, skip: &Self::Buffer, weights: &Self::Buffer, row: ChannelRow, x: &mut Self::Buffer);
    /// Replaces `grad_skip`, adds to `grad_weights`.
    fn add_skip_grad(
        &self,
        skip: &Self::Buffer,
        weights: &Self::Buffer,
        row: ChannelRow,
        grad_x: &Self::Buffer,
        grad_skip: &mut Self::Buffer,
        grad_weights: &mut Self::Buffer,
    );

    /// `x = g x + (1 - g) (weights[row] * skip)` by channel, `g = sigmoid(gates[row])`.
    fn add_gated_skip(&self, skip: GatedSkip<'_, Self>, x: &mut Self::Buffer);
    /// Given `x` as it was before, turns `grad`, the gradient of the sum, into that of `x` in place; replaces `grad_skip`,
    /// adds to `grad_channels`, the gradients of weights and gates.
    fn add_gated_skip_grad(
        &self,
        skip: GatedSkip<'_, Self>,
        x: &Self::Buffer,
        grad: &mut Self::Buffer,
        grad_skip: &mut Self::Buffer,
        grad_channels: [&mut Self::Buffer; 2],
    );

    /// `v += scales[0] * scales[1] * e`, the scales one value each.
    fn add_value_embedding(&self, e: &Self::Buffer, scales: [&Self::Buffer; 2], v: &mut Self::Buffer);
    /// Adds to `grad_e` and to the scales' gradients. `width` is that of a row.
    fn add_value_embedding_grad(
        &self,
        e: &Self::Buffer,
        scales: [&Self::Buffer; 2],
        width: usize,
        grad_v: &Self::Buffer,
        grad_e: &mut Self::Buffer,
        grad_scales: [&mut Self::Buffer; 2],
    );

    /// `m lanes[0] + (1 - m) lanes[1]`, m one value.
    fn merge_lanes(&self, lanes: [&Self::Buffer; 2], m: &Self::Buffer) -> Self::Buffer;
    /// Gradients of the lanes; adds to `grad_m`. `width` is that of a row.
    fn merge_lanes_grad(
        &self,
        lanes: [&Self::Buffer; 2],
        m: &Self::Buffer,
        width: usize,
        grad: &Self::Buffer,
        grad_m: &mut Self::Buffer,
    ) -> [Self::Buffer; 2];

    /// QK norm and RoPE: normalizes each head, rotates by its position as many of its first coordinates as the tables have
    /// angles for, and multiplies it by its gain, if it has one.
    ///
    /// `first` is the position of the first token of each row of `rows` tokens.
    fn qk_norm_rope(&self, x: &Self::Buffer, shape: QkNormRope<'_, Self>) -> Self::Buffer;
    /// Replaces `grad_x`, adds to `grad_gain`.
    fn qk_norm_rope_grad(
        &self,
        x: &Self::Buffer,
        shape: QkNormRope<'_, Self>,
        grad_y: &Self::Buffer,
        grad_x: &mut Self::Buffer,
        grad_gain: Option<&mut Self::Buffer>,
    );

    /// Causal attention; also each query's logsumexp of its scores (`lse`), `[tokens, heads]`.
    fn attention(&self, heads: Heads, qkv: [&Self::Buffer; 3]) -> (Self::Buffer, Self::Buffer);
    /// Gradients of queries, keys and values, given outputs `[mixed, lse]` and the gradient of `mixed`.
    fn attention_grad(
        &self,
        heads: Heads,
        qkv: [&Self::Buffer; 3],
        outputs: [&Self::Buffer; 2],
        grad: &Self::Buffer,
    ) -> [Self::Buffer; 3];

    /// [`Kernels::attention_grad`] and both [`Kernels::qk_norm_rope_grad`]: gradients of queries, keys and values as their
    /// linears made them. Adds to `grad_gain`, the queries'.
    fn attention_inputs_grad(
        &self,
        heads: Heads,
        inputs: AttentionInputs<'_, Self>,
        grad_gain: &mut Self::Buffer,
    ) -> [Self::Buffer; 3] {
        attention_inputs_grad_after(self, heads, inputs, grad_gain)
    }

    /// What points along the query's own value taken out of attention's output (XSA): of query head h with the value v of
    /// its token, `y_h = m_h - (m_h . u) u`, `u = v / max(|v|, 1e-12)`.
    fn exclude_own_value(&self, heads: Heads, mixed: &Self::Buffer, v: &Self::Buffer) -> Self::Buffer;
    /// Turns `grad`, the gradient of y, into that of `mixed` in place; returns the gradient of `v`. All queries of a row
    /// must be present.
    fn exclude_own_value_grad(
        &self,
        heads: Heads,
        mixed: &Self::Buffer,
        v: &Self::Buffer,
        grad: &mut Self::Buffer,
    ) -> Self::Buffer;

    /// Attention's outputs, each head multiplied by its gate: `[x, weights, mixed]`, x being the tokens' inputs and `weights`
    /// `[heads, window]`.
    fn gate_heads(&self, shape: GateShape, operands: [&Self::Buffer; 3]) -> Self::Buffer;
    /// Turns `grad`, the gradient of what is gated, into that of `mixed` in place; returns the gradients of the gates'
    /// arguments `w_h . x[..window]`, `[tokens, heads]` in single precision.
    fn gate_heads_grad(&self, shape: GateShape, operands: [&Self::Buffer; 3], grad: &mut Self::Buffer) -> Self::Buffer;
    /// Adds to the gradients of x and of the weights: `[gradients of the arguments, x, weights]`.
    fn gate_input_grad(
        &self,
        shape: GateShape,
        operands: [&Self::Buffer; 3],
        grad_x: &mut Self::Buffer,
        grad_weights: &mut Self::Buffer,
    );

    /// `(max(x, 0) + slope min(x, 0))^2`.
    fn leaky_relu_squared(&self, x: &Self::Buffer, slope: f32) -> Self::Buffer;
    /// Turns `grad`, the gradient of the square, into that of `x` in place.
    fn leaky_relu_squared_grad(&self, x: &Self::Buffer, slope: f32, grad: &mut Self::Buffer);
    /// [`Kernels::leaky_relu_squared`] of `x W^T`, and `x W^T` itself if it is to be kept.
    fn squared_linear(
        &self,
        dims: Linear,
        x: &Self::Buffer,
        w: &Self::Buffer,
        slope: f32,
        keep: bool,
    ) -> (Self::Buffer, Option<Self::Buffer>) {
        squared_after(self, dims, x, w, slope, keep)
    }
    /// From the gradient of the squared `hidden` times `W^T`, replaces `grad_hidden`.
    fn squared_linear_grad(
        &self,
        dims: Linear,
        grad_y: &Self::Buffer,
        w: &Self::Buffer,
        hidden: &Self::Buffer,
        slope: f32,
        grad_hidden: &mut Self::Buffer,
    ) {
        squared_after_grad(self, dims, grad_y, w, hidden, slope, grad_hidden);
    }

    /// Softcapped logits `[tokens, outputs]`.
    fn logits(&self, dims: Linear, x: &Self::Buffer, head: &Self::Buffer, cap: f32) -> Self::Buffer;
    /// Negative log-likelihood of each target.
    fn nll(&self, dims: Linear, x: &Self::Buffer, head: &Self::Buffer, cap: f32, targets: &Self::Ids) -> Self::Buffer;
    /// [`Kernels::nll`], and the gradients of `weight` times their sum: replaces `grad_x`, adds to `grad_head`.
    #[allow(clippy::too_many_arguments)]
    fn nll_grad(
        &self,
        dims: Linear,
        x: &Self::Buffer,
        head: &Self::Buffer,
        cap: f32,
        targets: &Self::Ids,
        weight: f32,
        grad_x: &mut Self::Buffer,
        grad_head: &mut Self::Buffer,
    ) -> Self::Buffer;
}

/// [`Kernels::qkv`] in three products.
pub(in crate::engine) fn qkv_after<K: Kernels + ?Sized>(
    k: &K,
    dims: Qkv,
    x: &K::Buffer,
    w: [&K::Buffer; 3],
) -> [K::Buffer; 3] {
    let [query, key, value] = dims.linears();
    let [w_query, w_key, w_value] = w;
    let linear = |dims: Linear, w| {
        let mut y = k.unset(dims.tokens * dims.outputs);
        k.linear(dims, x, w, WriteMode::Overwrite, &mut y);
        y
    };
    [linear(query, w_query), linear(key, w_key), linear(value, w_value)]
}

/// [`Kernels::qkv_grad`] in six products.
pub(in crate::engine) fn qkv_grad_after<K: Kernels + ?Sized>(
    k: &K,
    dims: Qkv,
    grads: [&K::Buffer; 3],
    (x, w): (&K::Buffer, [&K::Buffer; 3]),
    grad_w: [&mut K::Buffer; 3],
    (mode, grad_x): (WriteMode, &mut K::Buffer),
) {
    for ((dims, grad), grad_w) in dims.linears().into_iter().zip(grads).zip(grad_w) {
        k.linear_grad_w(dims, grad, x, grad_w);
    }
    let modes = [mode, WriteMode::Accumulate, WriteMode::Accumulate];
    for (((dims, grad), w), mode) in dims.linears().into_iter().zip(grads).zip(w).zip(modes) {
        k.linear_grad_x(dims, grad, w, mode, grad_x);
    }
}

/// [`Kernels::attention_inputs_grad`] in several passes.
pub(in crate::engine) fn attention_inputs_grad_after<K: Kernels + ?Sized>(
    k: &K,
    heads: Heads,
    inputs: AttentionInputs<'_, K>,
    grad_gain: &mut K::Buffer,
) -> [K::Buffer; 3] {
    let AttentionInputs { projected, rotated: [q, key], shapes, outputs, grad, own_value } = inputs;
    let ([query_made, key_made, v], [q_shape, k_shape]) = (projected, shapes);
    let [grad_q, grad_k, mut grad_v] = k.attention_grad(heads, [&q, &key, v], outputs, grad);
    let (mut grad_query, mut grad_key) = (q, key);
    k.qk_norm_rope_grad(query_made, q_shape, &grad_q, &mut grad_query, Some(grad_gain));
    k.qk_norm_rope_grad(key_made, k_shape, &grad_k, &mut grad_key, None);
    if let Some(own_value) = own_value {
        k.add(&own_value, &mut grad_v);
    }
    [grad_query, grad_key, grad_v]
}

/// [`Kernels::squared_linear`] in two passes.
pub(in crate::engine) fn squared_after<K: Kernels + ?Sized>(
    k: &K,
    dims: Linear,
    x: &K::Buffer,
    w: &K::Buffer,
    slope: f32,
    keep: bool,
) -> (K::Buffer, Option<K::Buffer>) {
    let mut hidden = k.unset(dims.tokens * dims.outputs);
    k.linear(dims, x, w, WriteMode::Overwrite, &mut hidden);
    let squared = k.leaky_relu_squared(&hidden, slope);
    (squared, keep.then_some(hidden))
}

/// [`Kernels::squared_linear_grad`] in two passes.
pub(in crate::engine) fn squared_after_grad<K: Kernels + ?Sized>(
    k: &K,
    dims: Linear,
    grad_y: &K::Buffer,
    w: &K::Buffer,
    hidden: &K::Buffer,
    slope: f32,
    grad_hidden: &mut K::Buffer,
) {
    k.linear_grad_x(dims, grad_y, w, WriteMode::Overwrite, grad_hidden);
    k.leaky_relu_squared_grad(hidden, slope, grad_hidden);
}

/// [`Kernels::mix_rms_norm_grad`] in two passes.
pub(in crate::engine) fn mix_rms_norm_grad_after<K: Kernels + ?Sized>(
    k: &K,
    (x, mixed): (&K::Buffer, Option<&K::Buffer>),
    mix: Mix<'_, K>,
    (norm, grad_normed): (Norm, &K::Buffer),
    grads: MixGrads<'_, K::Buffer>,
) {
    let made = mixed.is_none().then(|| k.mix(x, mix.x0, mix.weights));
    if let Some(mixed) = mixed.or(made.as_ref()) {
        k.rms_norm_grad(mixed, grad_normed, norm, WriteMode::Accumulate, grads.mixed);
    }
    k.mix_grad(x, mix.x0, mix.weights, grads.mixed, grads.x0, grads.weights);
}

/// [`Kernels::fused_mix_rms_norm`] in several passes.
pub(in crate::engine) fn mixed_after<K: Kernels + ?Sized>(
    k: &K,
    mut x: K::Buffer,
    inputs: FusedMixInputs<'_, K>,
) -> FusedMixOutputs<K::Buffer> {
    let before = (inputs.keep_input && inputs.residual.is_some()).then(|| k.copy(&x));
    k.add_residual(inputs.residual, &mut x);
    if let Some(Skip { output, weights, row }) = inputs.skip {
        k.add_skip(output, weights, row, &mut x);
    }
    match inputs.mix {
        Some(mix) => {
            let [mixed, normed] = k.mix_rms_norm(&x, mix, inputs.norm);
            FusedMixOutputs { input: inputs.keep_input.then_some(x), before, mixed, normed }
        }
        None => {
            let (normed, input) = (k.rms_norm(&x, inputs.norm), inputs.keep_input.then(|| k.copy(&x)));
            FusedMixOutputs { input, before, mixed: x, normed }
        }
    }
}
