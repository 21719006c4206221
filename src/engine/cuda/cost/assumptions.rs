//! What the hardware does in a second.

use serde::Serialize;

use super::operation::{Kind, Operation};

/// Rates that times are computed with. An operation takes as long as the slowest of what it does, and a little for its
/// launch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Assumptions {
    /// Device memory, TB/s.
    pub memory: f64,
    /// The second-level cache, TB/s.
    pub cache: f64,
    /// Tensor cores in bfloat16, TFLOP/s.
    pub tensor: f64,
    /// Single precision without tensor cores, TFLOP/s.
    pub single: f64,
    /// Share of `tensor` that the library's products reach.
    pub library: f64,
    /// Share of `tensor` that this crate's products reach by `mma.sync`.
    pub own: f64,
    /// Share that they reach by `wgmma`.
    pub wgmma: f64,
    /// Share of `tensor` that attention reaches by `mma.sync`.
    pub attention: f64,
    /// Share that it reaches by `wgmma`.
    pub wgmma_attention: f64,
    /// Share of `tensor` that attention's gradients reach.
    pub attention_grad: f64,
    /// Share of `single` that products reach.
    pub single_product: f64,
    /// Share of `single` that attention reaches.
    pub single_attention: f64,
    /// Hyperbolic tangents and exponentials, 10^12 a second.
    pub special: f64,
    /// Between host and device, GB/s.
    pub host: f64,
    /// From one operation of a graph to the next, microseconds.
    pub launch: f64,
}

impl Default for Assumptions {
    /// An H100 SXM: its datasheet's rates, of which memory reaches 3.0 of 3.35 TB/s, and for everything else what kernels
    /// of that design can be expected to reach. Nothing of this has been measured.
    ///
    /// By `mma.sync` attention is counted with what FlashAttention-2 has for causal rows of 2,048 tokens with heads of 64
    /// channels in the figures of FlashAttention-3 (Shah et al., 2024), 262 TFLOP/s. There FlashAttention-3 has 371, and
    /// loses an eighth without warps that only copy and another without softmax beside its own products (its table 2);
    /// the kernel of `wgmma` has neither, and is counted at 28 %. Products by `wgmma` are put between those by `mma.sync`
    /// and the library's, nearer to the former: they copy without TMA, and store without products beside it.
    fn default() -> Self {
        Assumptions {
            memory: 3.0,
            cache: 5.5,
            tensor: 989.0,
            single: 67.0,
            library: 0.62,
            own: 0.40,
            wgmma: 0.45,
            attention: 0.26,
            wgmma_attention: 0.28,
            attention_grad: 0.25,
            single_product: 0.70,
            single_attention: 0.075,
            special: 0.4,
            host: 25.0,
            launch: 1.0,
        }
    }
}

impl Assumptions {
    /// Seconds that an operation takes.
    pub fn seconds(&self, operation: &Operation) -> f64 {
        let moved = (operation.read + operation.written) as f64;
        let memory = if operation.kind == Kind::Host { self.host * 1e9 } else { self.memory * 1e12 };
        let flops = 1e12
            * match operation.kind {
                Kind::LibraryProduct => self.tensor * self.library,
                Kind::OwnProduct => self.tensor * self.own,
                Kind::WgmmaProduct => self.tensor * self.wgmma,
                Kind::Attention => self.tensor * self.attention,
                Kind::WgmmaAttention => self.tensor * self.wgmma_attention,
                Kind::AttentionGrad => self.tensor * self.attention_grad,
                Kind::SingleProduct => self.single * self.single_product,
                Kind::SingleAttention => self.single * self.single_attention,
                Kind::Memory | Kind::Host => self.single,
            };
        let parts = [
            moved / memory,
            operation.cached as f64 / (self.cache * 1e12),
            operation.flops as f64 / flops,
            operation.special as f64 / (self.special * 1e12),
        ];
        parts.into_iter().fold(0.0, f64::max) + self.launch * 1e-6
    }
}
