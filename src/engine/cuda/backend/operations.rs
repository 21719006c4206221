//! The network's operations on a device: [`Kernels`] for [`CudaKernels`].

use super::loss::Head;
use super::{
    CudaKernels, Ids, Tables, attention, elementwise, embedding, gated_skip, head_gate, linear, norm, own_value, qkv,
    residual, scalars,
};
use crate::engine::Precision;
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::network::{
    AttentionInputs, ChannelRow, FusedMixInputs, FusedMixOutputs, GateShape, GatedSkip, Heads, Kernels, Linear, Mix,
    MixGrads, Norm, PendingResidual, QkNormRope, Qkv, Smear, WriteMode, squared_after, squared_after_grad,
};
use crate::model::RopeTables;

impl<D: Device> Kernels for CudaKernels<D> {
    type Buffer = Buffer<D>;
    type Tables = Tables<D>;
    type Ids = Ids<D>;

    fn zeros(&self, len: usize) -> Buffer<D> {
        self.cleared(self.unset(len))
    }

    fn unset(&self, len: usize) -> Buffer<D> {
        self.buffer_of(self.dtype(), len)
    }

    fn gradients(&self, len: usize) -> Buffer<D> {
        self.cleared(Buffer::unset(&self.shared, len))
    }

    fn store(&self, values: &[f32]) -> Buffer<D> {
        match self.dtype() {
            DType::F32 => self.upload(values),
            DType::Bf16 => {
                let half = |value: f32| u32::from(half::bf16::from_f32(value).to_bits());
                let word = |pair: &[f32]| half(pair[0]) | pair.get(1).map_or(0, |&high| half(high) << 16);
                let words: Vec<u32> = values.chunks(2).map(word).collect();
                let buffer = self.unset(values.len());
                self.shared.write(buffer.view(), &words);
                buffer
            }
        }
    }

    fn ids(&self, ids: &[u32], rows: usize) -> Ids<D> {
        self.upload_ids(ids, rows)
    }

    fn upload(&self, values: &[f32]) -> Buffer<D> {
        Buffer::of_bits(&self.shared, &values.iter().map(|value| value.to_bits()).collect::<Vec<_>>())
    }

    fn download(&self, buffer: Buffer<D>) -> Vec<f32> {
        self.read(&buffer)
    }

    fn rope_tables(&self, tables: &RopeTables) -> Tables<D> {
        let kept = |&value: &f32| match self.precision {
            Precision::F32 => value,
            Precision::Bf16 => half::bf16::from_f32(value).to_f32(),
        };
        let table = |values: &[f32]| self.upload(&values.iter().map(kept).collect::<Vec<_>>());
        Tables { cos: table(&tables.cos), sin: table(&tables.sin), half: tables.half }
    }

    fn tails(&self, x: &Buffer<D>, row: usize, keep: usize) -> Buffer<D> {
        embedding::tails(self, x, row, keep)
    }

    fn copy(&self, x: &Buffer<D>) -> Buffer<D> {
        let y = self.like(x);
        self.shared.copy(x.view(), y.view());
        y
    }

    fn add(&self, x: &Buffer<D>, sum: &mut Buffer<D>) {
        self.add_views(x.view(), sum.view());
    }

    fn gather(&self, table: &Buffer<D>, ids: &Ids<D>, width: usize) -> Buffer<D> {
        embedding::gather(self, table, ids, width)
    }

