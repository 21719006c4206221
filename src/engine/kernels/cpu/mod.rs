//! The backend that runs everywhere: plain memory, one thread a task.
//!
//! Matrix products are faer's, the rest are loops over slices compiled for the widest vectors the processor
//! has. Every sum has a fixed order and no loop contracts multiplications with additions, so that vector width
//! does not show in the elementwise part.

mod attention;
mod elementwise;
mod exponential;
mod heads;
mod loss;
mod matmul;
mod norm;

use super::traits::{ChannelRow, Heads, Kernels, Linear, Prepare, Store};
use crate::model::RopeTables;

/// The processor, one thread of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CpuKernels;

/// Runs a loop compiled for the widest vectors the processor has.
#[inline(always)]
fn vectorised<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}

impl Kernels for CpuKernels {
    type Buffer = Vec<f32>;
    type Tables = RopeTables;

    fn zeros(&self, len: usize) -> Vec<f32> {
        vec![0.0; len]
    }

    fn upload(&self, values: &[f32]) -> Vec<f32> {
        values.to_vec()
    }

    fn download(&self, buffer: Vec<f32>) -> Vec<f32> {
        buffer
    }

    fn rope_tables(&self, tables: &RopeTables) -> RopeTables {
        tables.clone()
    }

    fn tail(&self, x: &Vec<f32>, len: usize) -> Vec<f32> {
        x[x.len() - len..].to_vec()
    }

    fn copy(&self, x: &Vec<f32>) -> Vec<f32> {
        x.clone()
    }

    fn add(&self, x: &Vec<f32>, sum: &mut Vec<f32>) {
        elementwise::add(x, sum);
    }

    fn gather(&self, table: &Vec<f32>, ids: &[usize], width: usize) -> Vec<f32> {
        let mut rows = Vec::with_capacity(ids.len() * width);
        ids.iter().for_each(|&id| rows.extend_from_slice(&table[id * width..(id + 1) * width]));
        rows
    }

    fn scatter(&self, grad: &Vec<f32>, ids: &[usize], width: usize, grad_table: &mut Vec<f32>) {
        for (row, &id) in grad.chunks_exact(width).zip(ids) {
            elementwise::add(row, &mut grad_table[id * width..(id + 1) * width]);
        }
    }

    fn linear(&self, s: Linear, x: &Vec<f32>, w: &Vec<f32>, store: Store, y: &mut Vec<f32>) {
        let (x, w) = (matmul::rows(x, s.tokens, s.inputs), matmul::rows(w, s.outputs, s.inputs));
        matmul::product(x, w.transpose(), store, 1.0, matmul::rows_mut(y, s.tokens, s.outputs));
    }

    fn linear_grad_x(&self, s: Linear, grad_y: &Vec<f32>, w: &Vec<f32>, store: Store, grad_x: &mut Vec<f32>) {
        let (grad_y, w) = (matmul::rows(grad_y, s.tokens, s.outputs), matmul::rows(w, s.outputs, s.inputs));
        matmul::product(grad_y, w, store, 1.0, matmul::rows_mut(grad_x, s.tokens, s.inputs));
    }

    fn linear_grad_w(&self, s: Linear, grad_y: &Vec<f32>, x: &Vec<f32>, grad_w: &mut Vec<f32>) {
        let (grad_y, x) = (matmul::rows(grad_y, s.tokens, s.outputs), matmul::rows(x, s.tokens, s.inputs));
        matmul::product(grad_y.transpose(), x, Store::Add, 1.0, matmul::rows_mut(grad_w, s.outputs, s.inputs));
    }

    fn rms_norm(&self, x: &Vec<f32>, width: usize) -> Vec<f32> {
        norm::rms_norm(x, width)
    }

    fn rms_norm_grad(&self, x: &Vec<f32>, grad_y: &Vec<f32>, width: usize, grad_x: &mut Vec<f32>) {
        norm::rms_norm_grad(x, grad_y, width, grad_x);
    }

