//! The network's operations as kernel launches.

mod attention;
mod elementwise;
mod embedding;
mod launch;
mod linear;
mod loss;
mod norm;
pub(in crate::engine::cuda) mod product_bf16;

use std::sync::Arc;

pub(super) use self::attention::WIDEST_HEAD;
use self::launch::at;
pub(super) use self::launch::{len32, len64, offset};
use self::loss::Head;
use super::device::{Argument, Device, DeviceError};
use super::memory::{Buffer, Shared};
use crate::engine::Precision;
use crate::engine::kernels::{ChannelRow, Heads, Kernels, Linear, Prepare, Store};
use crate::model::RopeTables;

/// A device running the kernels of `src/engine/cuda/kernels`.
pub(super) struct CudaKernels<D: Device> {
    pub(super) shared: Arc<Shared<D>>,
    /// What values are rounded to after every operation of the forward pass.
    precision: Precision,
}

impl<D: Device> Clone for CudaKernels<D> {
    fn clone(&self) -> Self {
        CudaKernels { shared: Arc::clone(&self.shared), precision: self.precision }
    }
}

/// Cosines and sines on the device.
pub(super) struct Tables<D: Device> {
    cos: Buffer<D>,
    sin: Buffer<D>,
}

impl<D: Device> CudaKernels<D> {
    pub fn new(device: Arc<D>, precision: Precision) -> Self {
        CudaKernels { shared: Arc::new(Shared::new(device)), precision }
    }

    /// The same device without rounding.
    pub fn in_single_precision(&self) -> Self {
        CudaKernels { precision: Precision::F32, ..self.clone() }
    }

    /// Whether everything asked of the device so far has been done.
    pub fn check(&self) -> Result<(), DeviceError> {
        self.shared.check()
    }

    /// `len` activations, to be overwritten.
    fn buffer(&self, len: usize) -> Buffer<D> {
        Buffer::unset(&self.shared, len)
    }

    fn like(&self, x: &Buffer<D>) -> Buffer<D> {
        self.buffer(x.len())
    }

    fn round(&self, x: &Buffer<D>) {
        if self.precision == Precision::Bf16 {
            self.each("round_bf16", x.len(), &[at(x)]);
        }
    }

    fn rounded(&self, x: Buffer<D>) -> Buffer<D> {
        self.round(&x);
        x
    }

    fn is_rounding(&self) -> Argument {
        Argument::U32(u32::from(self.precision == Precision::Bf16))
    }
}

impl<D: Device> Kernels for CudaKernels<D> {
    type Buffer = Buffer<D>;
    type Tables = Tables<D>;

    fn zeros(&self, len: usize) -> Buffer<D> {
        let buffer = Buffer::unset(&self.shared, len);
        self.shared.run(|device| device.clear(buffer.address(), buffer.bytes()));
        buffer
    }

    fn unset(&self, len: usize) -> Buffer<D> {
        self.buffer(len)
    }

    fn upload(&self, values: &[f32]) -> Buffer<D> {
        Buffer::of_bits(&self.shared, &values.iter().map(|value| value.to_bits()).collect::<Vec<_>>())
    }

    fn download(&self, buffer: Buffer<D>) -> Vec<f32> {
        let mut values = vec![0.0; buffer.len()];
        self.shared.run(|device| device.read(buffer.address(), &mut values));
        values
    }

    fn rope_tables(&self, tables: &RopeTables) -> Tables<D> {
        let table = |values: &[f32]| self.rounded(self.upload(values));
        Tables { cos: table(&tables.cos), sin: table(&tables.sin) }
    }

    fn tails(&self, x: &Buffer<D>, row: usize, keep: usize) -> Buffer<D> {
        embedding::tails(self, x, row, keep)
    }

    fn copy(&self, x: &Buffer<D>) -> Buffer<D> {
        let y = self.like(x);
        self.shared.run(|device| device.copy(x.address(), y.address(), x.bytes()));
        y
    }

    fn add(&self, x: &Buffer<D>, sum: &mut Buffer<D>) {
        elementwise::add(self, x, sum);
    }

