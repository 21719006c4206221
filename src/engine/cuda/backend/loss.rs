//! Logits, likelihoods and their gradients; logits exist for a piece of the tokens at a time.

use std::ops::Range;

use super::CudaKernels;
use super::launch::{at, len32, offset};
use super::linear::{self, Matrix};
use crate::engine::cuda::device::{Argument, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::{Linear, WriteMode};

/// Most logits that exist at once: 256 MiB of them.
const LOGITS_AT_ONCE: usize = 1 << 26;

/// A head applied to activations.
pub(super) struct Head<'a, D: Device> {
    pub dims: Linear,
    pub x: &'a Buffer<D>,
    pub weights: &'a Buffer<D>,
    /// Logits lie between -cap and cap.
    pub cap: f32,
}

impl<D: Device> Head<'_, D> {
    /// The head's dims for so many tokens.
    fn dims(&self, tokens: &Range<usize>) -> Linear {
        Linear { tokens: tokens.len(), ..self.dims }
    }

    /// Some tokens' activations.
    fn x(&self, tokens: &Range<usize>) -> Matrix {
        Matrix::from(self.x, tokens.start * self.dims.inputs)
    }

    /// `x W^T / cap` of some tokens.
    fn products(&self, k: &CudaKernels<D>, tokens: &Range<usize>) -> Buffer<D> {
        let z = k.buffer_of(self.x.dtype(), tokens.len() * self.dims.outputs);
        let matrices = [self.x(tokens), Matrix::of(self.weights), Matrix::of(&z)];
        k.gemm(linear::forward(self.dims(tokens), 1.0 / self.cap, WriteMode::Overwrite, matrices));
        z
    }

    /// Launches the kernel of that name on each piece's products, with `more` for its last arguments; `then` goes on with
    /// what it made of them. The likelihoods of all tokens.
    fn pieces(
        &self,
        k: &CudaKernels<D>,
        targets: &Buffer<D>,
        names: [&'static str; 2],
        more: &[Argument],
        mut then: impl FnMut(Range<usize>, Buffer<D>),
    ) -> Buffer<D> {
        let nll = Buffer::unset(&k.shared, self.dims.tokens);
        let piece = (LOGITS_AT_ONCE / self.dims.outputs.max(1)).max(1);
        for start in (0..self.dims.tokens).step_by(piece) {
            let tokens = start..(start + piece).min(self.dims.tokens);
            let z = self.products(k, &tokens);
            let [targets, out] = [targets, &nll].map(|buffer| Argument::Address(offset(buffer, start)));
            let arguments = [at(&z), targets, out, len32(self.dims.outputs), Argument::F32(self.cap)];
            k.rows(z.dtype().select(names), tokens.len(), &[&arguments, more].concat());
            then(tokens, z);
        }
        nll
    }

    pub fn logits(&self, k: &CudaKernels<D>) -> Buffer<D> {
        let z = self.products(k, &(0..self.dims.tokens));
        k.each(z.dtype().select(["softcap", "softcap_bf16"]), z.len(), &[at(&z), Argument::F32(self.cap)]);
        z
    }

    pub fn nll(&self, k: &CudaKernels<D>, targets: &Buffer<D>) -> Buffer<D> {
        self.pieces(k, targets, ["nll", "nll_bf16"], &[], |_, _| ())
    }

    pub fn nll_grad(
        &self,
        k: &CudaKernels<D>,
        targets: &Buffer<D>,
        weight: f32,
        grad_x: &Buffer<D>,
        grad_head: &Buffer<D>,
    ) -> Buffer<D> {
        self.pieces(k, targets, ["nll_grad", "nll_grad_bf16"], &[Argument::F32(weight)], |tokens, grad_z| {
            let (dims, grad_z) = (self.dims(&tokens), Matrix::of(&grad_z));
            let grad_x = Matrix::from(grad_x, tokens.start * dims.inputs);
            k.gemm(linear::by_inputs(dims, WriteMode::Overwrite, [grad_z, Matrix::of(self.weights), grad_x]));
            k.gemm(linear::by_weights(dims, [grad_z, self.x(&tokens), Matrix::of(grad_head)]));
        })
    }
}
