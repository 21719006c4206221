//! Logits, likelihoods and their gradients; logits exist for a piece of the tokens at a time.

use std::ops::Range;

use super::launch::{Operand, in_view, len32, values};
use super::{CudaKernels, Ids, linear};
use crate::engine::cuda::device::{DType, Device};
use crate::engine::cuda::memory::Buffer;
use crate::engine::cuda::view::View;
use crate::engine::network::{Linear, WriteMode};

/// Most logits that exist at once: 256 MiB of them.
const LOGITS_AT_ONCE: usize = 1 << 26;
/// Pieces are whole multiples of so many tokens: each then begins at a multiple of 256 bytes, which cuBLASLt takes for
/// granted when it chooses an algorithm.
const PIECE_UNIT: usize = 128;

/// A head applied to activations.
pub(super) struct Head<'a, D: Device> {
    pub dims: Linear,
    pub x: &'a Buffer<D>,
    pub weights: &'a Buffer<D>,
    /// Logits lie between -cap and cap.
    pub cap: f32,
}

impl<'a, D: Device> Head<'a, D> {
    /// The head's dimensions for so many tokens.
    fn dims(&self, tokens: &Range<usize>) -> Linear {
        Linear { tokens: tokens.len(), ..self.dims }
    }

    /// Some tokens' activations.
    fn x(&self, k: &CudaKernels<D>, tokens: &Range<usize>) -> Option<View<'a>> {
        k.slice(self.x, rows(tokens, self.dims.inputs))
    }

    /// `x W^T / cap` of some tokens.
    fn products(&self, k: &CudaKernels<D>, tokens: &Range<usize>) -> Buffer<D> {
        let z = k.buffer_of(self.x.dtype(), tokens.len() * self.dims.outputs);
        if let Some(x) = self.x(k, tokens) {
            let matrices = [x, self.weights.view(), z.view()];
            k.gemm(&linear::forward(self.dims(tokens), 1.0 / self.cap, WriteMode::Overwrite, matrices));
        }
        z
    }

    /// Launches the kernel of that name on each piece's products, with `more` for its last operands; `then` goes on with
    /// what it made of them. The likelihoods of all tokens.
    ///
    /// # Safety
    /// The kernel must take what `nll` takes, then `more`.
    unsafe fn pieces(
        &self,
        k: &CudaKernels<D>,
        targets: &Ids<D>,
        names: [&'static str; 2],
        more: &[Operand<'_>],
        mut then: impl FnMut(Range<usize>, Buffer<D>),
    ) -> Buffer<D> {
        let (tokens, vocab) = (self.dims.tokens, self.dims.outputs);
        let nll = Buffer::unset(&k.shared, tokens);
        let kernel = self.x.dtype().select(names);
        k.check_ids(kernel, targets, vocab, tokens);
        let piece = (LOGITS_AT_ONCE / vocab.max(1) / PIECE_UNIT).max(1) * PIECE_UNIT;
        for start in (0..tokens).step_by(piece) {
            let tokens = start..(start + piece).min(tokens);
            let z = self.products(k, &tokens);
            let slices = (k.shared.keep(targets.view().slice(tokens.clone())), k.slice(&nll, tokens.clone()));
            if let (Some(targets), Some(out)) = slices {
                let operands = [
                    values(&z, z.dtype(), tokens.len() * vocab),
                    in_view(targets, DType::F32, tokens.len()),
                    in_view(out, DType::F32, tokens.len()),
                    len32(vocab),
                    Operand::F32(self.cap),
                ];
                // SAFETY: the kernel reads a row of logits and a target for each token, all targets below the vocabulary's
                // size (checked above), and writes a value for each.
                unsafe { k.rows(kernel, tokens.len(), &[&operands, more].concat()) };
            }
            then(tokens, z);
        }
        nll
    }

    pub fn logits(&self, k: &CudaKernels<D>) -> Buffer<D> {
        let z = self.products(k, &(0..self.dims.tokens));
        let (dtype, n) = (z.dtype(), z.len());
        // SAFETY: `softcap` reads and writes n values.
        unsafe {
            k.each(dtype.select(["softcap", "softcap_bf16"]), n, &[values(&z, dtype, n), Operand::F32(self.cap)]);
        }
        z
    }

    pub fn nll(&self, k: &CudaKernels<D>, targets: &Ids<D>) -> Buffer<D> {
        // SAFETY: `nll` itself.
        unsafe { self.pieces(k, targets, ["nll", "nll_bf16"], &[], |_, _| ()) }
    }

    pub fn nll_grad(
        &self,
        k: &CudaKernels<D>,
        targets: &Ids<D>,
        weight: f32,
        grad_x: &Buffer<D>,
        grad_head: &Buffer<D>,
    ) -> Buffer<D> {
        let then = |tokens: Range<usize>, grad_z: Buffer<D>| {
            let (dims, grad_z) = (self.dims(&tokens), grad_z.view());
            let slices = (k.slice(grad_x, rows(&tokens, dims.inputs)), self.x(k, &tokens));
            let (Some(grad_x), Some(x)) = slices else { return };
            k.gemm(&linear::by_inputs(dims, WriteMode::Overwrite, [grad_z, self.weights.view(), grad_x]));
            k.gemm(&linear::by_weights(dims, [grad_z, x, grad_head.view()]));
        };
        // SAFETY: `nll_grad` takes the weight behind what `nll` takes, and writes over the logits it reads.
        unsafe { self.pieces(k, targets, ["nll_grad", "nll_grad_bf16"], &[Operand::F32(weight)], then) }
    }
}

/// Where so many tokens' values are, `width` each.
fn rows(tokens: &Range<usize>, width: usize) -> Range<usize> {
    tokens.start * width..tokens.end * width
}