    fn gather(&self, table: &Buffer<D>, ids: &[usize], width: usize) -> Buffer<D> {
        embedding::gather(self, table, ids, width)
    }

    fn scatter(&self, grad: &Buffer<D>, ids: &[usize], width: usize, grad_table: &mut Buffer<D>) {
        embedding::scatter(self, grad, ids, width, grad_table);
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn linear(&self, s: Linear, x: &Buffer<D>, w: &Buffer<D>, store: Store, y: &mut Buffer<D>) {
        linear::linear(self, s, x, w, store, y);
    }

    fn linear_grad_x(&self, s: Linear, grad_y: &Buffer<D>, w: &Buffer<D>, store: Store, grad_x: &mut Buffer<D>) {
        self.product(linear::by_inputs(s, store, [grad_y, w, grad_x].map(Buffer::address)));
    }

    fn linear_grad_w(&self, s: Linear, grad_y: &Buffer<D>, x: &Buffer<D>, grad_w: &mut Buffer<D>) {
        self.product(linear::by_weights(s, [grad_y, x, grad_w].map(Buffer::address)));
    }

    fn rms_norm(&self, x: &Buffer<D>, width: usize) -> Buffer<D> {
        norm::rms_norm(self, x, width)
    }

    fn rms_norm_grad(&self, x: &Buffer<D>, grad_y: &Buffer<D>, width: usize, grad_x: &mut Buffer<D>) {
        norm::rms_norm_grad(self, x, grad_y, width, grad_x);
    }

    fn smear(&self, a: &Buffer<D>, gate: &Buffer<D>, seq_len: usize) -> Buffer<D> {
        elementwise::smear(self, a, gate, seq_len)
    }

    fn smear_grad(
        &self,
        a: &Buffer<D>,
        gate: &Buffer<D>,
        seq_len: usize,
        grad_y: &Buffer<D>,
        grad_a: &mut Buffer<D>,
        grad_gate: &mut Buffer<D>,
    ) {
        elementwise::smear_grad(self, [a, gate, grad_y], seq_len, grad_a, grad_gate);
    }

    fn mix(&self, x: &Buffer<D>, x0: &Buffer<D>, mix: &Buffer<D>) -> Buffer<D> {
        elementwise::mix(self, x, x0, mix)
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

    fn prepare(&self, x: &Buffer<D>, shape: Prepare<'_, Self>) -> Buffer<D> {
        norm::prepare(self, x, shape)
    }

    fn prepare_grad(
        &self,
        x: &Buffer<D>,
        shape: Prepare<'_, Self>,
        grad_y: &Buffer<D>,
        grad_x: &mut Buffer<D>,
        grad_gain: Option<&mut Buffer<D>>,
    ) {
        norm::prepare_grad(self, x, shape, grad_y, grad_x, grad_gain.map(|gain| &*gain));
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

    fn relu_squared(&self, x: &Buffer<D>) -> Buffer<D> {
        elementwise::relu_squared(self, x)
    }

    fn relu_squared_grad(&self, x: &Buffer<D>, grad: &mut Buffer<D>) {
        elementwise::relu_squared_grad(self, x, grad);
    }

    fn logits(&self, s: Linear, x: &Buffer<D>, head: &Buffer<D>, cap: f32) -> Buffer<D> {
        Head { sides: s, x, weights: head, cap }.logits(self)
    }

    fn nll(&self, s: Linear, x: &Buffer<D>, head: &Buffer<D>, cap: f32, targets: &[u16]) -> Buffer<D> {
        Head { sides: s, x, weights: head, cap }.nll(self, targets)
    }

    fn nll_grad(
        &self,
        s: Linear,
        x: &Buffer<D>,
        head: &Buffer<D>,
        cap: f32,
        targets: &[u16],
        weight: f32,
        grad_x: &mut Buffer<D>,
        grad_head: &mut Buffer<D>,
    ) -> Buffer<D> {
        Head { sides: s, x, weights: head, cap }.nll_grad(self, targets, weight, grad_x, grad_head)
    }
}
