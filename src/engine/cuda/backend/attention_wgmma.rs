//! Attention of bfloat16 values by Hopper's warpgroup instructions: how many blocks, how much shared memory.

use super::CudaKernels;
use super::attention_bf16::operands;
use crate::engine::cuda::device::Device;
use crate::engine::cuda::view::View;
use crate::engine::network::Heads;

const KERNEL: &str = "wgmma_attention_64";
/// Channels of a head in shared memory and registers; those beyond a head's own are zeros.
const WIDTH: usize = 64;
/// Widest heads that the kernel of half the width takes.
const NARROWER: usize = 32;
/// Threads of a block: two warpgroups.
const THREADS: u32 = 256;
/// Queries of a warpgroup, and keys of a tile (`WGMMA_QUERIES`, `TILE_KEYS`).
const TILE: usize = 64;
/// Stages of keys and values in shared memory (`WGMMA_ATTENTION_STAGES`).
const STAGES: usize = 3;

/// Whether there is a kernel for heads of that width, which is one of those that `attention_bf16` takes.
pub(super) fn takes(width: usize) -> bool {
    (NARROWER + 1..=WIDTH).contains(&width)
}

/// What `attention_bf16::attention` computes, of the same operands, for heads that [`takes`] says yes to.
pub(super) fn attention<D: Device>(
    kernels: &CudaKernels<D>,
    heads: Heads,
    rows: usize,
    qkv: [View<'_>; 3],
    outputs: [View<'_>; 2],
) {
    let operands = operands(kernels, (KERNEL, WIDTH), heads, rows, qkv, outputs);
    // A block has the same queries of two heads where those share keys, else twice as many of one.
    let is_paired = (heads.heads / heads.kv_heads.max(1)).is_multiple_of(2);
    let (tile, heads_a_block) = if is_paired { (TILE, 2) } else { (2 * TILE, 1) };
    let blocks = heads.queries().div_ceil(tile) * (heads.heads / heads_a_block) * rows;
    let shared_bytes = (2 * TILE + STAGES * 2 * TILE) * WIDTH * size_of::<half::bf16>();
    // SAFETY: the kernel takes heads of this width (checked above), reads all queries, keys and values of the batch and
    // writes as many outputs as queries, and an `lse` for each head of a query; a block has two tiles of queries and three
    // stages of keys and values in shared memory.
    unsafe { kernels.launch_with(KERNEL, [blocks, 1], THREADS, shared_bytes, &operands) };
}
