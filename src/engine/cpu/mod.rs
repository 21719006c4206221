//! The backend that runs everywhere: plain memory, one thread a task.
//!
//! Matrix products are the tile unit's where there is one and blocked assembly's elsewhere, the rest are loops over
//! slices compiled for the widest vectors the processor has. Every sum has a fixed order and no loop contracts
//! multiplications with additions, so that vector width does not show in the elementwise part.

mod attention;
mod bf16;
mod buffer;
mod decoder;
#[cfg(test)]
mod differences;
mod elementwise;
mod engine;
mod exponential;
mod gated_skip;
mod head_gate;
mod heads;
mod layer_inputs;
mod loss;
mod matmul;
mod matrix;
mod norm;
mod own_value;
mod scalars;
mod softmax;
mod thin;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tile_registers;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tiles;

use self::buffer::Buffer;
pub use self::decoder::{Decoder, Decoding};
pub use self::engine::KernelsEngine;
pub use self::layer_inputs::LayerInputs;
use self::matrix::{rows, rows_mut};
use super::network::{ChannelRow, GateShape, GatedSkip, Heads, Kernels, Linear, Norm, QkNormRope, Smear, WriteMode};
use crate::engine::{Precision, isa};
use crate::model::RopeTables;

/// Whether this process multiplies on the processor's tile unit.
pub(crate) fn uses_tiles() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    return tiles::available();
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    false
}

/// The processor, one thread of it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct CpuKernels {
    /// What values are rounded to after every operation of the forward pass.
    pub precision: Precision,
}

impl CpuKernels {
    fn round(&self, values: &mut [f32]) {
        if self.precision == Precision::Bf16 {
            bf16::round(values);
        }
    }

    fn rounded(&self, mut values: Buffer) -> Buffer {
        self.round(&mut values);
        values
    }
}

/// Runs a loop compiled for the widest vectors the processor has and `--isa` allows.
#[inline(always)]
fn vectorized<R>(body: impl FnOnce() -> R) -> R {
    arch().dispatch(body)
}

#[inline(always)]
fn arch() -> pulp::Arch {
    #[cfg(target_arch = "x86_64")]
    if isa::held_to_avx2()
        && let Some(v3) = pulp::x86::V3::try_new()
    {
        return pulp::Arch::V3(v3);
    }
    pulp::Arch::new()
}

impl Kernels for CpuKernels {
    type Buffer = Buffer;
    type Tables = RopeTables;
    type Ids = Vec<u32>;

    fn zeros(&self, len: usize) -> Buffer {
        Buffer::zeros(len)
    }

    fn unset(&self, len: usize) -> Buffer {
        Buffer::unset(len)
    }

    fn upload(&self, values: &[f32]) -> Buffer {
        Buffer::copy_of(values)
    }

    fn ids(&self, ids: &[u32], _rows: usize) -> Vec<u32> {
        ids.to_vec()
    }

    fn download(&self, buffer: Buffer) -> Vec<f32> {
        buffer.into_vec()
    }

    fn rope_tables(&self, tables: &RopeTables) -> RopeTables {
        let mut tables = tables.clone();
        self.round(&mut tables.cos);
        self.round(&mut tables.sin);
        tables
    }

    fn tails(&self, x: &Buffer, row: usize, keep: usize) -> Buffer {
        let mut y = Buffer::unset(x.len() / row * keep);
        for (y, x) in y.chunks_exact_mut(keep).zip(x.chunks_exact(row)) {
            y.copy_from_slice(&x[row - keep..]);
        }
        y
    }

    fn copy(&self, x: &Buffer) -> Buffer {
        Buffer::copy_of(x)
    }

    fn add(&self, x: &Buffer, sum: &mut Buffer) {
        elementwise::add(x, sum);
        self.round(sum);
    }

    fn gather(&self, table: &Buffer, ids: &Vec<u32>, width: usize) -> Buffer {
        let mut rows = Buffer::unset(ids.len() * width);
        for (row, &id) in rows.chunks_exact_mut(width).zip(ids) {
            let id = id as usize;
            row.copy_from_slice(&table[id * width..(id + 1) * width]);
        }
        rows
    }