    fn smear(&self, a: &Vec<f32>, gate: &Vec<f32>, seq_len: usize) -> Vec<f32> {
        elementwise::smear(a, gate, seq_len)
    }

    fn smear_grad(
        &self,
        a: &Vec<f32>,
        gate: &Vec<f32>,
        seq_len: usize,
        grad_y: &Vec<f32>,
        grad_a: &mut Vec<f32>,
        grad_gate: &mut Vec<f32>,
    ) {
        elementwise::smear_grad(a, gate, seq_len, grad_y, grad_a, grad_gate);
    }

    fn mix(&self, x: &Vec<f32>, x0: &Vec<f32>, mix: &Vec<f32>) -> Vec<f32> {
        elementwise::mix(x, x0, mix)
    }

    fn mix_grad(
        &self,
        x: &Vec<f32>,
        x0: &Vec<f32>,
        mix: &Vec<f32>,
        grad: &mut Vec<f32>,
        grad_x0: &mut Vec<f32>,
        grad_mix: &mut Vec<f32>,
    ) {
        elementwise::mix_grad(x, x0, mix, grad, grad_x0, grad_mix);
    }

    fn add_skip(&self, skip: &Vec<f32>, weights: &Vec<f32>, row: ChannelRow, x: &mut Vec<f32>) {
        let weights = &weights[row.range()];
        elementwise::add_scaled(skip, weights, x);
    }

    fn add_skip_grad(
        &self,
        skip: &Vec<f32>,
        weights: &Vec<f32>,
        row: ChannelRow,
        grad_x: &Vec<f32>,
        grad_skip: &mut Vec<f32>,
        grad_weights: &mut Vec<f32>,
    ) {
        let (weights, grad_weights) = (&weights[row.range()], &mut grad_weights[row.range()]);
        elementwise::add_scaled_grad(skip, weights, grad_x, grad_skip, grad_weights);
    }

    fn prepare(&self, x: &Vec<f32>, shape: Prepare<'_, Self>) -> Vec<f32> {
        heads::prepare(x, shape)
    }

    fn prepare_grad(
        &self,
        x: &Vec<f32>,
        shape: Prepare<'_, Self>,
        grad_y: &Vec<f32>,
        grad_x: &mut Vec<f32>,
        grad_gain: Option<&mut Vec<f32>>,
    ) {
        heads::prepare_grad(x, shape, grad_y, grad_x, grad_gain);
    }

    fn attention(&self, heads: Heads, qkv: [&Vec<f32>; 3]) -> (Vec<f32>, Vec<f32>) {
        attention::attention(heads, qkv)
    }

    fn attention_grad(
        &self,
        heads: Heads,
        qkv: [&Vec<f32>; 3],
        outputs: [&Vec<f32>; 2],
        grad: &Vec<f32>,
    ) -> [Vec<f32>; 3] {
        attention::attention_grad(heads, qkv, outputs, grad)
    }

    fn relu_squared(&self, x: &Vec<f32>) -> Vec<f32> {
        elementwise::relu_squared(x)
    }

    fn relu_squared_grad(&self, x: &Vec<f32>, grad: &mut Vec<f32>) {
        elementwise::relu_squared_grad(x, grad);
    }

    fn logits(&self, sides: Linear, x: &Vec<f32>, head: &Vec<f32>, cap: f32) -> Vec<f32> {
        loss::logits(sides, x, head, cap)
    }

    fn nll(&self, sides: Linear, x: &Vec<f32>, head: &Vec<f32>, cap: f32, targets: &[u16]) -> Vec<f32> {
        loss::nll(sides, x, head, cap, targets)
    }

    fn nll_grad(
        &self,
        sides: Linear,
        x: &Vec<f32>,
        head: &Vec<f32>,
        cap: f32,
        targets: &[u16],
        weight: f32,
        grad_x: &mut Vec<f32>,
        grad_head: &mut Vec<f32>,
    ) -> Vec<f32> {
        loss::nll_grad(sides, x, head, cap, targets, weight, grad_x, grad_head)
    }
}
