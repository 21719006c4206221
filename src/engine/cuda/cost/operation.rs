//! One thing that a device is asked for.

use serde::Serialize;

/// What an operation is limited by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A product by the library, of bfloat16 matrices.
    LibraryProduct,
    /// A product by this crate's kernels, of bfloat16 matrices.
    OwnProduct,
    /// A product by this crate's kernels for Hopper, of `wgmma`.
    WgmmaProduct,
    /// A product of single-precision matrices, by whichever.
    SingleProduct,
    /// Attention on tensor cores.
    Attention,
    /// The same by the kernel for Hopper, of `wgmma`.
    WgmmaAttention,
    /// Its gradients.
    AttentionGrad,
    /// Attention in single precision, and its gradients.
    SingleAttention,
    /// Any other kernel, a copy within the device, or memory set to zero.
    Memory,
    /// A copy between host and device.
    Host,
}

/// A kernel, a product, a copy or a clearing.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The kernel, or what is multiplied.
    pub name: String,
    /// What it is limited by.
    pub kind: Kind,
    /// Blocks of a kernel in x and y; zeros for what is no kernel of this crate.
    pub grid: [u32; 2],
    /// Bytes of its operands that it reads, each once.
    pub read: u64,
    /// Bytes that it writes.
    pub written: u64,
    /// Bytes that it reads again and again, from the cache.
    pub cached: u64,
    /// Additions and multiplications of its matrix products; those of attention for the pairs that are not masked. Other
    /// kernels' are not counted.
    pub flops: u64,
    /// Hyperbolic tangents and exponentials, those of attention left out.
    pub special: u64,
}