    fn scatter(&self, grad: &Buffer<D>, ids: &Ids<D>, width: usize, grad_table: &mut Buffer<D>) {
        embedding::scatter(self, grad, ids, width, grad_table);
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn keeps(&self) -> bool {
        self.keeps
    }

    fn linear(&self, s: Linear, x: &Buffer<D>, w: &Buffer<D>, mode: WriteMode, y: &mut Buffer<D>) {
        linear::linear(self, s, x, w, mode, y);
    }

    fn residual_projection(
        &self,
        s: Linear,
        x: &Buffer<D>,
        w: &Buffer<D>,
        _scale: &Buffer<D>,
        y: &mut Buffer<D>,
    ) -> Option<Buffer<D>> {
        if self.projection_adds_residual() {
            linear::linear(self, s, x, w, WriteMode::Accumulate, y);
            return None;
        }
        let product = self.unset(s.tokens * s.outputs);
        linear::linear(self, s, x, w, WriteMode::Overwrite, &product);
        Some(product)
    }

    fn project_into_residual(&self, s: Linear, x: &Buffer<D>, w: &Buffer<D>, scale: &Buffer<D>, y: &mut Buffer<D>) {
        match self.precision {
            Precision::F32 => linear::linear(self, s, x, w, WriteMode::Accumulate, y),
            Precision::Bf16 => self.fused_residual_add(s, [x, w, scale, &*y].map(Buffer::view)),
        }
    }

    fn projection_adds_residual(&self) -> bool {
        self.precision == Precision::F32
    }

    fn linear_grad_x(&self, s: Linear, grad_y: &Buffer<D>, w: &Buffer<D>, mode: WriteMode, grad_x: &mut Buffer<D>) {
        self.gemm(&linear::by_inputs(s, mode, [grad_y, w, &*grad_x].map(Buffer::view)));
    }

    fn linear_grad_w(&self, s: Linear, grad_y: &Buffer<D>, x: &Buffer<D>, grad_w: &mut Buffer<D>) {
        self.gemm(&linear::by_weights(s, [grad_y, x, &*grad_w].map(Buffer::view)));
    }

    fn stacked(&self, matrices: [Buffer<D>; 3]) -> [Buffer<D>; 3] {
        qkv::stacked(self, matrices)
    }

    fn qkv(&self, dims: Qkv, x: &Buffer<D>, w: [&Buffer<D>; 3]) -> [Buffer<D>; 3] {
        qkv::qkv(self, dims, x, w)
    }

    fn qkv_grad(
        &self,
        dims: Qkv,
        grads: [&Buffer<D>; 3],
        operands: (&Buffer<D>, [&Buffer<D>; 3]),
        grad_w: [&mut Buffer<D>; 3],
        to: (WriteMode, &mut Buffer<D>),
    ) {
        qkv::qkv_grad(self, dims, grads, operands, grad_w, to);
    }

    fn rms_norm(&self, x: &Buffer<D>, norm: Norm) -> Buffer<D> {
        norm::rms_norm(self, x, norm)
    }

    fn rms_norm_grad(&self, x: &Buffer<D>, grad_y: &Buffer<D>, norm: Norm, mode: WriteMode, grad_x: &mut Buffer<D>) {
        norm::rms_norm_grad(self, x, grad_y, norm, mode, grad_x);
    }

    fn norm_smear(&self, x: &Buffer<D>, smear: Smear<'_, Self>, width: usize) -> Buffer<D> {
        norm::norm_smear(self, x, smear, width)
    }

    fn add_residual_rms_norm(
        &self,
        residual: Option<PendingResidual<'_, Self>>,
        norm: Norm,
        x: &mut Buffer<D>,
    ) -> Buffer<D> {
        residual::add_residual_rms_norm(self, residual, norm, x)
    }

    fn mix_rms_norm(&self, x: &Buffer<D>, mix: Mix<'_, Self>, norm: Norm) -> [Buffer<D>; 2] {
        residual::mix_rms_norm(self, x, mix, norm)
    }

    fn fused_mix_rms_norm(&self, x: Buffer<D>, inputs: FusedMixInputs<'_, Self>) -> FusedMixOutputs<Buffer<D>> {
        residual::fused_mix_rms_norm(self, x, inputs)
    }

    fn smear(&self, a: &Buffer<D>, smear: Smear<'_, Self>) -> Buffer<D> {
        elementwise::smear(self, a, smear)
    }

    fn smear_grad(
        &self,
        a: &Buffer<D>,
        smear: Smear<'_, Self>,
        grad_y: &Buffer<D>,
        grad_a: &mut Buffer<D>,
        grad_gate: &mut Buffer<D>,
    ) {
        elementwise::smear_grad(self, [a, grad_y], smear, grad_a, grad_gate);
    }

    fn mix(&self, x: &Buffer<D>, x0: &Buffer<D>, mix: &Buffer<D>) -> Buffer<D> {
        let [mixed, _] = self.mix_rms_norm(x, Mix { x0, weights: mix }, Norm::of(mix.len() / 2));
        mixed
    }

    fn mix_grad(
        &self,
        x: &Buffer<D>,
        x0: &Buffer<D>,
        mix: &Buffer<D>,
        grad: &mut Buffer<D>,
        grad_x0: &mut Buffer<D>,
        grad_mix: &mut Buffer<D>,
    ) {
        elementwise::mix_grad(self, [x, x0, mix], grad, grad_x0, grad_mix);
    }

    fn mix_rms_norm_grad(
        &self,
        inputs: (&Buffer<D>, Option<&Buffer<D>>),
        mix: Mix<'_, Self>,
        normed: (Norm, &Buffer<D>),
        grads: MixGrads<'_, Buffer<D>>,
    ) {
        residual::mix_rms_norm_grad(self, inputs, mix, normed, grads);
    }

    fn add_skip(&self, skip: &Buffer<D>, weights: &Buffer<D>, row: ChannelRow, x: &mut Buffer<D>) {
        elementwise::add_skip(self, skip, weights, row, x);
    }

    fn add_skip_grad(
        &self,
        skip: &Buffer<D>,
        weights: &Buffer<D>,
        row: ChannelRow,
        grad_x: &Buffer<D>,
        grad_skip: &mut Buffer<D>,
        grad_weights: &mut Buffer<D>,
    ) {
        elementwise::add_skip_grad(self, [skip, weights, grad_x], row, grad_skip, grad_weights);
    }

    fn add_gated_skip(&self, skip: GatedSkip<'_, Self>, x: &mut Buffer<D>) {
        gated_skip::add(self, skip, x);
    }

    fn add_gated_skip_grad(
        &self,
        skip: GatedSkip<'_, Self>,
        x: &Buffer<D>,
        grad: &mut Buffer<D>,
        grad_skip: &mut Buffer<D>,
        grad_channels: [&mut Buffer<D>; 2],
    ) {
        gated_skip::add_grad(self, skip, x, grad, grad_skip, grad_channels.map(|channels| &*channels));
    }

    fn add_value_embedding(&self, e: &Buffer<D>, scales: [&Buffer<D>; 2], v: &mut Buffer<D>) {
        scalars::add_scaled(self, e, scales, v);
    }

    fn add_value_embedding_grad(
        &self,
        e: &Buffer<D>,
        scales: [&Buffer<D>; 2],
        width: usize,
        grad_v: &Buffer<D>,
        grad_e: &mut Buffer<D>,
        grad_scales: [&mut Buffer<D>; 2],
    ) {
        scalars::add_scaled_grad(self, [e, grad_v], scales, width, grad_e, grad_scales.map(|scale| &*scale));
    }

    fn merge_lanes(&self, lanes: [&Buffer<D>; 2], m: &Buffer<D>) -> Buffer<D> {
        scalars::merge(self, lanes, m)
    }

    fn merge_lanes_grad(
        &self,
        lanes: [&Buffer<D>; 2],
        m: &Buffer<D>,
        width: usize,
        grad: &Buffer<D>,
        grad_m: &mut Buffer<D>,
    ) -> [Buffer<D>; 2] {
        scalars::merge_grad(self, lanes, m, width, grad, grad_m)
    }

    fn qk_norm_rope(&self, x: &Buffer<D>, shape: QkNormRope<'_, Self>) -> Buffer<D> {
        norm::qk_norm_rope(self, x, shape)
    }

    fn qk_norm_rope_grad(
        &self,
        x: &Buffer<D>,
        shape: QkNormRope<'_, Self>,
        grad_y: &Buffer<D>,
        grad_x: &mut Buffer<D>,
        grad_gain: Option<&mut Buffer<D>>,
    ) {
        norm::qk_norm_rope_grad(self, x, shape, grad_y, grad_x, grad_gain.map(|gain| &*gain));
    }

    fn attention(&self, heads: Heads, qkv: [&Buffer<D>; 3]) -> (Buffer<D>, Buffer<D>) {
        attention::attention(self, heads, qkv)
    }

    fn attention_grad(
        &self,
        heads: Heads,
        qkv: [&Buffer<D>; 3],
        outputs: [&Buffer<D>; 2],
        grad: &Buffer<D>,
    ) -> [Buffer<D>; 3] {
        attention::attention_grad(self, heads, qkv, outputs, grad)
    }

    fn attention_inputs_grad(
        &self,
        heads: Heads,
        inputs: AttentionInputs<'_, Self>,
        grad_gain: &mut Buffer<D>,
    ) -> [Buffer<D>; 3] {
        attention::attention_inputs_grad(self, heads, inputs, grad_gain)
    }

    fn exclude_own_value(&self, heads: Heads, mixed: &Buffer<D>, v: &Buffer<D>) -> Buffer<D> {
        own_value::exclude(self, heads, mixed, v)
    }

    fn exclude_own_value_grad(
        &self,
        heads: Heads,
        mixed: &Buffer<D>,
        v: &Buffer<D>,
        grad: &mut Buffer<D>,
    ) -> Buffer<D> {
        own_value::exclude_grad(self, heads, mixed, v, grad)
    }

    fn gate_heads(&self, shape: GateShape, operands: [&Buffer<D>; 3]) -> Buffer<D> {
        head_gate::gate(self, shape, operands)
    }

    fn gate_heads_grad(&self, shape: GateShape, operands: [&Buffer<D>; 3], grad: &mut Buffer<D>) -> Buffer<D> {
        head_gate::gate_grad(self, shape, operands, grad)
    }

    fn gate_input_grad(
        &self,
        shape: GateShape,
        operands: [&Buffer<D>; 3],
        grad_x: &mut Buffer<D>,
        grad_weights: &mut Buffer<D>,
    ) {
        head_gate::gate_input_grad(self, shape, operands, grad_x, grad_weights);
    }

    fn leaky_relu_squared(&self, x: &Buffer<D>, slope: f32) -> Buffer<D> {
        elementwise::leaky_relu_squared(self, x, slope)
    }

    fn leaky_relu_squared_grad(&self, x: &Buffer<D>, slope: f32, grad: &mut Buffer<D>) {
        elementwise::leaky_relu_squared_grad(self, x, slope, grad);
    }

    fn squared_linear(
        &self,
        s: Linear,
        x: &Buffer<D>,
        w: &Buffer<D>,
        slope: f32,
        keep: bool,
    ) -> (Buffer<D>, Option<Buffer<D>>) {
        match self.precision {
            Precision::F32 => squared_after(self, s, x, w, slope, keep),
            Precision::Bf16 => {
                let squared = self.unset(s.tokens * s.outputs);
                let hidden = keep.then(|| self.unset(squared.len()));
                let kept = hidden.as_ref().map(Buffer::view);
                self.fused_squared(s, slope, [x, w, &squared].map(Buffer::view), kept);
                (squared, hidden)
            }
        }
    }

    fn squared_linear_grad(
        &self,
        s: Linear,
        grad_y: &Buffer<D>,
        w: &Buffer<D>,
        hidden: &Buffer<D>,
        slope: f32,
        grad_hidden: &mut Buffer<D>,
    ) {
        match self.precision {
            Precision::F32 => squared_after_grad(self, s, grad_y, w, hidden, slope, grad_hidden),
            Precision::Bf16 => {
                let operands = [grad_y, w, hidden, &*grad_hidden].map(Buffer::view);
                self.fused_squared_grad(s, slope, operands);
            }
        }
    }

    fn logits(&self, s: Linear, x: &Buffer<D>, head: &Buffer<D>, cap: f32) -> Buffer<D> {
        Head { dims: s, x, weights: head, cap }.logits(self)
    }

    fn nll(&self, s: Linear, x: &Buffer<D>, head: &Buffer<D>, cap: f32, targets: &Ids<D>) -> Buffer<D> {
        Head { dims: s, x, weights: head, cap }.nll(self, targets)
    }

    fn nll_grad(
        &self,
        s: Linear,
        x: &Buffer<D>,
        head: &Buffer<D>,
        cap: f32,
        targets: &Ids<D>,
        weight: f32,
        grad_x: &mut Buffer<D>,
        grad_head: &mut Buffer<D>,
    ) -> Buffer<D> {
        Head { dims: s, x, weights: head, cap }.nll_grad(self, targets, weight, grad_x, grad_head)
    }
}