    fn scatter(&self, grad: &Buffer, ids: &Vec<u32>, width: usize, grad_table: &mut Buffer) {
        for (row, &id) in grad.chunks_exact(width).zip(ids) {
            let id = id as usize;
            elementwise::add(row, &mut grad_table[id * width..(id + 1) * width]);
        }
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn linear(&self, s: Linear, x: &Buffer, w: &Buffer, mode: WriteMode, y: &mut Buffer) {
        if self.precision == Precision::Bf16 && mode == WriteMode::Overwrite {
            return bf16::linear(s, x, w.packed(s.outputs, s.inputs), 1.0, y);
        }
        let (x, w) = (rows(x, s.tokens, s.inputs), rows(w, s.outputs, s.inputs));
        matmul::product(x, w.transpose(), mode, 1.0, rows_mut(y, s.tokens, s.outputs));
        self.round(y);
    }

    fn residual_projection(&self, s: Linear, x: &Buffer, w: &Buffer, scale: &Buffer, y: &mut Buffer) -> Option<Buffer> {
        match self.precision {
            Precision::F32 => self.linear(s, x, w, WriteMode::Accumulate, y),
            Precision::Bf16 => bf16::add_linear(s, x, w.packed(s.outputs, s.inputs), scale, y),
        }
        None
    }

    fn linear_grad_x(&self, s: Linear, grad_y: &Buffer, w: &Buffer, mode: WriteMode, grad_x: &mut Buffer) {
        let (grad_y, w) = (rows(grad_y, s.tokens, s.outputs), rows(w, s.outputs, s.inputs));
        matmul::product(grad_y, w, mode, 1.0, rows_mut(grad_x, s.tokens, s.inputs));
    }

    fn linear_grad_w(&self, s: Linear, grad_y: &Buffer, x: &Buffer, grad_w: &mut Buffer) {
        let (grad_y, x) = (rows(grad_y, s.tokens, s.outputs), rows(x, s.tokens, s.inputs));
        matmul::product(grad_y.transpose(), x, WriteMode::Accumulate, 1.0, rows_mut(grad_w, s.outputs, s.inputs));
    }

    fn rms_norm(&self, x: &Buffer, norm: Norm) -> Buffer {
        self.rounded(norm::rms_norm(x, norm))
    }

    fn rms_norm_grad(&self, x: &Buffer, grad_y: &Buffer, norm: Norm, mode: WriteMode, grad_x: &mut Buffer) {
        if mode == WriteMode::Overwrite {
            grad_x.fill(0.0);
        }
        norm::rms_norm_grad(x, grad_y, norm, grad_x);
    }

    fn smear(&self, a: &Buffer, smear: Smear<'_, Self>) -> Buffer {
        self.rounded(elementwise::smear(a, smear))
    }

    fn smear_grad(
        &self,
        a: &Buffer,
        smear: Smear<'_, Self>,
        grad_y: &Buffer,
        grad_a: &mut Buffer,
        grad_gate: &mut Buffer,
    ) {
        elementwise::smear_grad(a, smear, grad_y, grad_a, grad_gate);
    }

    fn mix(&self, x: &Buffer, x0: &Buffer, mix: &Buffer) -> Buffer {
        self.rounded(elementwise::mix(x, x0, mix))
    }

    fn mix_grad(
        &self,
        x: &Buffer,
        x0: &Buffer,
        mix: &Buffer,
        grad: &mut Buffer,
        grad_x0: &mut Buffer,
        grad_mix: &mut Buffer,
    ) {
        elementwise::mix_grad(x, x0, mix, grad, grad_x0, grad_mix);
    }

    fn add_skip(&self, skip: &Buffer, weights: &Buffer, row: ChannelRow, x: &mut Buffer) {
        let weights = &weights[row.range()];
        elementwise::add_scaled(skip, weights, x);
        self.round(x);
    }

    fn add_skip_grad(
        &self,
        skip: &Buffer,
        weights: &Buffer,
        row: ChannelRow,
        grad_x: &Buffer,
        grad_skip: &mut Buffer,
        grad_weights: &mut Buffer,
    ) {
        let (weights, grad_weights) = (&weights[row.range()], &mut grad_weights[row.range()]);
        elementwise::add_scaled_grad(skip, weights, grad_x, grad_skip, grad_weights);
    }

    fn add_gated_skip(&self, GatedSkip { output, weights, gates, row }: GatedSkip<'_, Self>, x: &mut Buffer) {
        gated_skip::add(output, &weights[row.range()], &gates[row.range()], x);
        self.round(x);
    }

    fn add_gated_skip_grad(
        &self,
        GatedSkip { output, weights, gates, row }: GatedSkip<'_, Self>,
        x: &Buffer,
        grad: &mut Buffer,
        grad_skip: &mut Buffer,
        grad_channels: [&mut Buffer; 2],
    ) {
        let channels = [weights, gates].map(|channels| &channels[row.range()]);
        let grad_channels = grad_channels.map(|channels| &mut channels[row.range()]);
        gated_skip::add_grad([x, output], channels, grad, grad_skip, grad_channels);
    }

    fn add_value_embedding(&self, e: &Buffer, [a, b]: [&Buffer; 2], v: &mut Buffer) {
        scalars::add_scaled(e, a[0] * b[0], v);
        self.round(v);
    }

    fn add_value_embedding_grad(
        &self,
        e: &Buffer,
        [a, b]: [&Buffer; 2],
        _width: usize,
        grad_v: &Buffer,
        grad_e: &mut Buffer,
        grad_scales: [&mut Buffer; 2],
    ) {
        scalars::add_scaled_grad(e, [a[0], b[0]], grad_v, grad_e, grad_scales.map(|scale| &mut scale[0]));
    }

    fn merge_lanes(&self, [first, second]: [&Buffer; 2], m: &Buffer) -> Buffer {
        self.rounded(scalars::merge([first, second], m[0]))
    }

    fn merge_lanes_grad(
        &self,
        [first, second]: [&Buffer; 2],
        m: &Buffer,
        _width: usize,
        grad: &Buffer,
        grad_m: &mut Buffer,
    ) -> [Buffer; 2] {
        scalars::merge_grad([first, second], m[0], grad, &mut grad_m[0])
    }

    fn qk_norm_rope(&self, x: &Buffer, shape: QkNormRope<'_, Self>) -> Buffer {
        self.rounded(heads::qk_norm_rope(x, shape))
    }

    fn qk_norm_rope_grad(
        &self,
        x: &Buffer,
        shape: QkNormRope<'_, Self>,
        grad_y: &Buffer,
        grad_x: &mut Buffer,
        grad_gain: Option<&mut Buffer>,
    ) {
        heads::qk_norm_rope_grad(x, shape, grad_y, grad_x, grad_gain);
    }

    fn attention(&self, heads: Heads, qkv: [&Buffer; 3]) -> (Buffer, Buffer) {
        match self.precision {
            Precision::F32 => attention::attention(heads, qkv),
            Precision::Bf16 => bf16::attention(heads, qkv),
        }
    }

    fn attention_grad(&self, heads: Heads, qkv: [&Buffer; 3], outputs: [&Buffer; 2], grad: &Buffer) -> [Buffer; 3] {
        attention::attention_grad(heads, qkv, outputs, grad)
    }

    fn exclude_own_value(&self, heads: Heads, mixed: &Buffer, v: &Buffer) -> Buffer {
        self.rounded(own_value::exclude(heads, mixed, v))
    }

    fn exclude_own_value_grad(&self, heads: Heads, mixed: &Buffer, v: &Buffer, grad: &mut Buffer) -> Buffer {
        own_value::exclude_grad(heads, mixed, v, grad)
    }

    fn gate_heads(&self, shape: GateShape, [x, weights, mixed]: [&Buffer; 3]) -> Buffer {
        self.rounded(head_gate::gate(shape, x, weights, mixed))
    }

    fn gate_heads_grad(&self, shape: GateShape, [x, weights, mixed]: [&Buffer; 3], grad: &mut Buffer) -> Buffer {
        head_gate::gate_grad(shape, x, weights, mixed, grad)
    }

    fn gate_input_grad(
        &self,
        shape: GateShape,
        [along, x, weights]: [&Buffer; 3],
        grad_x: &mut Buffer,
        grad_weights: &mut Buffer,
    ) {
        head_gate::gate_input_grad(shape, [along, x, weights], grad_x, grad_weights);
    }

    fn leaky_relu_squared(&self, x: &Buffer, slope: f32) -> Buffer {
        self.rounded(elementwise::leaky_relu_squared(x, slope))
    }

    fn leaky_relu_squared_grad(&self, x: &Buffer, slope: f32, grad: &mut Buffer) {
        elementwise::leaky_relu_squared_grad(x, slope, grad);
    }

    fn logits(&self, dims: Linear, x: &Buffer, head: &Buffer, cap: f32) -> Buffer {
        loss::logits(dims, x, head, cap, self.precision)
    }

    fn nll(&self, dims: Linear, x: &Buffer, head: &Buffer, cap: f32, targets: &Vec<u32>) -> Buffer {
        loss::nll(dims, x, head, cap, targets, self.precision)
    }

    fn nll_grad(
        &self,
        dims: Linear,
        x: &Buffer,
        head: &Buffer,
        cap: f32,
        targets: &Vec<u32>,
        weight: f32,
        grad_x: &mut Buffer,
        grad_head: &mut Buffer,
    ) -> Buffer {
        loss::nll_grad(dims, x, head, cap, targets, weight, grad_x, grad_head)
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::exponential::{exp, tanh};
    use super::norm::inverse_rms;
    use crate::engine::lanes;

    #[inline(always)]
    fn work(x: &[f32]) -> Vec<u32> {
        let each = x.iter().flat_map(|&x| [exp(x), tanh(x)]);
        let reductions = [lanes::sum(x), lanes::dot(x, x), lanes::max(x), inverse_rms(x)];
        each.chain(reductions).map(f32::to_bits).collect()
    }

    #[test]
    fn vector_width_does_not_show() {
        let x: Vec<f32> = (0..4099u32).map(|i| (i.wrapping_mul(2_654_435_761) as f32 / 2e9 - 1.0) * 3.0).collect();
        let scalar = work(&x);
        let widths = [pulp::x86::V3::try_new().map(pulp::Arch::V3), pulp::x86::V4::try_new().map(pulp::Arch::V4)];
        for arch in widths.into_iter().flatten() {
            let wide = arch.dispatch(
                #[inline(always)]
                || work(&x),
            );
            assert!(wide == scalar, "a vector width changed a bit");
        }
    }
}
