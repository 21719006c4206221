//! Logits, likelihoods and their gradients; logits exist for a piece of the tokens at a time.

use std::ops::Range;

use super::launch::{at, len32, offset};
use super::{CudaKernels, linear};
use crate::engine::cuda::device::{Argument, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::kernels::{Linear, Store};

/// Most logits that exist at once: 256 MiB of them.
const LOGITS_AT_ONCE: usize = 1 << 26;

/// A head applied to activations.
pub(super) struct Head<'a, D: Device> {
    pub sides: Linear,
    pub x: &'a Buffer<D>,
    pub weights: &'a Buffer<D>,
    /// Logits lie between -cap and cap.
    pub cap: f32,
}

impl<D: Device> Head<'_, D> {
    /// The head's sides for so many tokens.
    fn sides(&self, tokens: &Range<usize>) -> Linear {
        Linear { tokens: tokens.len(), ..self.sides }
    }

    /// The address of some tokens' activations.
    fn x(&self, tokens: &Range<usize>) -> u64 {
        offset(self.x, tokens.start * self.sides.inputs)
    }

    /// `x W^T / cap` of some tokens.
    fn products(&self, k: &CudaKernels<D>, tokens: &Range<usize>) -> Buffer<D> {
        let z = k.buffer(tokens.len() * self.sides.outputs);
        let addresses = [self.x(tokens), self.weights.address(), z.address()];
        k.product(linear::forward(self.sides(tokens), 1.0 / self.cap, Store::Replace, addresses));
        z
    }

    /// Launches `kernel` on each piece's products, with `last` for its last argument; `then` goes on with what it made
    /// of them. The likelihoods of all tokens.
    fn pieces(
        &self,
        k: &CudaKernels<D>,
        targets: &[u16],
        kernel: &'static str,
        last: Argument,
        mut then: impl FnMut(Range<usize>, Buffer<D>),
    ) -> Buffer<D> {
        let targets: Vec<u32> = targets.iter().map(|&id| u32::from(id)).collect();
        let (targets, nll) = (Buffer::of_bits(&k.shared, &targets), Buffer::unset(&k.shared, self.sides.tokens));
        let piece = (LOGITS_AT_ONCE / self.sides.outputs.max(1)).max(1);
        for start in (0..self.sides.tokens).step_by(piece) {
            let tokens = start..(start + piece).min(self.sides.tokens);
            let z = self.products(k, &tokens);
            let [targets, out] = [&targets, &nll].map(|buffer| Argument::Address(offset(buffer, start)));
            let arguments = [at(&z), targets, out, len32(self.sides.outputs), Argument::F32(self.cap), last];
            k.rows(kernel, tokens.len(), &arguments);
            then(tokens, z);
        }
        nll
    }

    pub fn logits(&self, k: &CudaKernels<D>) -> Buffer<D> {
        let z = self.products(k, &(0..self.sides.tokens));
        k.each("softcap", z.len(), &[at(&z), Argument::F32(self.cap), k.is_rounding()]);
        z
    }

    pub fn nll(&self, k: &CudaKernels<D>, targets: &[u16]) -> Buffer<D> {
        self.pieces(k, targets, "nll", k.is_rounding(), |_, _| ())
    }

    pub fn nll_grad(
        &self,
        k: &CudaKernels<D>,
        targets: &[u16],
        weight: f32,
        grad_x: &Buffer<D>,
        grad_head: &Buffer<D>,
    ) -> Buffer<D> {
        self.pieces(k, targets, "nll_grad", Argument::F32(weight), |tokens, grad_z| {
            let (sides, grad_z) = (self.sides(&tokens), grad_z.address());
            let grad_x = offset(grad_x, tokens.start * sides.inputs);
            k.product(linear::by_inputs(sides, Store::Replace, [grad_z, self.weights.address(), grad_x]));
            k.product(linear::by_weights(sides, [grad_z, self.x(&tokens), grad_head.address()]));
        })
    }
}
