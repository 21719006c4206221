//! Attention of bfloat16 values by Hopper's warpgroup instructions: how many blocks, how much shared memory.

use super::CudaKernels;
use super::attention::{Lengths, check_heads};
use super::launch::{Operand, SPAN, in_rows, in_view, len32};
use crate::engine::cuda::device::{DType, Device};
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
    [q, k, v]: [View<'_>; 3],
    [mixed, lse]: [View<'_>; 2],
) {
    const BF16: DType = DType::Bf16;
    check_heads(kernels, KERNEL, heads, WIDTH);
    let lengths = Lengths::new(heads, rows);
    let v_stride = kernels.row_stride(KERNEL, v, heads.kv_heads * heads.width);
    kernels.check_at_most(KERNEL, "values of a row beyond whole spans", v_stride % SPAN, 0);
    let dims = [heads.seq_len, heads.first_query, heads.heads, heads.kv_heads, v_stride, heads.width].map(len32);
    let tensors = [
        in_view(q, BF16, lengths.queries),
        in_view(k, BF16, lengths.keys),
        in_rows(v, BF16, lengths.keys),
        in_view(mixed, BF16, lengths.queries),
        in_view(lse, DType::F32, lengths.lse),
    ];
    let operands = [&tensors[..], &dims, &[Operand::F32(heads.score_scale())]].concat();
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
